"""A stand-in for the APIs of Keystone, Nova and Placement over real HTTP: any number of servers, and trouble.

Run as a program it prints its address and serves until it is killed: openstack_stand_in.py HOSTS SERVERS [FULL_EVERY]
"""

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

FLAVORS = tuple(
    {"vcpus": 1 << size, "ram": 2048 << size, "disk": 10 << size, "ephemeral": 0, "swap": 0,
     "original_name": f"f{size}",
     "extra_specs": {"trait:HW_CPU_X86_AVX2": "required"} if size else {}}
    for size in range(3)
)  # fmt: skip
NOW = "2026-11-22T12:00:00.000000"
LAST_WEEK, JUST_NOW = "2026-11-15T12:00:00Z", "2026-11-22T12:00:00Z"
UNDER_WAY = ("queued", "preparing", "running", "post-migrating")
EVERY = 1000  # of so many servers one has changed just now


@dataclass
class Trouble:
    """What happens to the next `times` calls whose "METHOD path" matches: an answer, a wait, a cut connection."""

    matching: str
    times: int = 1
    status: int | None = None
    wait_s: float = 0.0
    cut: str = ""  # "before" it is taken, or "after"


@dataclass
class StandIn:
    """`taken`: every action that was taken, as it came. Documents are made when they are asked for.

    Every `full_every`th host has no memory left, and every fourth of those nothing at all.
    """

    hosts: int = 3
    servers: int = 6
    full_every: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    taken: list[tuple[str, str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    tokens: int = 0
    expired: set[str] = field(default_factory=set)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)  # what is odd about a server, by its id
    migrations: list[dict[str, Any]] = field(default_factory=list)  # of every server
    actions: list[dict[str, Any]] = field(default_factory=list)  # of every server, newest first, with their events
    diagnostics: dict[str, Any] = field(default_factory=lambda: {"state": "running", "driver": "libvirt"})
    generations: dict[str, int] = field(default_factory=dict)  # of resource providers; 1 where it is not told
    measured: dict[str, list[tuple[dict[str, str], str]]] = field(default_factory=dict)  # by a part of the query
    tokens_seen: list[tuple[str | None, str | None]] = field(default_factory=list)  # of Keystone, and the bearer's
    address: str = ""

    def server(self, number: int) -> dict[str, Any]:
        host = number % self.hosts
        links = [{"rel": rel, "href": f"{self.address}/servers/{uuid(number)}"} for rel in ("self", "bookmark")]
        return {
            "id": uuid(number), "name": f"server-{number}", "status": "ACTIVE", "tenant_id": f"project-{number % 50}",
            "user_id": "u" * 32, "metadata": {}, "hostId": "h" * 56, "flavor": FLAVORS[number % 3], "links": links,
            "image": {"id": uuid(1), "links": links, "properties": {}}, "addresses": {}, "locked": False, "tags": [],
            "created": NOW, "updated": LAST_WEEK if number % EVERY else JUST_NOW, "progress": 0, "config_drive": "",
            "key_name": None, "description": None,
            "OS-EXT-AZ:availability_zone": f"az{host % 3}", "OS-EXT-SRV-ATTR:host": host_name(host),
            "OS-EXT-SRV-ATTR:hypervisor_hostname": host_name(host), "OS-EXT-STS:task_state": None,
            "OS-EXT-STS:vm_state": "active", "OS-EXT-STS:power_state": 1, "pinned_availability_zone": None,
            "scheduler_hints": {}, "security_groups": [{"name": "default"}], "host_status": "UP",
            "os-extended-volumes:volumes_attached": [], "OS-SRV-USG:launched_at": NOW,
            **self.changed.get(uuid(number), {}),
        }  # fmt: skip

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        match method, path.strip("/").split("/"):
            case "GET", ["identity", "v3"]:
                link = {"rel": "self", "href": f"{self.address}/identity/v3/"}
                return 200, {"version": {"id": "v3.14", "status": "stable", "links": [link]}}
            case "POST", ["identity", "v3", "auth", "tokens"]:
                return 201, {"token": self._token()}
            case "GET", ["compute", "v2.1"]:
                version = {"id": "v2.1", "status": "CURRENT", "version": "2.103", "min_version": "2.1",
                           "links": [{"rel": "self", "href": f"{self.address}/compute/v2.1/"}]}  # fmt: skip
                return 200, {"version": version}
            case "GET", ["placement"]:
                version = {"id": "v1.0", "status": "CURRENT", "max_version": "1.39", "min_version": "1.0",
                           "links": [{"rel": "self", "href": ""}]}  # fmt: skip
                return 200, {"versions": [version]}
            case "GET", ["compute", "v2.1", "servers", "detail"]:
                every = EVERY if query.get("changes-since", "") > LAST_WEEK else 1
                return 200, self._page("servers", self.servers, query, self.server, "/servers/detail", every=every)
            case "GET", ["compute", "v2.1", "servers", id]:
                number = int(id.replace("-", ""), 16)
                return (200, {"server": self.server(number)}) if number < self.servers else (404, problem("no server"))
            case "GET", ["compute", "v2.1", "servers", _, "migrations"]:
                live = [one for one in self.migrations if one["migration_type"] == "live-migration"]
                return 200, {"migrations": [one for one in live if one["status"] in UNDER_WAY]}
            case "GET", ["compute", "v2.1", "servers", _, "diagnostics"]:
                return 200, self.diagnostics
            case "GET", ["compute", "v2.1", "servers", _, "os-instance-actions"]:
                return 200, {"instanceActions": [one | {"events": None} for one in self.actions]}
            case "GET", ["compute", "v2.1", "servers", _, "os-instance-actions", id]:
                found = next((one for one in self.actions if one["request_id"] == id), None)
                return (404, problem("no action")) if found is None else (200, {"instanceAction": found})
            case "GET", ["compute", "v2.1", "os-migrations"]:
                return 200, {"migrations": self.migrations}
            case "GET", ["compute", "v2.1", "os-services"]:
                found = [self._service(number) for number in range(self.hosts)]
                return 200, {"services": [one for one in found if query.get("host") in (None, one["host"])]}
            case "GET", ["compute", "v2.1", "os-hypervisors", "detail"]:
                return 200, self._page("hypervisors", self.hosts, query, self._hypervisor, "/os-hypervisors")
            case "GET", ["compute", "v2.1", "os-aggregates"]:
                hosts = [host_name(number) for number in range(self.hosts)]
                return 200, {"aggregates": [{"name": f"az{n}", "hosts": hosts[n::3], "metadata": {}} for n in range(3)]}
            case "GET", ["compute", "v2.1", "os-server-groups"]:
                offset, limit = int(query["offset"]), int(query["limit"])
                there = range(self.servers // 100)[offset : offset + limit]
                return 200, {"server_groups": [self._group(number) for number in there]}
            case "GET", ["placement", *rest]:
                return self._placement(rest, query)
            case "GET", ["prometheus", "api", "v1", "query"]:
                found = next((told for part, told in self.measured.items() if part in query["query"]), [])
                vector = [{"metric": labels, "value": [0, value]} for labels, value in found]
                return 200, {"status": "success", "data": {"resultType": "vector", "result": vector}}
            case (("POST" | "PUT" | "DELETE"), ["compute", "v2.1", *_]):
                self.taken.append((method, path, body))
                return 202, {}
            case _:
                return 404, problem(f"nothing at {path}")

    def _placement(self, path: list[str], query: Mapping[str, str]) -> tuple[int, Any]:
        match path:
            case ["allocation_candidates"]:
                wanted = query["resources"].partition(":")[0]
                found = {uuid(n): self._summary(n) for n in range(self.hosts)}
                return 200, {"provider_summaries": {key: one for key, one in found.items() if _has_room(one, wanted)}}
            case ["resource_providers"]:
                ids = [uuid(n) for n in range(self.hosts)]
                found = [{"uuid": one, "generation": self.generations.get(one, 1)} for one in ids]
                return 200, {"resource_providers": found}
            case ["resource_providers", id, _]:
                one = self._summary(int(id.replace("-", ""), 16))
                inventory = {"reserved": 0, "allocation_ratio": 1.0}
                totals = {name: {"total": it["capacity"], **inventory} for name, it in one["resources"].items()}
                used = {name: it["used"] for name, it in one["resources"].items()}
                return 200, {"inventories": totals, "usages": used, "traits": one["traits"], "allocations": {}}
            case ["allocations", _]:
                return 200, {"allocations": {}}
            case _:
                return 404, problem(f"nothing at {path}")

    def _token(self) -> dict[str, Any]:
        self.tokens += 1

        def service(kind: str, path: str) -> dict[str, Any]:
            endpoint = {
                "interface": "public",
                "region": "one",
                "region_id": "one",
                "url": f"{self.address}{path}",
                "id": kind,
            }
            return {"type": kind, "name": kind, "id": kind, "endpoints": [endpoint]}

        catalog = [
            service("compute", "/compute/v2.1"),
            service("placement", "/placement"),
            service("identity", "/identity"),
        ]
        return {
            "methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z", "issued_at": NOW, "catalog": catalog,
            "user": {"id": "u", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "admin"}], "audit_ids": ["a"],
        }  # fmt: skip

    def _page(
        self, key: str, count: int, query: Mapping[str, str], make: Any, path: str, *, every: int = 1
    ) -> dict[str, Any]:
        first = int(query["marker"].replace("-", ""), 16) + every if "marker" in query else 0
        numbers = range(first, count, every)[: min(1000, int(query.get("limit", "1000")))]
        more = bool(numbers) and numbers[-1] + every < count
        href = f"{self.address}/compute/v2.1{path}?marker={uuid(numbers[-1])}" if more else ""
        links = [{"rel": "next", "href": href}] if more else []
        return {key: [make(number) for number in numbers], **({f"{key}_links": links} if links else {})}

    def _service(self, number: int) -> dict[str, Any]:
        return {
            "id": uuid(number), "binary": "nova-compute", "host": host_name(number), "zone": f"az{number % 3}",
            "status": "enabled", "state": "up", "updated_at": NOW, "disabled_reason": None, "forced_down": False,
        }  # fmt: skip

    def _hypervisor(self, number: int) -> dict[str, Any]:
        return {
            "id": uuid(number), "hypervisor_hostname": host_name(number), "hypervisor_type": "QEMU", "vcpus": 64,
            "memory_mb": 524288, "service": {"host": host_name(number)}, "host_ip": "10.0.0.1",
            "cpu_info": {"arch": "x86_64", "model": "Cascadelake", "features": ["a"] * 120},
        }  # fmt: skip

    def _summary(self, number: int) -> dict[str, Any]:
        mine = [FLAVORS[server % 3] for server in range(number, self.servers, self.hosts)]
        used = {
            name: sum(one[field] for one in mine)
            for name, field in (("VCPU", "vcpus"), ("MEMORY_MB", "ram"), ("DISK_GB", "disk"))
        }
        capacity = {"VCPU": 256, "MEMORY_MB": 520192, "DISK_GB": 4000}
        if self.full_every and number % self.full_every == 1:
            nothing = number // self.full_every % 4 == 0
            used |= {name: capacity[name] for name in capacity if nothing or name == "MEMORY_MB"}
        resources = {name: {"capacity": capacity[name], "used": used[name]} for name in capacity}
        traits = ["HW_CPU_X86_AVX2", *(f"COMPUTE_TRAIT_{n}" for n in range(60))]
        return {
            "resources": resources,
            "traits": traits,
            "root_provider_uuid": uuid(number),
            "parent_provider_uuid": None,
        }

    def _group(self, number: int) -> dict[str, Any]:
        members = [uuid(number * 100 + one) for one in range(3)]
        return {
            "id": uuid(number),
            "name": f"g{number}",
            "policy": "soft-anti-affinity",
            "rules": {},
            "members": members,
        }


def _has_room(summary: Mapping[str, Any], resource_class: str) -> bool:
    one = summary["resources"].get(resource_class, {"capacity": 0, "used": 0})
    return bool(one["used"] < one["capacity"])


def uuid(number: int) -> str:
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def host_name(number: int) -> str:
    return f"host-{number:05}"


def problem(message: str) -> dict[str, Any]:
    return {"itemNotFound": {"code": 404, "message": message}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stand_in: StandIn

    def _serve(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        name = f"{self.command} {url.path}"
        self.stand_in.calls.append(name)
        if "/prometheus/" in name:
            self.stand_in.tokens_seen.append((self.headers.get("x-auth-token"), self.headers.get("authorization")))
        trouble = next((one for one in self.stand_in.troubles if one.times > 0 and re.search(one.matching, name)), None)
        if trouble is not None:
            trouble.times -= 1
            time.sleep(trouble.wait_s)
            if trouble.cut == "before":
                cut(self)
                return
            if trouble.status is not None:
                self._send(trouble.status, problem("trouble on purpose"))
                return
        if self.headers.get("x-auth-token") in self.stand_in.expired and "/auth/" not in url.path:
            self._send(401, problem("expired"))
            return
        status, document = self.stand_in.answer(self.command, url.path, dict(parse_qsl(url.query)), body)
        if trouble is not None and trouble.cut == "after":
            cut(self)
            return
        self._send(status, document)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  (the names that http.server asks for)

    def _send(self, status: int, document: Any) -> None:
        data = b"" if status == 204 else orjson.dumps(document)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-openstack-request-id", f"req-{uuid(len(self.stand_in.calls))}")
        if "/auth/tokens" in self.path:
            self.send_header("X-Subject-Token", f"token-{self.stand_in.tokens}")
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked has lost patience
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: calls are counted."""


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """When it stops, its open connections stop with it."""

    daemon_threads = True

    def __init__(self, *given: Any) -> None:
        self.open: list[socket.socket] = []
        super().__init__(*given)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        super().server_close()
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def standing_in(stand_in: StandIn) -> Iterator[StandIn]:
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"stand_in": stand_in}))
    stand_in.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def write_clouds(folder: Path, address: str, **more: Any) -> Path:
    auth = {
        "auth_url": f"{address}/identity/v3", "username": "admin", "password": "secret", "project_name": "admin",
        "user_domain_name": "Default", "project_domain_name": "Default",
    }  # fmt: skip
    file = folder / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {"stand-in": {"auth": auth, "region_name": "one", **more}}}))
    return file


if __name__ == "__main__":
    with standing_in(StandIn(*(int(one) for one in sys.argv[1:]))) as serving:
        print(serving.address, flush=True)
        threading.Event().wait()

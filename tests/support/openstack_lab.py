"""The real OpenStack of the tests, seen and used from outside: with openstacksdk alone, not with Restow's adapter."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import openstack
import pytest

T = TypeVar("T")

FOLDER = Path(__file__).parents[1] / "lab" / "openstack"
MISSING = 69
HOSTS = tuple(f"compute-{number:02}" for number in range(1, 11))
NEWEST = "2.96"
UP_S = 560
RUNNING = 1  # of Nova's power states


def until(what: str, look: Callable[[], T], *, within_s: float = 180.0, every_s: float = 0.3) -> T:
    """The first true answer. What is real takes its own time: a test of it can only wait, for a bounded time."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(every_s)


@dataclass
class OpenStackLab:
    clouds_file: Path
    cloud: Any

    @property
    def run(self) -> Path:
        return self.clouds_file.parent

    # --- servers ---

    def boot(
        self, wanted: Mapping[str, str], *, flavor: str = "small", wait: bool = True, **more: Any
    ) -> dict[str, str]:
        """Servers by name on these hosts; their ids by name."""
        flavors = {one.name: one.id for one in self.cloud.compute.flavors()}
        image = next(iter(self.cloud.image.images())).id
        hinted = {"group": more.pop("group")} if "group" in more else more.pop("hints", {})
        hints = {"os:scheduler_hints": hinted} if hinted else {}
        made = {}
        for name, host in wanted.items():
            server = {
                "name": name,
                "flavorRef": flavors[flavor],
                "imageRef": image,
                "networks": "none",
                "host": host,
                **more,
            }
            answer = self.cloud.compute.post("/servers", json={"server": server, **hints}, microversion=NEWEST)
            assert answer.status_code == 202, answer.text
            made[name] = answer.json()["server"]["id"]
        if wait:
            ids = set(made.values())
            until("servers are active", lambda: self._are_active(ids), within_s=240, every_s=1.0)
        return made

    def _are_active(self, ids: set[str]) -> bool:
        found = [one for one in self.servers() if one["id"] in ids]
        for one in found:
            assert one["status"] != "ERROR", f"{one['name']}: {self.server(one['id']).get('fault')}"
        return len(found) == len(ids) and all(one["status"] == "ACTIVE" for one in found)

    def servers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/servers/detail?all_tenants=1&limit=1000")["servers"]
        return found

    def server(self, server: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/servers/{server}")["server"]
        return found

    def places(self) -> dict[str, str]:
        """Hosts by the names of servers."""
        return {one["name"]: one["OS-EXT-SRV-ATTR:host"] for one in self.servers()}

    def act(self, server: str, body: Mapping[str, Any], *, version: str = NEWEST) -> int:
        return int(self.cloud.compute.post(f"/servers/{server}/action", json=body, microversion=version).status_code)

    def group(self, name: str, policy: str = "anti-affinity") -> str:
        body = {"server_group": {"name": name, "policy": policy}}
        answer = self.cloud.compute.post("/os-server-groups", json=body, microversion="2.64")
        return str(answer.json()["server_group"]["id"])

    def migrations(self, server: str | None = None) -> list[dict[str, Any]]:
        more = f"&instance_uuid={server}" if server else ""
        found: list[dict[str, Any]] = self.get(f"/os-migrations?limit=1000{more}", version="2.80")["migrations"]
        return sorted(found, key=lambda one: one["id"])

    def holders(self, server: str) -> set[str]:
        """The hosts where placement holds something for this server."""
        names = {one["uuid"]: one["name"] for one in self.placement("/resource_providers")["resource_providers"]}
        return {names[uuid] for uuid in self.placement(f"/allocations/{server}")["allocations"]}

    def guests(self, host: str, *, running: bool = False) -> set[str]:
        """The servers whose guests this host's hypervisor has, or those alone that run."""
        file = self.run / "nova" / host / "guests.json"
        found = json.loads(file.read_text()) if file.exists() else {}
        return {server for server, (_, state) in found.items() if not running or state == RUNNING}

    # --- hosts ---

    def services(self) -> dict[str, dict[str, Any]]:
        return {one["host"]: one for one in self.get("/os-services?binary=nova-compute", version="2.69")["services"]}

    def alive(self, host: str) -> bool:
        """Whether this machine runs its guests, as `machine.py` has it."""
        file = self.run / "machines" / f"{host}.json"
        return not file.exists() or bool(json.loads(file.read_text()).get("alive", True))

    def machine(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, FOLDER / "machine.py", *words], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    # --- users ---

    def user(self, name: str, *, role: str | None) -> dict[str, str]:
        """Name and password of a user of the project admin with this role alone, for `clouds_of`."""
        identity, password = self.cloud.identity, f"secret-of-{name}"
        project = identity.find_project("admin", ignore_missing=False)
        user = identity.find_user(name) or identity.create_user(name=name, password=password, domain_id="default")
        if role is not None:
            found = identity.find_role(role) or identity.create_role(name=role)
            identity.assign_project_role_to_user(project, user, found)
        return {"username": name, "password": password}

    def clouds_of(self, **auth: str) -> dict[str, Any]:
        """The lab's clouds.yaml with another user, or whatever else of its `auth` is to be another."""
        document: dict[str, Any] = json.loads(self.clouds_file.read_text())
        document["clouds"]["lab"]["auth"].update(auth)
        return document

    # --- all of it ---

    def get(self, path: str, *, version: str = NEWEST) -> Any:
        answer = self.cloud.compute.get(path, microversion=version)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def placement(self, path: str) -> Any:
        answer = self.cloud.placement.get(path, microversion="1.39")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def clean(self) -> None:
        """No servers, no groups; every host up, enabled and obedient."""
        started = datetime.now(UTC).replace(tzinfo=None).isoformat() if self.machine("mend").strip() else ""

        def report() -> bool:
            """Those declared down too: Nova takes that back only once the host has cleared its evacuations away."""
            return all((one["updated_at"] or "") > started for one in self.services().values())  # at first: None

        until("hosts report", report, within_s=300)
        for service in self.services().values():
            if service["forced_down"]:
                until("it is declared up", lambda one=service: self.switch(one, {"forced_down": False}))  # type: ignore[misc]
        until("hosts are up", lambda: all(one["state"] == "up" for one in self.services().values()), within_s=180)
        for service in self.services().values():
            if service["status"] == "disabled":  # only now: a host that is down would not tell placement
                assert self.switch(service, {"status": "enabled"})
        for one in self.servers():
            self.cloud.compute.delete(f"/servers/{one['id']}")
        until("servers are gone", lambda: not self.servers(), within_s=180)
        self._forget_claims()
        for group in self.get("/os-server-groups?all_projects=True")["server_groups"]:
            self.cloud.compute.delete(f"/os-server-groups/{group['id']}")

    def _forget_claims(self) -> None:
        """Nova forgets some itself: those of a server that is deleted while its live migration is queued."""
        for provider in self.placement("/resource_providers")["resource_providers"]:
            for consumer in self.placement(f"/resource_providers/{provider['uuid']}/allocations")["allocations"]:
                self.cloud.placement.delete(f"/allocations/{consumer}", microversion="1.39")

    def switch(self, service: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
        answer = self.cloud.compute.put(f"/os-services/{service['id']}", json=body, microversion=NEWEST)
        return int(answer.status_code) == 200


def bring_up() -> Path:
    """Its clouds.yaml. A lab that is up already is taken as it is; a missing program skips with its name."""
    up = subprocess.run(
        [sys.executable, FOLDER / "lab.py", "up"], capture_output=True, text=True, timeout=UP_S, check=False
    )
    if up.returncode == MISSING:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr[-3000:]
    print(up.stderr)
    return Path(up.stdout.split("OS_CLIENT_CONFIG_FILE=")[1].split()[0])


@pytest.fixture(scope="session")
def openstack_lab() -> Iterator[OpenStackLab]:
    """Ten hosts in two zones. With RESTOW_LAB_KEEP it stays up after the tests."""
    file = bring_up()
    before = os.environ.get("OS_CLIENT_CONFIG_FILE")
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(file)
    try:
        lab = OpenStackLab(file, openstack.connect(cloud="lab"))
        yield lab
        lab.cloud.close()
    finally:
        if before is None:
            del os.environ["OS_CLIENT_CONFIG_FILE"]
        else:
            os.environ["OS_CLIENT_CONFIG_FILE"] = before
        if not os.environ.get("RESTOW_LAB_KEEP"):
            subprocess.run([sys.executable, FOLDER / "lab.py", "down"], check=False, timeout=120, capture_output=True)

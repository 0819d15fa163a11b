"""Looks at Nova, placement and the hypervisors of the lab throughout, and notes every rule that it sees broken."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import openstack

from support.openstack_lab import HOSTS, OpenStackLab

UNDER_WAY = frozenset({
    "accepted", "queued", "preparing", "running", "post-migrating", "pre-migrating", "migrating", "finished",
    "confirming",
})  # fmt: skip
"""Migrations that Nova has not done with; `finished` is a cold one that waits to be confirmed."""


@dataclass(frozen=True)
class Look:
    """What was seen at one moment. `used` and `capacity`: by host and class of resource."""

    servers: Mapping[str, Mapping[str, Any]]
    groups: tuple[Mapping[str, Any], ...]
    migrations: tuple[Mapping[str, Any], ...]
    closed: frozenset[str]
    """Hosts that are disabled, declared down or down."""
    running: Mapping[str, frozenset[str]]
    """The servers whose guests run, by host that is alive."""
    used: Mapping[str, Mapping[str, int]]
    capacity: Mapping[str, Mapping[str, int]]

    def under_way(self) -> Iterator[Mapping[str, Any]]:
        return (one for one in self.migrations if one["status"] in UNDER_WAY)


def seen_broken(last: Look, now: Look, *, were_off: frozenset[str] = frozenset()) -> Iterator[str]:
    """The rules that are broken now, in words; `were_off`: a machine that was off starts no guest by itself.

    What two services tell one after the other is held against each other only where both looks agree.
    """
    for server in now.servers.values():
        if server["status"] == "ERROR":
            yield f"{server['name']} is in ERROR"
    yield from _together(now)
    for host, classes in now.used.items():
        for name, used in classes.items():
            if used > (most := now.capacity[host].get(name, 0)):
                yield f"{host} has {name} {used} of {most}"
    known = {one["id"] for one in last.migrations}
    for one in now.migrations:
        if one["id"] not in known and one["dest_compute"] in last.closed & now.closed:
            yield f"a {one['migration_type']} goes to {one['dest_compute']}, which is closed"
    moving = {one["instance_uuid"] for look in (last, now) for one in look.under_way()}
    for server in _twice(last, were_off) & _twice(now, were_off) - moving:
        yield f"{server} runs twice: {sorted(host for host, guests in now.running.items() if server in guests)}"


def _together(look: Look) -> Iterator[str]:
    """Members that share a host, those that are on their way to one counted there too."""
    to = {one["instance_uuid"]: one["dest_compute"] for one in look.under_way() if one["dest_compute"]}
    for group in look.groups:
        if group["policy"] != "anti-affinity":
            continue
        members = [one for one in group["members"] if one in look.servers]
        hosts: Counter[str] = Counter()
        for member in members:
            hosts.update({look.servers[member]["OS-EXT-SRV-ATTR:host"], to.get(member)} - {None})
        most = int(group.get("rules", {}).get("max_server_per_host", 1))
        full = {host: number for host, number in hosts.items() if number > most}
        if full:
            yield f"group {group['name']} is together: {full}"


def _twice(look: Look, were_off: frozenset[str]) -> set[str]:
    runs = Counter(server for host, guests in look.running.items() if host not in were_off for server in guests)
    return {server for server, hosts in runs.items() if hosts > 1}


@dataclass
class Watcher:
    lab: OpenStackLab
    broken: list[str] = field(default_factory=list)
    looks: int = 0
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._cloud = openstack.connect(cloud="lab")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        assert self._thread is not None
        self._thread.join(30)
        self._cloud.close()

    def _watch(self) -> None:
        try:
            self._own = OpenStackLab(self.lab.clouds_file, self._cloud)
            self._providers = {
                one["uuid"]: one["name"] for one in self._own.placement("/resource_providers")["resource_providers"]
            }
            self._capacity = {name: self._room(uuid) for uuid, name in self._providers.items()}
            last, were_off = self._look(), frozenset[str]()
            while not self._end.wait(0.5):
                were_off |= {host for host in HOSTS if not self._own.alive(host)}
                now = self._look()
                self.broken += seen_broken(last, now, were_off=were_off)
                last = now
                self.looks += 1
        except Exception as error:  # noqa: BLE001  (a thread has nobody to raise to)
            self.broken.append(f"the watcher failed: {error!r}")

    def _room(self, provider: str) -> Mapping[str, int]:
        inventories = self._own.placement(f"/resource_providers/{provider}/inventories")["inventories"]
        return {
            name: int((one["total"] - one["reserved"]) * one["allocation_ratio"]) for name, one in inventories.items()
        }

    def _used(self) -> Mapping[str, Mapping[str, int]]:
        """Placement tells together of those with a VCPU to spare; the others are asked about one by one."""
        told = self._own.placement("/allocation_candidates?resources=VCPU:1")["provider_summaries"]
        return {
            name: {key: one["used"] for key, one in told[uuid]["resources"].items()} if uuid in told
            else self._own.placement(f"/resource_providers/{uuid}/usages")["usages"]
            for uuid, name in self._providers.items()
        }  # fmt: skip

    def _look(self) -> Look:
        own = self._own
        return Look(
            servers={one["id"]: one for one in own.servers()},
            groups=tuple(own.get("/os-server-groups?all_projects=True")["server_groups"]),
            migrations=tuple(own.migrations()),
            closed=frozenset(
                host for host, one in own.services().items()
                if one["status"] == "disabled" or one["forced_down"] or one["state"] == "down"
            ),
            running={host: frozenset(own.guests(host, running=True)) for host in HOSTS if own.alive(host)},
            used=self._used(),
            capacity=self._capacity,
        )  # fmt: skip

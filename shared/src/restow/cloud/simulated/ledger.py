"""Who claims what on which host, and where guests truly run, with everything that went wrong on record; pure.

The ledger is the witness of the promises: it is written by the physics alone, whatever the records of the
cloud may say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from restow.cloud.model import Resource
from restow.ids import HostName, ServerId

HISTORY_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken promise: "capacity", "two-places" or "evacuated-twice". `at` is in seconds since 1970."""

    at: float
    kind: str
    host: str
    server: str
    detail: str


@dataclass(frozen=True, slots=True)
class Held:
    """From this time on the server holds its claim on these hosts, the record's order first."""

    at: float
    server: ServerId
    hosts: tuple[HostName, ...]


class Ledger:
    def __init__(self, resources: tuple[Resource, ...], capacity: Mapping[HostName, Mapping[Resource, int]]) -> None:
        self._resources = resources
        self._capacity = capacity
        self.used: dict[HostName, dict[Resource, int]] = {host: dict.fromkeys(resources, 0) for host in capacity}
        self.claims: dict[ServerId, dict[HostName, Mapping[Resource, int]]] = {}
        self.guests: dict[ServerId, set[HostName]] = {}
        self.broken: list[Broken] = []
        self.unfenced: list[Broken] = []
        self.history: list[Held] = []

    def claim(self, server: ServerId, host: HostName, demand: Mapping[Resource, int], *, now: float) -> None:
        """A second claim on the same host is the same claim."""
        held = self.claims.setdefault(server, {})
        if host in held:
            return
        held[host] = demand
        used, capacity = self.used[host], self._capacity[host]
        for resource in self._resources:
            amount = demand.get(resource, 0)
            used[resource] += amount
            if amount and used[resource] > capacity.get(resource, 0):
                detail = f"{used[resource]} of {capacity.get(resource, 0)} {resource}"
                self._note(Broken(now, "capacity", host, server, detail))
        self._remember(server, now)

    def release(self, server: ServerId, host: HostName, *, now: float) -> None:
        demand = self.claims.get(server, {}).pop(host, None)
        if demand is None:
            return
        for resource in self._resources:
            self.used[host][resource] -= demand.get(resource, 0)
        self._remember(server, now)

    def lacks(self, host: HostName, demand: Mapping[Resource, int]) -> str:
        """Why placement would not take this claim; empty if it would."""
        for resource in self._resources:
            free = self._capacity[host].get(resource, 0) - self.used[host][resource]
            if demand.get(resource, 0) > max(free, 0):
                return f"{host} has {max(free, 0)} {resource} free, {demand[resource]} asked for"
        return ""

    def runs(self, server: ServerId, host: HostName, *, now: float) -> None:
        places = self.guests.setdefault(server, set())
        places.add(host)
        if len(places) > 1:
            self._note(Broken(now, "two-places", host, server, "runs on " + ", ".join(sorted(places))))

    def ends(self, server: ServerId, host: HostName) -> None:
        self.guests.get(server, set()).discard(host)

    def guests_of(self, host: HostName) -> tuple[ServerId, ...]:
        return tuple(server for server, places in self.guests.items() if host in places)

    def claims_on(self, host: HostName) -> tuple[ServerId, ...]:
        return tuple(server for server, held in self.claims.items() if host in held)

    def asked_twice(self, server: ServerId, host: HostName, *, now: float) -> None:
        self._note(Broken(now, "evacuated-twice", host, server, "a second evacuation was asked for while one ran"))

    def evacuated(self, server: ServerId, host: HostName, *, powered: bool, now: float) -> None:
        """An evacuation was taken; a host that still has power may still write to the server's disk.

        Noted apart: it breaks our promise, not the cloud's books.
        """
        if powered and len(self.unfenced) < HISTORY_MAX:
            self.unfenced.append(Broken(now, "unfenced", host, server, "evacuated while its host had power"))

    def begins(self, claims: Iterable[tuple[ServerId, HostName, Mapping[Resource, int]]], *, now: float) -> None:
        """The first claims: whatever is over capacity then is the snapshot's own, and no broken promise."""
        for server, host, demand in claims:
            self.claim(server, host, demand, now=now)
        self.broken.clear()

    def forget(self, server: ServerId, *, now: float) -> None:
        for host in tuple(self.claims.get(server, {})):
            self.release(server, host, now=now)
        self.claims.pop(server, None)
        self.guests.pop(server, None)

    def _remember(self, server: ServerId, now: float) -> None:
        if len(self.history) < HISTORY_MAX:
            self.history.append(Held(now, server, tuple(self.claims[server])))

    def _note(self, broken: Broken) -> None:
        if len(self.broken) < HISTORY_MAX:
            self.broken.append(broken)

"""A sequence in milliseconds: move what fits, most wanted first; park what blocks, cheapest first; pure."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random

from restow.ids import HostName, ServerId
from restow_planner.ordering.state import State, host_of

BLOCKED_LOOKED_AT_MAX = 60  # when stuck, so many blocked servers are asked what would free them
PARKED_TOGETHER_MAX = 6  # servers parked to let one through
PATIENCE = 40  # parkings after which fewer servers than ever must be waiting, or the walk goes in circles
HOSTS_TRIED_MAX = 400  # hosts tried as a parking place for one server


@dataclass(slots=True)
class Greedy:
    """One walk from `state` to `targets`. `rank`: smaller is served first. `chance` None: no dice are thrown."""

    state: State
    targets: Mapping[ServerId, HostName]
    rank: Mapping[ServerId, int]
    untouchable: frozenset[ServerId] = frozenset()
    chance: Random | None = None
    pending: dict[ServerId, HostName] = field(default_factory=dict)
    _ready: list[tuple[int, float, int, ServerId]] = field(default_factory=list)
    _watching: dict[tuple[str, int], list[ServerId]] = field(default_factory=dict)
    _order: "count[int]" = field(default_factory=count)
    _wanted: dict[HostName, int] = field(default_factory=dict)
    _guests: dict[HostName, set[ServerId]] = field(default_factory=dict)

    def run(self) -> bool:
        """Whether all targets were reached; if not, `pending` says who was not served."""
        for server, target in self.targets.items():
            if self.state.place(server) != target:
                self._want(server, target)
        for server in list(self.pending):
            self._push(server)
        parkings_left, fewest = PATIENCE, len(self.pending)
        while True:
            self._move_what_fits()
            if not self.pending:
                return True
            parkings_left -= 1
            if len(self.pending) < fewest:
                parkings_left, fewest = PATIENCE, len(self.pending)
            if parkings_left < 0 or not self._park():
                return False

    def _want(self, server: ServerId, target: HostName) -> None:
        self.pending[server] = target
        self._wanted[target] = self._wanted.get(target, 0) + 1

    def _push(self, server: ServerId) -> None:
        source = self.state.place(server)
        waited_for = self._wanted.get(source, 0) if source is not None else 0
        noise = self.chance.random() * 4 if self.chance else 0.0
        heapq.heappush(
            self._ready, (self.rank.get(server, len(self.rank)), noise - waited_for, next(self._order), server)
        )

    def _move_what_fits(self) -> None:
        while self._ready:
            server = heapq.heappop(self._ready)[-1]
            target = self.pending.get(server)
            if target is None:
                continue
            lacking = self.state.lacking(server, target)
            group = None if lacking else self.state.broken_group(server, target)
            if lacking or group is not None:
                key = ("counter", lacking[0][0]) if lacking else ("group", group or 0)
                self._watching.setdefault(key, []).append(server)
            else:
                self._go(server, target)

    def _go(self, server: ServerId, target: HostName) -> None:
        source = self.state.place(server)
        self.state.go(server, target)
        if self.pending.get(server) == target:
            del self.pending[server]
            self._wanted[target] -= 1
        self._guests.setdefault(target, set()).add(server)
        if source is not None:
            self._guests.setdefault(source, set()).discard(server)
        freed = [("counter", counter) for counter, _ in self.state.world.departures(server, source, target)]
        freed += [("group", group) for group in self.state.world.group_numbers(server)]
        for key in freed:
            for waiting in self._watching.pop(key, ()):
                self._push(waiting)

    # --- stuck: park ---------------------------------------------------------------------------

    def _park(self) -> bool:
        """Let one blocked server through by parking others, for the least memory moved."""
        best: tuple[float, list[tuple[ServerId, HostName]], ServerId] | None = None
        blocked = sorted(self.pending, key=lambda one: (self.rank.get(one, len(self.rank)), str(one)))
        if self.chance:
            self.chance.shuffle(blocked)
        for server in blocked[:BLOCKED_LOOKED_AT_MAX]:
            found = self._way_for(server, self.pending[server])
            if found is not None and (best is None or found[0] < best[0]):
                best = (*found, server)
                if self.chance and self.chance.random() < 0.3:
                    break
        if best is None:
            return False
        _, parkings, server = best
        for parked, host in parkings:
            home = self.targets.get(parked, self.state.world.start(parked))
            if parked not in self.pending:
                self._want(parked, host_of(home))
            self._go(parked, host)
        self._go(server, self.pending[server])
        for parked, _ in parkings:
            self._push(parked)
        for waiting in self.pending:  # after a parking everything is worth another look
            self._push(waiting)
        self._watching.clear()
        return True

    def _way_for(self, server: ServerId, target: HostName) -> tuple[float, list[tuple[ServerId, HostName]]] | None:
        """The parkings after which `server` fits, and what they cost in MiB (a return counts too)."""
        lacking = self.state.lacking(server, target)
        if not lacking:
            return None  # a group holds it back: parking makes no room there
        blockers = self._blockers(server, (counter for counter, _ in lacking))
        single = [
            (self._price(one), one)
            for one in blockers
            if all(
                dict(self.state.world.weights(one, host_of(self.state.place(one)))).get(c, 0) >= n for c, n in lacking
            )
        ]
        for price, one in sorted(single, key=lambda item: (item[0], str(item[1])))[:20]:
            host = self._parking_place(self.state, one, not_on=target)
            if host is not None:
                trial = self._after(((one, host),))
                if trial.fits(server, target):
                    return price, [(one, host)]
        return self._several(server, target, blockers)

    def _several(
        self, server: ServerId, target: HostName, blockers: list[ServerId]
    ) -> tuple[float, list[tuple[ServerId, HostName]]] | None:
        trial, price = self.state.copy(), 0.0
        parkings: list[tuple[ServerId, HostName]] = []
        for one in sorted(blockers, key=lambda b: (self._price(b), str(b))):
            if len(parkings) >= PARKED_TOGETHER_MAX:
                return None
            host = self._parking_place(trial, one, not_on=target)
            if host is None:
                continue
            trial.go(one, host)
            parkings.append((one, host))
            price += self._price(one)
            if trial.fits(server, target):
                return price, parkings
        return None

    def _after(self, parkings: Iterable[tuple[ServerId, HostName]]) -> State:
        trial = self.state.copy()
        for one, host in parkings:
            trial.go(one, host)
        return trial

    def _price(self, server: ServerId) -> float:
        world = self.state.world
        return world.memory(server) * (1.0 if server in self.pending else 2.0)

    def _blockers(self, server: ServerId, counters: Iterable[int]) -> list[ServerId]:
        """Who stands on these counters and may be touched."""
        world = self.state.world
        found: dict[ServerId, None] = {}
        for counter in counters:
            for one in self._standing_on(counter):
                if one != server and one not in world.fixed and one not in self.untouchable:
                    found[one] = None
        return list(found)

    def _standing_on(self, counter: int) -> Iterator[ServerId]:
        world, what = self.state.world, self.state.world.counters[counter]
        if what.of is None:
            for server in what.servers:
                at = self.state.place(server) if server in world.cloud.server_by_id else None
                if at is not None and counter in {one for one, _ in world.weights(server, at)}:
                    yield server
            return
        host = HostName(what.subject)
        for one in world.cloud.servers_on.get(host, ()):
            if self.state.place(one.id) == host:
                yield one.id
        for guest in sorted(self._guests.get(host, ())):
            if world.start(guest) != host and self.state.place(guest) == host:
                yield guest

    def _parking_place(self, state: State, server: ServerId, *, not_on: HostName) -> HostName | None:
        """A host that may take the server in; best one that nobody else waits for."""
        world, here = state.world, state.place(server)
        home = self.targets.get(server, world.start(server))
        hosts = [host.name for host in world.cloud.hosts]
        if self.chance:
            self.chance.shuffle(hosts)
        tried = 0
        for host in sorted(hosts, key=lambda name: self._wanted.get(name, 0)):
            if host in (here, not_on) or (host == home and server not in self.pending):
                continue
            if world.forbidden(server, host) is not None:
                continue
            tried += 1
            if tried > HOSTS_TRIED_MAX:
                return None
            if state.fits(server, host):
                return host
        return None

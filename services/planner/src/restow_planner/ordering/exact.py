"""The cheapest sequence, or a proof that there is none: A* over placements, cost = MiB of memory moved; pure.

The estimate of what is left is the memory of all servers that are not on their targets: it never says
too much, so the first arrival is the optimum. An exhausted search that left nobody and no host out is a proof.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from restow.ids import HostName, ServerId
from restow_planner.goals.work import Deadline
from restow_planner.ordering.state import Hop, State

Placement = tuple[int, ...]
LOOKS = 50  # nodes between two looks at the clock
NODES_MAX = 1_000_000  # whatever the time limit: what is remembered of each costs memory


@dataclass(frozen=True, slots=True)
class Found:
    """`optimal`: no sequence of the servers and hosts searched moves less memory."""

    hops: tuple[Hop, ...]
    optimal: bool


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Every placement that can be reached was looked at. `stuck`: who is not served in the best of them."""

    stuck: tuple[ServerId, ...]


@dataclass(frozen=True, slots=True)
class OutOfNodes:
    stuck: tuple[ServerId, ...]


def search(
    start: State,
    targets: Mapping[ServerId, HostName],
    servers: Sequence[ServerId],
    hosts: Sequence[HostName],
    *,
    nodes_max: int,
    weight: float = 1.0,
    cost_max: float = float("inf"),
    deadline: Deadline | None = None,
) -> Found | Exhausted | OutOfNodes:
    """Walk from `start` to `targets` by moves of `servers` onto `hosts`. `weight` > 1 is faster and not optimal.

    Nodes dearer than `cost_max` are dropped: then an exhausted search proves only that nothing cheaper exists.
    """
    grid = _Grid(start, targets, servers, hosts)
    opened = count()
    origin = grid.origin
    left = grid.left(origin)
    nodes_max = min(nodes_max, NODES_MAX)
    heap: list[tuple[float, int, int, int, Placement]] = [(weight * left, left, next(opened), 0, origin)]
    cost: dict[Placement, int] = {origin: 0}
    came: dict[Placement, tuple[Placement, int, int]] = {}
    done: set[Placement] = set()
    best = (left, origin)
    while heap:
        _, left, _, spent, here = heapq.heappop(heap)
        if here in done:
            continue
        done.add(here)
        if left < best[0]:
            best = (left, here)
        if left == 0:
            return Found(grid.hops(came, here), optimal=weight == 1.0)
        if len(done) > nodes_max or (deadline is not None and not len(done) % LOOKS and deadline.over()):
            return OutOfNodes(grid.stuck(best[1]))
        for index, host, there in grid.moves(here):
            memory = grid.memory[index]
            total = spent + memory
            if there in done or total >= cost.get(there, total + 1):
                continue
            goal = grid.goal[index]
            rest = left + (memory if here[index] == goal else 0) - (memory if host == goal else 0)
            if total + rest >= cost_max:
                continue
            cost[there] = total
            came[there] = (here, index, host)
            heapq.heappush(heap, (total + weight * rest, rest, next(opened), total, there))
    return Exhausted(grid.stuck(best[1]))


class _Grid:
    """Servers and hosts as numbers; a placement is a tuple of host numbers."""

    def __init__(
        self, start: State, targets: Mapping[ServerId, HostName], servers: Sequence[ServerId], hosts: Sequence[HostName]
    ) -> None:
        world = start.world
        self.start = start
        self.servers = list(servers)
        places = [start.place(server) for server in servers]
        goals = [targets.get(server, world.start(server)) for server in servers]
        self.hosts = list(dict.fromkeys([*hosts, *(one for one in (*places, *goals) if one is not None)]))
        number = {host: index for index, host in enumerate(self.hosts)}
        assert all(place is not None for place in places)
        self.origin: Placement = tuple(number[place] for place in places if place is not None)
        self.goal: Placement = tuple(number[goal] for goal in goals if goal is not None)
        self.memory = [world.memory(server) for server in servers]
        self.open: list[list[int]] = [
            [number[host] for host in self.hosts if world.forbidden(server, host) is None] for server in servers
        ]
        self.special = [server in world.groups_of or server in world.at_most_of for server in servers]
        resources = sorted({name for name, _ in world.capacities})
        known = world.cloud.server_by_id
        self.demand = [tuple(known[server].demand.get(name, 0) for name in resources) for server in servers]
        self.room = [[self._room(name, host) for name in resources] for host in self.hosts]
        for index, host in enumerate(self.origin):
            for axis, amount in enumerate(self.demand[index]):
                self.room[host][axis] += amount  # of the host without the servers searched
        self._pack()

    def _room(self, resource: str, host: HostName) -> int:
        world = self.start.world
        at = world.host_index[host]
        return min(
            world.counters[base + at].limit - self.start.load(base + at)
            for name, base in world.capacities
            if name == resource
        )

    def left(self, placement: Placement) -> int:
        return sum(m for m, at, goal in zip(self.memory, placement, self.goal, strict=True) if at != goal)

    def _pack(self) -> None:
        """All resources of a host as one number, a field with a guard bit each: one subtraction tells what fits."""
        widest = max((abs(amount) for row in (*self.room, *self.demand) for amount in row), default=0)
        width = widest.bit_length() + 2
        shifts = [axis * width for axis in range(len(self.demand[0]) if self.demand else 0)]
        self.guard = sum(1 << (shift + width - 1) for shift in shifts)
        self.packed = [sum(amount << at for amount, at in zip(row, shifts, strict=True)) for row in self.demand]
        self.packed_room = [sum(amount << at for amount, at in zip(row, shifts, strict=True)) for row in self.room]
        free = [list(row) for row in self.room]
        for index, host in enumerate(self.origin):
            for axis, amount in enumerate(self.demand[index]):
                free[host][axis] -= amount
        self.plain = all(amount >= 0 for row in free for amount in row)  # no host is overfull at the start

    def moves(self, here: Placement) -> list[tuple[int, int, Placement]]:
        """(server, host, placement) of every move that every rule lets happen now."""
        fitting = self._fitting(here) if self.plain else self._fitting_overfull(here)
        found = []
        state: State | None = None
        for index, host in fitting:
            if self.special[index]:
                state = state or self._state(here)
                if not state.fits(self.servers[index], self.hosts[host]):
                    continue
            found.append((index, host, (*here[:index], host, *here[index + 1 :])))
        return found

    def _fitting(self, here: Placement) -> list[tuple[int, int]]:
        free = self.packed_room.copy()
        for demand, host in zip(self.packed, here, strict=True):
            free[host] -= demand
        guard = self.guard
        guarded = [one | guard for one in free]
        return [
            (index, host)
            for index, demand in enumerate(self.packed)
            for host in self.open[index]
            if (guarded[host] - demand) & guard == guard and host != here[index]
        ]

    def _fitting_overfull(self, here: Placement) -> list[tuple[int, int]]:
        """The same axis by axis: a host may have less than nothing left of what the server does not need."""
        free = [list(row) for row in self.room]
        for demand, host in zip(self.demand, here, strict=True):
            for axis, amount in enumerate(demand):
                free[host][axis] -= amount
        return [
            (index, host)
            for index, demand in enumerate(self.demand)
            for host in self.open[index]
            if host != here[index]
            and all(not amount or amount <= left for amount, left in zip(demand, free[host], strict=True))
        ]

    def _state(self, placement: Placement) -> State:
        state = self.start.copy()
        for server, host in zip(self.servers, placement, strict=True):
            if state.place(server) != self.hosts[host]:
                state.go(server, self.hosts[host])
        return state

    def stuck(self, placement: Placement) -> tuple[ServerId, ...]:
        return tuple(server for server, at, goal in zip(self.servers, placement, self.goal, strict=True) if at != goal)

    def hops(self, came: Mapping[Placement, tuple[Placement, int, int]], end: Placement) -> tuple[Hop, ...]:
        found = []
        while end in came:
            before, index, host = came[end]
            found.append(Hop(self.servers[index], self.hosts[before[index]], self.hosts[host]))
            end = before
        return tuple(reversed(found))

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

    def moves(self, here: Placement) -> list[tuple[int, int, Placement]]:
        room = [list(one) for one in self.room]
        for index, host in enumerate(here):
            free = room[host]
            for axis, amount in enumerate(self.demand[index]):
                free[axis] -= amount
        found = []
        state: State | None = None
        for index, at in enumerate(here):
            demand = self.demand[index]
            for host in self.open[index]:
                if host == at:
                    continue
                for amount, free_amount in zip(demand, room[host], strict=True):
                    if amount and amount > free_amount:
                        break
                else:
                    if self.special[index]:
                        state = state or self._state(here)
                        if not state.fits(self.servers[index], self.hosts[host]):
                            continue
                    found.append((index, host, (*here[:index], host, *here[index + 1 :])))
        return found

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

"""Servers and hosts of an exact search as numbers: what fits, what is alike, and what is left to pay at least; pure.

A placement is `bytes`: the host number of each server, with alike servers in ascending order of host. All resources
of a host are one integer with a guard bit above each field, so that one subtraction tells whether a server fits.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import gcd

from restow.ids import HostName, ServerId
from restow_planner.ordering.state import Hop, State
from restow_planner.rules.units import unit_of

Placement = bytes
Move = tuple[int, int]
"""(server, host)."""
Step = tuple[int, int, int]
"""(server, from, to)."""
HOSTS_MAX = 255  # a host number is one byte
NEVER = 1 << 60
"""MiB: the price of what cannot be done, more than all memory moved in any order."""


class Grid:
    """`servers` may move onto `hosts`; everything else stays where `start` has it."""

    def __init__(
        self, start: State, targets: Mapping[ServerId, HostName], servers: Sequence[ServerId], hosts: Sequence[HostName]
    ) -> None:
        world = start.world
        self._start = start
        places = {server: start.place(server) for server in servers}
        goals = {server: targets.get(server, world.start(server)) for server in servers}
        ends = [one for one in (*places.values(), *goals.values()) if one is not None]
        self.hosts = list(dict.fromkeys([*hosts, *ends]))
        assert len(self.hosts) <= HOSTS_MAX, "a host number is one byte"
        number = {host: index for index, host in enumerate(self.hosts)}
        resources = sorted({name for name, _ in world.capacities})
        demand = {server: tuple(world.amount(server, name) for name in resources) for server in servers}
        opened = {
            server: tuple(number[host] for host in self.hosts if world.forbidden(server, host) is None)
            for server in servers
        }
        tied = (world.groups_of, world.at_most_of, {} if world.cells is None else world.cells.largest)
        special = {server for server in servers if any(server in one for one in tied)}

        def alike(server: ServerId) -> tuple[object, ...]:
            """Servers with the same key may stand for each other."""
            goal = goals[server]
            assert goal is not None
            own = str(server) if server in special else ""
            own += "".join("m" if server in one.members else "-" for one in world.isolated)
            return demand[server], opened[server], number[goal], world.memory(server), own

        keys = {server: alike(server) for server in servers}
        rank = {key: index for index, key in enumerate(dict.fromkeys(keys.values()))}
        self.servers = sorted(servers, key=lambda server: rank[keys[server]])  # alike ones stand side by side
        self.ranges: list[tuple[int, int]] = []
        for _, group in groupby(range(len(self.servers)), key=lambda index: rank[keys[self.servers[index]]]):
            members = list(group)
            self.ranges.extend([(members[0], members[-1] + 1)] * len(members))
        self.origin = bytes(number[place] for server in self.servers if (place := places[server]) is not None)
        self.goal = bytes(number[goal] for server in self.servers if (goal := goals[server]) is not None)
        assert len(self.origin) == len(self.goal) == len(self.servers), "who stands nowhere cannot move"
        self.memory = [world.memory(server) for server in self.servers]
        self.open = [opened[server] for server in self.servers]
        self.judged = [bool(world.isolated) or server in special for server in self.servers]
        self._pack([demand[server] for server in self.servers], resources)
        self._classes()
        self._prices()

    def _pack(self, demand: Sequence[tuple[int, ...]], resources: Sequence[str]) -> None:
        """One field for each resource, raised by `bias`, so that an overfull host has no negative field either."""
        free = [[self._free(name, host) for name in resources] for host in self.hosts]
        bias = max(0, -min((amount for row in free for amount in row), default=0))
        self.spare, self.amounts = free, demand
        room = [row.copy() for row in free]
        for host, row in zip(self.origin, demand, strict=True):
            for axis, amount in enumerate(row):
                room[host][axis] += amount
        widest = max((amount for row in (*room, *demand) for amount in row), default=0) + bias
        width = widest.bit_length() + 2
        fields = [1 << (axis * width) for axis in range(len(resources))]
        self.capacity = room  # of each host, for the servers that may move
        self.guard = sum(field << (width - 1) for field in fields)
        self.demand = [sum(a * field for a, field in zip(row, fields, strict=True)) for row in demand]
        self.need = [sum((a + bias) * field for a, field in zip(row, fields, strict=True) if a) for row in demand]
        self.test = [sum(field << (width - 1) for a, field in zip(row, fields, strict=True) if a) for row in demand]
        self.room = [sum((a + bias) * field for a, field in zip(row, fields, strict=True)) for row in room]

    def _free(self, resource: str, host: HostName) -> int:
        world = self._start.world
        at = world.host_index[host]
        return min(
            world.counters[base + at].limit - self._start.load(base + at)
            for name, base in world.capacities
            if name == resource
        )

    def _classes(self) -> None:
        """Servers that fit on the same hosts: what fits is asked once for each of these."""
        found: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for index, key in enumerate(zip(self.demand, self.open, strict=True)):
            found.setdefault(key, []).append(index)
        self.kind = [0] * len(self.servers)
        for kind, members in enumerate(found.values()):
            for index in members:
                self.kind[index] = kind
        self.single = [end - first == 1 for first, end in self.ranges]

    def _prices(self) -> None:
        """What it costs, beyond its last move, that a server makes way: misplaced, and where it belongs."""
        self.price: list[tuple[int, int]] = []
        self.refuge: list[int] = []  # the only host besides its target; -1: it has none, or several
        for index, memory in enumerate(self.memory):
            roomy = [host for host in self.open[index] if self._takes(self.room[host], index)]
            away = [host for host in roomy if host != self.goal[index]]
            settled = 2 * memory if away and self.goal[index] in roomy else NEVER
            self.price.append((memory if away else NEVER, settled))
            self.refuge.append(away[0] if len(away) == 1 else -1)

    def _takes(self, free: int, index: int) -> bool:
        return ((free | self.guard) - self.need[index]) & self.test[index] == self.test[index]

    def immovable(self) -> set[int]:
        """Servers that no order can ever move, if nobody but these servers moves: their start is their end.

        Who can be the first to move joins those that move; then who could be next, were these packed as well as can
        be; until nobody joins. The rest has no first one to move. Of each host only whole multiples of what the demands
        of those that move have in common are room for them.
        """
        moving: set[int] = set()
        # What each host has beside those that stay; one that is overfull may stay as full as it is.
        holes = [[max(0, free) for free in row] for row in self.spare]
        while True:
            usable = {host for index in moving for host in (*self.open[index], self.origin[index])}
            packed = [self._packed(axis, moving, usable, holes) for axis in range(len(holes[0]))]
            known: dict[tuple[int, int], bool] = {}
            joining = set()
            for index in range(len(self.servers)):
                if index not in moving:
                    key = (self.kind[index], self.origin[index])
                    if key not in known:
                        known[key] = any(
                            host != self.origin[index]
                            and self._could_come(index, holes[host], packed, shared=host in usable)
                            for host in self.open[index]
                        )
                    if known[key]:
                        joining.add(index)
            if not joining:
                return set(range(len(self.servers))) - moving
            moving |= joining
            for index in joining:
                for axis, amount in enumerate(self.amounts[index]):
                    holes[self.origin[index]][axis] += amount

    def _packed(self, axis: int, moving: set[int], usable: set[int], holes: Sequence[Sequence[int]]) -> tuple[int, int]:
        """What the demands of those that move have in common, and what is left in all hosts when they are packed."""
        common = gcd(*(self.amounts[index][axis] for index in moving)) or 1
        room = sum(holes[host][axis] // common * common for host in usable)
        return common, room - sum(self.amounts[index][axis] for index in moving)

    def _could_come(self, index: int, holes: Sequence[int], packed: Sequence[tuple[int, int]], *, shared: bool) -> bool:
        """Whether a host with these holes had room for the server if all that move were packed as well as can be.

        `shared`: some of those that move may stand there too.
        """
        for amount, hole, (common, left) in zip(self.amounts[index], holes, packed, strict=True):
            taken = hole // common * common - (hole - amount) // common * common
            if amount and (hole < amount or (shared and taken > left)):
                return False
        return True

    # --- what may happen -------------------------------------------------------------------------

    def free(self, here: Placement) -> list[int]:
        """What each host has left, packed."""
        free = self.room.copy()
        for demand, host in zip(self.demand, here, strict=True):
            free[host] -= demand
        return free

    def moves(self, here: Placement, free: Sequence[int]) -> list[Move]:
        """Every move to a target that every rule lets happen now; of alike servers on one host, the move of one."""
        goal, need, test, guard = self.goal, self.need, self.test, self.guard
        found = [
            (index, wanted)
            for index, (at, wanted) in enumerate(zip(here, goal, strict=True))
            if at != wanted and ((free[wanted] | guard) - need[index]) & test[index] == test[index]
        ]
        return self._lawful(here, found)

    def parkings(self, here: Placement, free: Sequence[int], who: Sequence[int]) -> list[Move]:
        """The same for moves of these servers to other hosts than their targets."""
        guard = self.guard
        guarded = [one | guard for one in free]
        fitting: dict[int, list[int]] = {}
        found = []
        for index in who:
            kind = self.kind[index]
            hosts = fitting.get(kind)
            if hosts is None:
                need, test = self.need[index], self.test[index]
                hosts = fitting[kind] = [host for host in self.open[index] if (guarded[host] - need) & test == test]
            ends = here[index], self.goal[index]
            found += [(index, host) for host in hosts if host not in ends]
        return self._lawful(here, found)

    def _lawful(self, here: Placement, moves: list[Move]) -> list[Move]:
        known: set[tuple[int, int, int]] = set()
        found = []
        for index, host in moves:
            if self.judged[index] and not self._allowed(here, index, host):
                continue
            if self.single[index] is False:
                twin = (self.ranges[index][0], here[index], host)
                if twin in known:
                    continue
                known.add(twin)
            found.append((index, host))
        return found

    def after(self, here: Placement, index: int, host: int) -> Placement:
        first, end = self.ranges[index]
        if end - first == 1:
            return here[:index] + bytes((host,)) + here[end:]
        own = bytearray(here[first:end])
        own[index - first] = host
        return here[:first] + bytes(sorted(own)) + here[end:]

    def canonical(self, here: Placement) -> Placement:
        found = b""
        for first, end in dict.fromkeys(self.ranges):
            found += bytes(sorted(here[first:end]))
        return found

    def _allowed(self, here: Placement, index: int, host: int) -> bool:
        """Whether the rules on groups of servers let this move happen."""
        world, server, target = self._start.world, self.servers[index], self.hosts[host]
        at = {one: self.hosts[place] for one, place in zip(self.servers, here, strict=True)}
        hosts = world.cloud.host_by_name
        if any(self._strangers(number, at, server, target) for number in range(len(world.isolated))):
            return False
        if world.has_cells(server) and not self._cells_hold(at, server, target):
            return False
        for rule in world.at_most_of.get(server, ()):
            unit = unit_of(hosts[target], rule.per)
            if unit_of(hosts[at[server]], rule.per) == unit:
                continue
            standing = 0
            for member in rule.servers:
                place = at[member] if member in at else self._start.somewhere(member)
                standing += place is not None and unit_of(hosts[place], rule.per) == unit
            if standing >= rule.count:
                return False
        for number in world.groups_of.get(server, ()):
            ends: dict[ServerId, tuple[HostName, ...]] = {}
            for member in world.groups[number].servers:
                place = at[member] if member in at else self._start.somewhere(member)
                ends[member] = () if place is None else (place,)
            for held in ((*ends[server], target), (target,)):
                ends[server] = held
                if world.group_excess(number, ends) > world.excess_at_start[number]:
                    return False
        return True

    def _strangers(self, number: int, at: Mapping[ServerId, HostName], server: ServerId, target: HostName) -> bool:
        """Whether on the target somebody stands with whom this server may not be there."""
        members = self._start.world.isolated[number].members
        mine = server in members
        outside = self._start.strangers(number, server, target)  # of these, who is in the grid is counted anew
        for other in self.servers:
            if (other in members) is not mine:
                outside += (at[other] == target) - (self._start.place(other) == target)
        return outside > 0

    def _cells_hold(self, at: Mapping[ServerId, HostName], server: ServerId, target: HostName) -> bool:
        world = self._start.world
        load: dict[int, int] = {}
        for other in self.servers:
            here = (at[other] == target) - (self._start.place(other) == target)
            for counter, amount in world.in_cells(other, target) if here else ():
                load[counter] = load.get(counter, 0) + here * amount
        return all(
            self._start.load(counter) + load.get(counter, 0) + amount <= world.counters[counter].limit
            for counter, amount in world.in_cells(server, target)
        )

    # --- what is left to pay ---------------------------------------------------------------------

    def left(self, here: Placement) -> int:
        """MiB of all servers that are not where they should be: each is carried once more at least."""
        return sum(m for m, at, goal in zip(self.memory, here, self.goal, strict=True) if at != goal)

    def detours(self, here: Placement, free: Sequence[int]) -> int:
        """MiB of making way that no order can avoid, beyond `left`; NEVER or more: no order ends on the targets.

        Landmarks with shared costs (as LM-cut: Helmert and Domshlak, 2009) of a problem in which room is given back
        but never taken. While some servers cannot arrive there, take a smallest set of hosts that only each other's
        departures can help: one server on these hosts must make way, for its price, so the least of the prices is
        owed, and is taken off them all. Whoever then costs nothing is taken to have left.
        """
        goal, need, test, demand, guard = self.goal, self.need, self.test, self.demand, self.guard
        room = list(free)
        waiting = [index for index, host in enumerate(here) if host != goal[index]]
        gone: set[int] = set()
        prices: dict[int, int] = {}
        owed = 0
        while True:
            moved = True
            while moved:
                moved, still = False, []
                for index in waiting:
                    if ((room[goal[index]] | guard) - need[index]) & test[index] == test[index]:
                        if index not in gone:
                            room[here[index]] += demand[index]
                            gone.add(index)
                            moved = True
                    else:
                        still.append(index)
                waiting = still
            if not waiting:
                return owed
            if not prices:
                prices = {
                    index: NEVER if self.refuge[index] == at else self.price[index][at == goal[index]]
                    for index, at in enumerate(here)
                    if index not in gone
                }
            hosts = self._closed_set(here, waiting, gone)
            held = [index for index in prices if index not in gone and hosts >> here[index] & 1]
            least = min((prices[index] for index in held), default=NEVER)
            owed += least
            if owed >= NEVER:
                return NEVER
            for index in held:
                prices[index] -= least
                if not prices[index]:
                    gone.add(index)
                    room[here[index]] += demand[index]

    def _closed_set(self, here: Placement, waiting: Sequence[int], gone: set[int]) -> int:
        """Bits of a smallest set of wanted hosts that holds the goals of all who wait on its hosts.

        The first component that Tarjan's algorithm (1972) completes: nothing leads out of it.
        """
        goal = self.goal
        leads: dict[int, list[int]] = {goal[index]: [] for index in waiting}
        for index in waiting:
            if index not in gone and here[index] in leads:
                leads[here[index]].append(goal[index])
        first = next(iter(leads))
        low, place, stack, todo = {first: 0}, {first: 0}, [first], [first]
        while True:
            host = todo[-1]
            if leads[host]:
                other = leads[host].pop()
                if other not in place:
                    place[other] = low[other] = len(stack)
                    stack.append(other)
                    todo.append(other)
                else:
                    low[host] = min(low[host], place[other])
            elif low[host] == place[host]:
                return sum(1 << one for one in stack[place[host] :])
            else:
                todo.pop()
                low[todo[-1]] = min(low[todo[-1]], low[host])

    # --- back to names -----------------------------------------------------------------------------

    def stuck(self, here: Placement) -> tuple[ServerId, ...]:
        return tuple(server for server, at, goal in zip(self.servers, here, self.goal, strict=True) if at != goal)

    def one_at(self, here: Placement, index: int, host: int) -> int:
        """The server alike to this one that stands on this host."""
        first, end = self.ranges[index]
        return here.index(host, first, end)

    def hops(self, moves: Sequence[Step]) -> tuple[Hop, ...]:
        """The moves by name; where alike servers stand for each other, the one that is there moves."""
        at = self.origin
        found = []
        for index, source, host in moves:
            who = self.one_at(at, index, source)
            at = at[:who] + bytes((host,)) + at[who + 1 :]
            found.append(Hop(self.servers[who], self.hosts[source], self.hosts[host]))
        return tuple(found)

    def cost(self, moves: Sequence[Step]) -> int:
        """MiB that these moves carry."""
        return sum(self.memory[index] for index, _, _ in moves)

"""What the ordering knows of a cloud: integer counters with limits, and groups of servers; pure.

Hard `Capacity` and `AtMost` become counters: a server weighs on some of them wherever it holds resources.
Hard `Spread`, `Together`, `AtMostUnits` and `Near` become groups, judged as a whole; `Isolated` is looked up by host,
and `AtOnce` concerns the edges alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from restow.cloud.model import Cloud, Unit
from restow.ids import HostName, ServerId
from restow_planner.ordering.groups import GroupRule, LicenceRule, NearRule, SpreadRule, TogetherRule
from restow_planner.ordering.isolation import Isolation, isolations
from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    AtOnce,
    Capacity,
    Cells,
    Closed,
    Fixed,
    Isolated,
    Near,
    Primitive,
    Spread,
    Together,
)
from restow_planner.rules.units import unit_of

Place = HostName | None
Weights = tuple[tuple[int, int], ...]
"""(counter, amount) pairs."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that runs out: at most `limit` of `of` in `subject` (a host, rack or zone)."""

    rule: str
    of: str | None  # the resource; None: servers are counted
    subject: str
    limit: int
    servers: tuple[ServerId, ...] = ()  # who is counted; empty: everybody


@dataclass(slots=True)
class World:
    """The start of an ordering. `load` is what stands on each counter before the first step.

    Servers on `dead` hosts run nowhere any more: they are no company to the members of a group.
    """

    cloud: Cloud
    dead: frozenset[HostName]
    counters: list[Counter] = field(default_factory=list)
    load: list[int] = field(default_factory=list)
    closed: dict[HostName, str] = field(default_factory=dict)
    fixed: dict[ServerId, str] = field(default_factory=dict)
    groups: list[GroupRule] = field(default_factory=list)
    groups_of: dict[ServerId, list[int]] = field(default_factory=dict)
    excess_at_start: list[int] = field(default_factory=list)
    host_index: dict[HostName, int] = field(default_factory=dict)
    capacities: list[tuple[str, int]] = field(default_factory=list)  # resource, first counter
    at_most_of: dict[ServerId, list[AtMost]] = field(default_factory=dict)
    _units: dict[tuple[int, str], int] = field(default_factory=dict)  # counters of an AtMost
    allowed_of: dict[ServerId, list[Allowed]] = field(default_factory=dict)
    isolated: list[Isolation] = field(default_factory=list)
    budgets: list[AtOnce] = field(default_factory=list)
    cells: Cells | None = None
    cell_counters: dict[HostName, list[tuple[int, str, int]]] = field(default_factory=dict)
    """Of each host with NUMA cells: number of the cell, resource, counter."""
    own: dict[str, Mapping[ServerId, int]] = field(default_factory=dict)  # of resources that rules made up
    _weights: dict[tuple[ServerId, HostName], Weights] = field(default_factory=dict)

    def start(self, server: ServerId) -> Place:
        return self.cloud.server_by_id[server].host

    def memory(self, server: ServerId) -> int:
        """MiB to carry in a move, at least 1 so that no move is for nothing."""
        return max(1, self.cloud.server_by_id[server].demand.get("memory_mib", 0))

    def amount(self, server: ServerId, resource: str) -> int:
        """What the server takes of a resource of the cloud, or of one that a rule has made up."""
        own = self.own.get(resource)
        return self.cloud.server_by_id[server].demand.get(resource, 0) if own is None else own.get(server, 0)

    def unit(self, host: HostName, per: Unit) -> str:
        return unit_of(self.cloud.host_by_name[host], per)

    def group_numbers(self, server: ServerId) -> Iterable[int]:
        """The groups that a move of this server concerns; isolations come after them, and concern everybody."""
        first = len(self.groups)
        return (*self.groups_of.get(server, ()), *range(first, first + len(self.isolated)))

    def judges(self, server: ServerId) -> bool:
        """Whether a rule has to look at other servers when this one moves."""
        return bool(self.isolated) or server in self.groups_of

    def weights(self, server: ServerId, host: HostName) -> Weights:
        """What the server weighs on which counters while it holds resources on this host."""
        key = (server, host)
        known = self._weights.get(key)
        if known is None:
            index = self.host_index.get(host)
            if index is None:
                return ()
            claims = ((base, self.amount(server, name)) for name, base in self.capacities)
            found = [(base + index, amount) for base, amount in claims if amount > 0]
            at = self.cloud.host_by_name[host]
            found += self.in_cells(server, host)
            found += [(self._in_unit(one, unit_of(at, one.per)), 1) for one in self.at_most_of.get(server, ())]
            known = self._weights[key] = tuple(found)
        return known

    def in_cells(self, server: ServerId, host: HostName) -> Iterable[tuple[int, int]]:
        """What the server takes of the NUMA cells of a host: where it is at the start it is in cells that are known."""
        if self.cells is None or server not in self.cells.largest:
            return
        home = self.cells.at_home.get(server) if host == self.start(server) else None
        for place, resource, counter in self.cell_counters.get(host, ()):
            amount = (self.cells.largest[server] if home is None else home[place]).get(resource, 0)
            if amount > 0:
                yield counter, amount

    def has_cells(self, server: ServerId) -> bool:
        return self.cells is not None and server in self.cells.largest

    def _in_unit(self, at_most: AtMost, unit: str) -> int:
        """The counter of this unit. Groups and units are many and most are never touched: made when first asked for."""
        key = (id(at_most), unit)
        counter = self._units.get(key)
        if counter is None:
            counter = self._units[key] = len(self.counters)
            self.counters.append(Counter(at_most.rule, None, unit, at_most.count, at_most.servers))
            homes = (host for server in at_most.servers for host in _home(self, server))
            self.load.append(sum(unit_of(self.cloud.host_by_name[host], at_most.per) == unit for host in homes))
        return counter

    def arrivals(self, server: ServerId, source: Place, target: Place) -> Weights:
        """What a move adds when it starts; a server counts once in a unit that holds both its ends."""
        if target is None:
            return ()
        if source is None:
            return self.weights(server, target)
        held = {counter for counter, _ in self.weights(server, source)}
        return tuple(pair for pair in self.weights(server, target) if pair[0] not in held)

    def departures(self, server: ServerId, source: Place, target: Place) -> Weights:
        """What a move gives back when it ends."""
        return self.arrivals(server, target, source)

    def forbidden(self, server: ServerId, host: HostName) -> str | None:
        """The rule that forbids this server to arrive on this host, if one does."""
        if host not in self.host_index:
            return f"unknown host {host}"
        if host in self.closed:
            return f"{host} is {self.closed[host]}"
        if self.has_cells(server) and host == self.start(server):
            return "its NUMA cells there are free for others once it has left"
        return next((one.rule for one in self.allowed_of.get(server, ()) if host not in one.hosts), None)

    def group_excess(self, index: int, ends: Mapping[ServerId, tuple[HostName, ...]]) -> int:
        """By how much the group breaks its rule with its members' resources on these hosts (two during a move)."""
        group = self.groups[index]
        alive = {
            member: tuple(host for host in ends.get(member, ()) if host not in self.dead) for member in group.servers
        }
        return group.excess(alive, self.unit)


def compile_world(cloud: Cloud, primitives: Iterable[Primitive], *, dead: Iterable[HostName] = ()) -> World:
    """Counters and groups of the hard primitives; soft ones are no business of the ordering."""
    world = World(cloud, frozenset(dead))
    world.host_index = {host.name: index for index, host in enumerate(cloud.hosts)}
    isolated: list[Isolated] = []
    for primitive in primitives:
        match primitive:
            case Capacity(soft=None):
                world.capacities.append((primitive.resource, len(world.counters)))
                if primitive.demand is not None:
                    world.own[primitive.resource] = primitive.demand
                for host in cloud.hosts:
                    limit = primitive.capacity.get(host.name, 0)
                    world.counters.append(Counter(primitive.rule, primitive.resource, host.name, limit))
            case AtMost(soft=None):
                for server in primitive.servers:
                    world.at_most_of.setdefault(server, []).append(primitive)
            case Allowed(soft=None):
                for server in primitive.servers:
                    world.allowed_of.setdefault(server, []).append(primitive)
            case Closed():
                for name, why in primitive.why.items():
                    world.closed.setdefault(name, why)
            case Fixed():
                for server, why in primitive.why.items():
                    world.fixed.setdefault(server, why)
            case Spread(soft=None):
                _add_group(world, SpreadRule(primitive.rule, primitive.servers, primitive.over, primitive.at_least))
            case Together(soft=None):
                _add_group(world, TogetherRule(primitive.rule, primitive.servers, primitive.host_sets))
            case AtMostUnits(soft=None):
                _add_group(world, LicenceRule(primitive.rule, primitive.servers, primitive.per, primitive.count))
            case Near(soft=None):
                near = frozenset(primitive.servers).difference(primitive.to)
                _add_group(world, NearRule(primitive.rule, near, primitive.to, primitive.per))
            case Isolated(soft=None):
                isolated.append(primitive)
            case Cells():
                _add_cells(world, primitive)
            case AtOnce(soft=None):
                world.budgets.append(primitive)
            case _:
                pass  # soft: priced by the solvers
    world.isolated = list(isolations(cloud, isolated))
    _count(world)
    return world


def _add_cells(world: World, cells: Cells) -> None:
    world.cells = cells
    resources = sorted({name for claims in cells.largest.values() for name in claims})
    for host, there in cells.cells.items():
        for place, cell in enumerate(there):
            for resource in resources:
                world.cell_counters.setdefault(host, []).append((place, resource, len(world.counters)))
                limit = cell.get(resource, 0)
                world.counters.append(Counter(cells.rule, f"{resource} of cell {place}", host, limit))


def _add_group(world: World, group: GroupRule) -> None:
    for server in group.servers:
        world.groups_of.setdefault(server, []).append(len(world.groups))
    world.groups.append(group)


def _count(world: World) -> None:
    cloud = world.cloud
    world.load = [0] * len(world.counters)
    for one in cloud.servers:
        index = world.host_index.get(one.host) if one.host is not None else None
        if index is not None:
            for resource, base in world.capacities:
                world.load[base + index] += world.amount(one.id, resource)
    for server in world.cells.largest if world.cells is not None else ():
        for host in _home(world, server):
            for counter, amount in world.in_cells(server, host):
                world.load[counter] += amount
    for index, group in enumerate(world.groups):
        world.excess_at_start.append(
            world.group_excess(index, {member: _home(world, member) for member in group.servers})
        )


def _home(world: World, server: ServerId) -> tuple[HostName, ...]:
    known = world.cloud.server_by_id.get(server)
    return (known.host,) if known is not None and known.host in world.host_index else ()

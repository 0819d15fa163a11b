"""What the ordering knows of a cloud: integer counters with limits, and groups of servers; pure.

`Capacity` and hard `AtMost` become counters: a server weighs on some of them wherever it holds resources.
Hard `Spread` and `Together` become groups, judged as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from restow.cloud.model import Cloud, Host, Unit
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, AtMost, Capacity, Closed, Fixed, Primitive, Spread, Together

Place = HostName | None


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that runs out: `subject` is the host, rack or zone, `of` what is counted there."""

    rule: str
    of: str
    subject: str
    limit: int

    @property
    def is_capacity(self) -> bool:
        return self.rule.startswith("capacity") or self.of != self.rule


@dataclass(frozen=True, slots=True)
class GroupRule:
    """A hard Spread or Together. `sets` is None for Spread, `over` None for Together."""

    rule: str
    servers: tuple[ServerId, ...]
    over: Unit | None = None
    at_least: int = 0
    sets: tuple[frozenset[HostName], ...] | None = None


def unit_of(host: Host, per: Unit) -> str | None:
    """The name of the host, rack or zone that this host is (in); None if the cloud does not say."""
    match per:
        case "host":
            return host.name
        case "rack":
            return host.rack
        case "zone":
            return host.zone


@dataclass(slots=True)
class World:
    """The start of an ordering: counters with their loads, and what may stand where.

    `dead` hosts run nothing any more: their servers are rebuilt elsewhere and are no company to anyone.
    """

    cloud: Cloud
    dead: frozenset[HostName]
    counters: list[Counter] = field(default_factory=list)
    load: list[int] = field(default_factory=list)
    closed: dict[HostName, str] = field(default_factory=dict)
    fixed: dict[ServerId, str] = field(default_factory=dict)
    groups: list[GroupRule] = field(default_factory=list)
    groups_of: dict[ServerId, list[int]] = field(default_factory=dict)
    _capacities: list[tuple[Capacity, int]] = field(default_factory=list)
    _host_index: dict[HostName, int] = field(default_factory=dict)
    _at_most_of: dict[ServerId, list[tuple[Unit, dict[str, int]]]] = field(default_factory=dict)
    _allowed_of: dict[ServerId, list[Allowed]] = field(default_factory=dict)
    _weights: dict[tuple[ServerId, HostName], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    group_worst: list[int] = field(default_factory=list)

    def weights(self, server: ServerId, host: HostName) -> tuple[tuple[int, int], ...]:
        """What the server weighs on which counters while it holds resources on this host."""
        key = (server, host)
        known = self._weights.get(key)
        if known is None:
            demand = self.cloud.server_by_id[server].demand
            index = self._host_index[host]
            found = [
                (base + index, demand[capacity.resource])
                for capacity, base in self._capacities
                if demand.get(capacity.resource, 0) > 0
            ]
            for per, ids in self._at_most_of.get(server, ()):
                unit = unit_of(self.cloud.host_by_name[host], per)
                if unit is not None:
                    found.append((ids[unit], 1))
            known = self._weights[key] = tuple(found)
        return known

    def arrivals(self, server: ServerId, source: Place, target: Place) -> tuple[tuple[int, int], ...]:
        """What a move adds when it starts; a server counts once in a unit that holds both its ends."""
        if target is None:
            return ()
        if source is None:
            return self.weights(server, target)
        held = {counter for counter, _ in self.weights(server, source)}
        return tuple(pair for pair in self.weights(server, target) if pair[0] not in held)

    def departures(self, server: ServerId, source: Place, target: Place) -> tuple[tuple[int, int], ...]:
        """What a move gives back when it ends."""
        return self.arrivals(server, target, source)

    def allowed(self, server: ServerId, host: HostName) -> str | None:
        """None if the server may arrive on this host, else the rule that forbids it."""
        if host not in self._host_index:
            return f"unknown host {host}"
        if host in self.closed:
            return self.closed[host]
        for primitive in self._allowed_of.get(server, ()):
            if host not in primitive.hosts:
                return primitive.rule
        return None

    def group_excess(self, index: int, ends: Mapping[ServerId, tuple[HostName, ...]]) -> int:
        """By how much the group breaks its rule when its members hold resources on these hosts."""
        group = self.groups[index]
        if group.sets is not None:
            held = [
                host for member in group.servers for host in ends.get(member, ()) if host not in self.dead
            ]
            if not held:
                return 0
            return min((sum(host not in one for host in held) for one in group.sets), default=len(held))
        assert group.over is not None
        over = group.over
        standing: set[str] = set()
        loose = 0
        for member in group.servers:
            units = {unit_of(self.cloud.host_by_name[host], over) for host in ends.get(member, ())} - {None}
            if len(units) == 1:
                standing |= {str(unit) for unit in units}
            elif units:
                loose += 1
        del loose  # whichever end is counted, a member under way may add nothing
        return max(0, group.at_least - len(standing))


def compile_world(cloud: Cloud, primitives: Iterable[Primitive], *, dead: Iterable[HostName] = ()) -> World:
    """Counters and groups of the hard primitives; soft ones are no business of the ordering."""
    world = World(cloud, frozenset(dead))
    world._host_index = {host.name: index for index, host in enumerate(cloud.hosts)}
    for primitive in primitives:
        match primitive:
            case Capacity():
                base = len(world.counters)
                world._capacities.append((primitive, base))
                for host in cloud.hosts:
                    limit = primitive.capacity.get(host.name, 0)
                    world.counters.append(Counter(primitive.rule, primitive.resource, host.name, limit))
            case AtMost(soft=None):
                ids = {}
                for unit in dict.fromkeys(unit_of(host, primitive.per) for host in cloud.hosts):
                    if unit is not None:
                        ids[unit] = len(world.counters)
                        world.counters.append(Counter(primitive.rule, primitive.rule, unit, primitive.count))
                for server in primitive.servers:
                    world._at_most_of.setdefault(server, []).append((primitive.per, ids))
            case Allowed(soft=None):
                for server in primitive.servers:
                    world._allowed_of.setdefault(server, []).append(primitive)
            case Closed():
                for name, why in primitive.why.items():
                    world.closed.setdefault(name, why)
            case Fixed():
                for server, why in primitive.why.items():
                    world.fixed.setdefault(server, why)
            case Spread(soft=None):
                _add_group(world, GroupRule(primitive.rule, primitive.servers, primitive.over, primitive.at_least))
            case Together(soft=None):
                _add_group(world, GroupRule(primitive.rule, primitive.servers, sets=primitive.host_sets))
            case AtMost() | Allowed() | Spread() | Together():
                pass  # soft: priced by the solvers
    world.load = [0] * len(world.counters)
    for one in cloud.servers:
        if one.host is not None and one.host in world._host_index:
            index = world._host_index[one.host]
            for capacity, base in world._capacities:
                world.load[base + index] += one.demand.get(capacity.resource, 0)
    for server, memberships in world._at_most_of.items():
        host_name = cloud.server_by_id[server].host if server in cloud.server_by_id else None
        if host_name is not None and host_name in cloud.host_by_name:
            for per, ids in memberships:
                unit = unit_of(cloud.host_by_name[host_name], per)
                if unit is not None:
                    world.load[ids[unit]] += 1
    for index, group in enumerate(world.groups):
        ends = {
            member: (cloud.server_by_id[member].host,)
            for member in group.servers
            if member in cloud.server_by_id and cloud.server_by_id[member].host in cloud.host_by_name
        }
        world.group_worst.append(world.group_excess(index, ends))  # type: ignore[arg-type]
    return world


def _add_group(world: World, group: GroupRule) -> None:
    for server in group.servers:
        world.groups_of.setdefault(server, []).append(len(world.groups))
    world.groups.append(group)

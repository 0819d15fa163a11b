"""A placement under way while a sequence is being found: what fits now, and what a move changes; pure."""

from dataclasses import dataclass, field

from restow.ids import HostName, ServerId
from restow_planner.ordering.world import Place, World


@dataclass(frozen=True, slots=True)
class Hop:
    """One move of one server; `source` None: it starts, `target` None: it is shelved."""

    server: ServerId
    source: Place
    target: Place


@dataclass(slots=True)
class State:
    """Where the moved servers are after the hops so far; every other server is where it started."""

    world: World
    load: list[int]
    at: dict[ServerId, Place] = field(default_factory=dict)
    hops: list[Hop] = field(default_factory=list)

    @classmethod
    def of(cls, world: World) -> "State":
        return cls(world, list(world.load))

    def copy(self) -> "State":
        return State(self.world, list(self.load), dict(self.at), list(self.hops))

    def place(self, server: ServerId) -> Place:
        return self.at[server] if server in self.at else self.world.start(server)

    def lacking(self, server: ServerId, target: Place) -> tuple[tuple[int, int], ...]:
        """(counter, amount lacking) of all counters that have no room for this move now."""
        world = self.world
        return tuple(
            (counter, lack)
            for counter, amount in world.arrivals(server, self.place(server), target)
            if (lack := self.load[counter] + amount - world.counters[counter].limit) > 0
        )

    def broken_group(self, server: ServerId, target: Place) -> int | None:
        """The first group that this move would break now, at its start or at its end; None if none."""
        for index in self.world.groups_of.get(server, ()):
            members = self.world.groups[index].servers
            ends: dict[ServerId, tuple[HostName, ...]] = {
                member: (at,) for member in members if (at := self._somewhere(member)) is not None
            }
            source = ends.get(server, ())
            after = () if target is None else (target,)
            allowed = self.world.excess_at_start[index]
            for held in (tuple(dict.fromkeys(source + after)), after):
                ends[server] = held
                if self.world.group_excess(index, ends) > allowed:
                    return index
        return None

    def _somewhere(self, server: ServerId) -> Place:
        if server in self.at:
            return self.at[server]
        known = self.world.cloud.server_by_id.get(server)
        return known.host if known is not None and known.host in self.world.host_index else None

    def fits(self, server: ServerId, target: Place) -> bool:
        load, counters = self.load, self.world.counters
        for counter, amount in self.world.arrivals(server, self.place(server), target):
            if load[counter] + amount > counters[counter].limit:
                return False
        return server not in self.world.groups_of or self.broken_group(server, target) is None

    def go(self, server: ServerId, target: Place) -> None:
        source = self.place(server)
        for counter, amount in self.world.arrivals(server, source, target):
            self.load[counter] += amount
        for counter, amount in self.world.departures(server, source, target):
            self.load[counter] -= amount
        self.at[server] = target
        self.hops.append(Hop(server, source, target))


def cost_of(world: World, hops: list[Hop]) -> int:
    """MiB of memory that these hops carry; starting and shelving carry none."""
    return sum(world.memory(hop.server) for hop in hops if hop.source is not None and hop.target is not None)


def holds(world: World, hops: list[Hop]) -> bool:
    """Whether this list can be walked one by one from the start with every rule kept."""
    state = State.of(world)
    for hop in hops:
        if state.place(hop.server) != hop.source or not state.fits(hop.server, hop.target):
            return False
        state.go(hop.server, hop.target)
    return True


def host_of(place: Place) -> HostName:
    assert place is not None
    return place

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
    delta: dict[int, int] = field(default_factory=dict)  # of counters, against the start
    at: dict[ServerId, Place] = field(default_factory=dict)
    hops: list[Hop] = field(default_factory=list)
    guests: dict[tuple[int, HostName, bool], int] = field(default_factory=dict)
    """Members and strangers of each isolation on each host, against the start."""

    @classmethod
    def of(cls, world: World) -> "State":
        return cls(world)

    def copy(self) -> "State":
        return State(self.world, dict(self.delta), dict(self.at), list(self.hops), dict(self.guests))

    def place(self, server: ServerId) -> Place:
        return self.at[server] if server in self.at else self.world.start(server)

    def load(self, counter: int) -> int:
        return self.world.load[counter] + self.delta.get(counter, 0)

    def lacking(self, server: ServerId, target: Place) -> tuple[tuple[int, int], ...]:
        """(counter, amount lacking) of all counters that have no room for this move now."""
        world = self.world
        return tuple(
            (counter, lack)
            for counter, amount in world.arrivals(server, self.place(server), target)
            if (lack := self.load(counter) + amount - world.counters[counter].limit) > 0
        )

    def broken_group(self, server: ServerId, target: Place) -> int | None:
        """The first group that this move would break now, at its start or at its end; None if none.

        Isolations have the numbers after those of the groups.
        """
        for number in range(len(self.world.isolated)):
            if target is not None and self.strangers(number, server, target):
                return len(self.world.groups) + number
        for index in self.world.groups_of.get(server, ()):
            members = self.world.groups[index].servers
            ends: dict[ServerId, tuple[HostName, ...]] = {
                member: (at,) for member in members if (at := self.somewhere(member)) is not None
            }
            source = ends.get(server, ())
            after = () if target is None else (target,)
            allowed = self.world.excess_at_start[index]
            for held in (tuple(dict.fromkeys(source + after)), after):
                ends[server] = held
                if self.world.group_excess(index, ends) > allowed:
                    return index
        return None

    def somewhere(self, server: ServerId) -> Place:
        """The host of a server that a rule names; None too where the cloud knows no such server or host."""
        if server in self.at:
            return self.at[server]
        known = self.world.cloud.server_by_id.get(server)
        return known.host if known is not None and known.host in self.world.host_index else None

    def strangers(self, number: int, server: ServerId, host: HostName) -> int:
        """How many stand on this host now with whom this server may not be there."""
        isolation = self.world.isolated[number]
        member = server in isolation.members
        return isolation.strangers(host, member=member) + self.guests.get((number, host, not member), 0)

    def fits(self, server: ServerId, target: Place) -> bool:
        load, delta, counters = self.world.load, self.delta, self.world.counters
        arriving = self.world.arrivals(server, self.place(server), target)  # may add counters
        for counter, amount in arriving:
            if load[counter] + delta.get(counter, 0) + amount > counters[counter].limit:
                return False
        return not self.world.judges(server) or self.broken_group(server, target) is None

    def go(self, server: ServerId, target: Place) -> None:
        source = self.place(server)
        for counter, amount in self.world.arrivals(server, source, target):
            self.delta[counter] = self.delta.get(counter, 0) + amount
        for counter, amount in self.world.departures(server, source, target):
            self.delta[counter] = self.delta.get(counter, 0) - amount
        for number, isolation in enumerate(self.world.isolated):
            for host, change in ((source, -1), (target, 1)):
                if host is not None:
                    key = (number, host, server in isolation.members)
                    self.guests[key] = self.guests.get(key, 0) + change
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

"""From a list of hops to a graph in which any interleaving keeps every rule; pure.

The edge rule. Given a list that is valid one by one, arrival j on a counter waits for the shortest prefix of
the departures from it, in list order, such that load at the start + all arrivals up to j - those departures
is within the limit. Proof: at any moment let k be the latest-listed arrival that has started. All of k's
departures have ended, and the arrivals that have started are among those up to k, so the load is at most the
one bounded in k's rule. Members of a group that counters do not cover move one at a time, in list order: then
every state of the group is one that the list itself passes through.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from restow.cloud.model import Unit
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow_planner.ordering.groups import NearRule, Scene
from restow_planner.ordering.state import Hop
from restow_planner.ordering.world import Place, World

Waits = dict[int, str]
"""What a step waits for: number of the earlier step -> because."""
HostStep = tuple[Action, HostName]


def edges(world: World, first: Sequence[HostStep], hops: Sequence[Hop], last: Sequence[HostStep]) -> tuple[Waits, ...]:
    """What each step waits for; steps are numbered `first`, then `hops`, then `last`."""
    waits: list[Waits] = [{} for _ in range(len(first) + len(hops) + len(last))]
    _host_steps_first(first, hops, waits)
    offset = len(first)
    _same_server(hops, waits, offset)
    _counters(world, hops, waits, offset)
    for index in sorted({group for hop in hops for group in world.groups_of.get(hop.server, ())}):
        _group(world, index, hops, waits, offset)
    _isolation(world, hops, waits, offset)
    _budgets(world, hops, waits, offset)
    _host_steps_last(first, hops, last, waits)
    return _reduced(waits)


def _host_steps_first(first: Sequence[HostStep], hops: Sequence[Hop], waits: list[Waits]) -> None:
    of_host: dict[HostName, list[int]] = {}
    for number, (action, host) in enumerate(first):
        for before in of_host.setdefault(host, []):
            waits[number][before] = f"{host} takes nothing in before it is dealt with"
        if action in (Action.DISABLE_HOST, Action.FENCE):
            of_host[host].append(number)
    for number, hop in enumerate(hops, start=len(first)):
        for before in of_host.get(hop.source, ()) if hop.source is not None else ():
            waits[number][before] = (
                f"{hop.source} must be proven dead and fenced before its servers run elsewhere"
                if first[before][0] is Action.FENCE
                else f"{hop.source} must take nothing in before its servers leave it"
            )


def _same_server(hops: Sequence[Hop], waits: list[Waits], offset: int) -> None:
    previous: dict[ServerId, int] = {}
    for number, hop in enumerate(hops, start=offset):
        if hop.server in previous:
            waits[number][previous[hop.server]] = f"{hop.server} must have come to {hop.source} first"
        previous[hop.server] = number


def _counters(world: World, hops: Sequence[Hop], waits: list[Waits], offset: int) -> None:
    arrived: dict[int, int] = {}
    left: dict[int, list[tuple[int, int]]] = {}  # step, amount given back
    for number, hop in enumerate(hops, start=offset):
        for counter, amount in world.arrivals(hop.server, hop.source, hop.target):
            arrived[counter] = arrived.get(counter, 0) + amount
            what = world.counters[counter]
            lack = world.load[counter] + arrived[counter] - what.limit
            for before, freed in left.get(counter, ()):
                if lack <= 0:
                    break
                waits[number].setdefault(
                    before, _because(what.rule, what.of, what.subject, lack, hops[before - offset])
                )
                lack -= freed
            assert lack <= 0, f"the list overfills {what.subject} at step {number}"
        for counter, amount in world.departures(hop.server, hop.source, hop.target):
            left.setdefault(counter, []).append((number, amount))


def _because(rule: str, of: str | None, subject: str, lack: int, freeing: Hop) -> str:
    if of is not None:
        return f"{subject} lacks {lack} {of} until {freeing.server} has left it"
    return f"{rule}: {subject} holds as many of these servers as it may until {freeing.server} has left it"


def _group(world: World, index: int, hops: Sequence[Hop], waits: list[Waits], offset: int) -> None:
    group = world.groups[index]
    members = {one for one in group.servers if one in world.cloud.server_by_id}
    own = [(number, hop) for number, hop in enumerate(hops, start=offset) if hop.server in members]
    moved = {hop.server for _, hop in own}
    settled = {member: _living(world, world.start(member)) for member in members - moved}
    ends = [place for _, hop in own for place in (hop.source, hop.target)]
    held = {host for place in ends for host in _living(world, place)}.union(*settled.values())
    if group.never_breaks(Scene(settled, frozenset(held), world.unit)):
        return
    own = [(number, hop) for number, hop in own if _crosses(world, hop, group.per)]
    kept = world.excess_at_start[index] == 0
    for before, number in _near_pairs(group, own) if isinstance(group, NearRule) and kept else _one_by_one(own):
        waits[number].setdefault(before, f"{group.rule}: its servers move one at a time")


def _living(world: World, place: Place) -> tuple[HostName, ...]:
    return () if place is None or place not in world.host_index or place in world.dead else (place,)


def _crosses(world: World, hop: Hop, per: Unit) -> bool:
    if hop.source is None or hop.source in world.dead or hop.target is None:
        return True
    return world.unit(hop.source, per) != world.unit(hop.target, per)


def _one_by_one(own: Sequence[tuple[int, Hop]]) -> Iterator[tuple[int, int]]:
    return ((before, number) for (before, _), (number, _) in pairwise(own))


def _near_pairs(group: NearRule, own: Sequence[tuple[int, Hop]]) -> Iterator[tuple[int, int]]:
    """Who is company moves alone; between two such moves the others come and go as they like.

    As long as none of them is without company, each is judged by itself, so that their order does not matter.
    """
    last: int | None = None
    since: list[int] = []
    for number, hop in own:
        if hop.server in group.near:
            if last is not None:
                yield last, number
            since.append(number)
        else:
            yield from ((before, number) for before in (since or ([] if last is None else [last])))
            last, since = number, []


def _isolation(world: World, hops: Sequence[Hop], waits: list[Waits], offset: int) -> None:
    """Who comes to a host waits for all who left it before and may not meet him there.

    Then no two of them ever meet: whoever is there with him has come after he left, or has left before he came.
    """
    for isolation in world.isolated:
        left: dict[tuple[HostName, bool], list[int]] = {}
        for number, hop in enumerate(hops, start=offset):
            member = hop.server in isolation.members
            if hop.target is not None:
                for before in left.get((hop.target, not member), ()):
                    why = f"{isolation.rule}: {hops[before - offset].server} must have left {hop.target} first"
                    waits[number].setdefault(before, why)
            if hop.source is not None:
                left.setdefault((hop.source, member), []).append(number)


def _budgets(world: World, hops: Sequence[Hop], waits: list[Waits], offset: int) -> None:
    """As many lanes as may be on their way at once; in each lane one after the other."""
    for budget in world.budgets:
        members = frozenset(budget.servers)
        lanes: deque[int] = deque(maxlen=budget.count)
        for number, hop in enumerate(hops, start=offset):
            if hop.server in members and hop.source not in (None, *world.dead) and hop.target is not None:
                if len(lanes) == budget.count:
                    why = f"{budget.rule}: at most {budget.count} of these servers may be on their way at once"
                    waits[number].setdefault(lanes[0], why)
                lanes.append(number)


def _host_steps_last(
    first: Sequence[HostStep], hops: Sequence[Hop], last: Sequence[HostStep], waits: list[Waits]
) -> None:
    offset, base = len(first), len(first) + len(hops)
    earlier: dict[HostName, list[int]] = {}
    for number, (_, host) in enumerate(first):  # also where nothing has to leave it
        earlier.setdefault(host, []).append(number)
    for number, (_, host) in enumerate(last, start=base):
        for before, hop in enumerate(hops, start=offset):
            if hop.source == host:
                waits[number][before] = f"{hop.server} must have left {host} first"
        for before in earlier.setdefault(host, []):
            waits[number][before] = f"{host} must be dealt with in this order"
        earlier[host].append(number)


def _reduced(waits: Sequence[Mapping[int, str]]) -> tuple[Waits, ...]:
    """Without the edges that other edges imply; ancestors are sets of bits."""
    ancestors: list[int] = []
    kept: list[Waits] = []
    for mine in waits:
        seen, needed = 0, {}
        for before in sorted(mine, reverse=True):
            if not seen >> before & 1:
                needed[before] = mine[before]
                seen |= ancestors[before] | 1 << before
        ancestors.append(seen)
        kept.append(dict(sorted(needed.items())))
    return tuple(kept)

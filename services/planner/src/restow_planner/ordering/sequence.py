"""From start and targets to a list of hops that can be walked one by one, or a proof that there is none; pure.

Greedy first; exact search where the instance is small or greedy is stuck; then clearing, and dice-driven tries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from restow.ids import HostName, ServerId
from restow_planner.deadline import Deadline
from restow_planner.ordering.clearing import Clearing
from restow_planner.ordering.exact import INFINITE, Exhausted, Found, search
from restow_planner.ordering.greedy import Greedy
from restow_planner.ordering.grid import HOSTS_MAX, Grid
from restow_planner.ordering.state import Hop, State, cost_of, holds
from restow_planner.ordering.world import World

NODES_PER_SECOND = 600_000  # of exact search, times servers, on one plain core: the same work on every machine
NODE_SERVERS = 20  # what a node costs besides, in servers
SEARCHED_MAX = 100_000  # servers times hosts; more are searched in part
WIDE_SERVERS = 60  # of a part of a large instance
WIDE_HOSTS = 30
TRIES_MAX = 40
DICE_FIRST_SERVERS = 200  # from so many on, dice find an answer sooner than the searches do
SEARCHES = (
    (1.0, 0.1, 2_000),
    (1.5, 0.1, 2_000),
    (4.0, 0.1, 4_000),
    (1.0, 0.4, 10_000),
)
"""Weight of what is left (heavier: faster, dearer), share of the nodes, and so many at most."""
WEIGHT_WITH_ANSWER = 2.0  # heavier searches are for finding any answer
CRAMMED = "however those that can move are packed, no other host has room for it"
WALKED_HOPS_MAX = 400_000  # hops walked again in search of needless parkings


@dataclass(frozen=True, slots=True)
class Sequenced:
    """`optimal`: no sequence moves less memory."""

    hops: tuple[Hop, ...]
    optimal: bool


@dataclass(frozen=True, slots=True)
class Impossible:
    """Proven: no order reaches the targets with every rule kept. `stuck`: who cannot be served, and why."""

    stuck: tuple[ServerId, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Undecided:
    """Neither found nor proven within the limit. `stuck`: who was not served in the best try."""

    stuck: tuple[ServerId, ...]
    why: str


def sequence(
    world: World,
    targets: Mapping[ServerId, HostName | None],
    *,
    rank: Mapping[ServerId, int],
    untouchable: frozenset[ServerId],
    seconds: float,
    deadline: Deadline,
    seed: int,
) -> Sequenced | Impossible | Undecided:
    """Shelves first, moves in between, starts last. `rank`: smaller is served first where there is a choice.

    `seconds` say how much work is done, the same on every machine; the deadline cuts.
    """
    wrong = _never(world, targets)
    if wrong is not None:
        return wrong
    state = State.of(world)
    for server, target in targets.items():
        if target is None and state.place(server) is not None:
            if state.broken_group(server, None) is not None:
                return Impossible((server,), "its leaving would break a rule of its group")
            state.go(server, None)
    moves = {s: t for s, t in targets.items() if t is not None and world.start(s) is not None and world.start(s) != t}
    starts = {s: t for s, t in targets.items() if t is not None and world.start(s) is None}
    answer = _moves(state, moves, rank=rank, untouchable=untouchable, seconds=seconds, deadline=deadline, seed=seed)
    if not isinstance(answer, Sequenced):
        return answer
    for hop in answer.hops[len(state.hops) :]:
        state.go(hop.server, hop.target)
    for server in sorted(starts, key=lambda one: rank.get(one, len(rank))):
        if not state.fits(server, starts[server]):
            return Impossible(
                (server,), f"{starts[server]} has no room for it even when every other server is on its target"
            )
        state.go(server, starts[server])
    return Sequenced(tuple(state.hops), answer.optimal)


def _never(world: World, targets: Mapping[ServerId, HostName | None]) -> Impossible | None:
    """Targets that no order can reach because a rule forbids the end itself."""
    for server, target in targets.items():
        if target == world.start(server):
            continue
        if server in world.fixed:
            return Impossible((server,), f"{server} must stay: {world.fixed[server]}")
        if target is not None and (rule := world.forbidden(server, target)) is not None:
            return Impossible((server,), f"{server} may not arrive on {target}: {rule}")
    return None


def _moves(
    state: State,
    moves: Mapping[ServerId, HostName],
    *,
    rank: Mapping[ServerId, int],
    untouchable: frozenset[ServerId],
    seconds: float,
    deadline: Deadline,
    seed: int,
) -> Sequenced | Impossible | Undecided:
    world = state.world
    least = sum(world.memory(server) for server in moves)
    walk = Greedy(state.copy(), moves, rank, untouchable)
    best = tuple(walk.state.hops) if walk.run() else None
    best = _shorter(world, best)
    if best is not None and cost_of(world, list(best)) <= least:
        return Sequenced(best, optimal=True)
    stuck = tuple(walk.pending)

    everyone = [
        one.id
        for one in world.cloud.servers
        if state.place(one.id) is not None and one.id not in world.fixed and one.id not in untouchable
    ]
    hosts = [host.name for host in world.cloud.hosts]
    whole = len(hosts) <= HOSTS_MAX and len(hosts) * len(everyone) <= SEARCHED_MAX
    servers, near = (everyone, hosts) if whole else _around(state, moves, everyone)
    grid = Grid(state, moves, servers, near)
    if whole and (fast := grid.immovable()):
        never = tuple(one for one in (grid.servers[index] for index in fast) if one in moves)
        if never:
            return Impossible(tuple(sorted(never)), CRAMMED)
        grid = Grid(state, moves, [one for index, one in enumerate(grid.servers) if index not in fast], near)
    nodes = int(max(0.05, seconds) * NODES_PER_SECOND / (len(grid.servers) + NODE_SERVERS))

    rolled = best is None and len(grid.servers) > DICE_FIRST_SERVERS
    if rolled:
        best = _dice(state, moves, rank=rank, untouchable=untouchable, seed=seed, best=None, deadline=deadline)
    # The cheapest, if it shows itself soon; then any order at all; then again the cheapest, as long as it is worth it.
    for weight, share, nodes_most in SEARCHES:
        if best is not None and weight > WEIGHT_WITH_ANSWER:
            break
        answer = search(
            grid, nodes_max=min(nodes_most, int(nodes * share)), weight=weight, deadline=deadline,
            cost_max=INFINITE if best is None else cost_of(world, list(best)),
        )  # fmt: skip
        match answer:
            case Found():
                found = (*state.hops, *grid.hops(answer.moves))
                if answer.optimal and whole:
                    return Sequenced(found, optimal=True)
                best = _shorter(world, found)
            case Exhausted() if best is not None and whole:
                return Sequenced(best, optimal=True)
            case Exhausted() if whole:
                stuck = tuple(one for one in answer.stuck if one in moves) or stuck
                return Impossible(stuck, "no order of moves, with any parking, makes room for it")
            case _:
                pass
    if best is None:
        best = _shorter(world, Clearing(state, moves, grid, rank, untouchable, deadline, seed).run())
    if not rolled:
        best = _dice(state, moves, rank=rank, untouchable=untouchable, seed=seed, best=best, deadline=deadline)
    if best is None:
        return Undecided(stuck, f"no order was found in {seconds:g} s, and none was proven impossible")
    if cost_of(world, list(best)) <= least:
        return Sequenced(best, optimal=True)
    return Sequenced(best, optimal=False)


def _dice(
    state: State,
    moves: Mapping[ServerId, HostName],
    *,
    rank: Mapping[ServerId, int],
    untouchable: frozenset[ServerId],
    seed: int,
    best: tuple[Hop, ...] | None,
    deadline: Deadline,
) -> tuple[Hop, ...] | None:
    """Greedy again and again with other ties and other parkings; fewer tries for larger instances."""
    world = state.world
    for trial in range(max(3, min(TRIES_MAX, 4000 // max(1, len(moves))))):
        if deadline.over():
            break
        walk = Greedy(state.copy(), moves, rank, untouchable, chance=Random(seed * 1000 + trial))  # noqa: S311
        if walk.run():
            hops = _shorter(world, tuple(walk.state.hops))
            if hops is not None and (best is None or cost_of(world, list(hops)) < cost_of(world, list(best))):
                best = hops
    return best


def _shorter(world: World, hops: tuple[Hop, ...] | None) -> tuple[Hop, ...] | None:
    """Without the parkings that turn out to be needless; every change is walked again before it is kept."""
    if hops is None:
        return None
    walks_left = max(20, WALKED_HOPS_MAX // max(1, len(hops)))
    tried: set[tuple[Hop, Hop]] = set()
    while True:
        pair = next((pair for pair in _twice(hops) if (hops[pair[0]], hops[pair[1]]) not in tried), None)
        if pair is None:
            return hops
        tried.add((hops[pair[0]], hops[pair[1]]))
        for trial in _without(hops, *pair):
            walks_left -= 1
            if walks_left < 0:
                return hops
            if holds(world, list(trial)):
                hops = trial
                break


def _twice(hops: tuple[Hop, ...]) -> Iterator[tuple[int, int]]:
    """Each two hops in a row of one server."""
    last: dict[ServerId, int] = {}
    for index, hop in enumerate(hops):
        if hop.server in last:
            yield last[hop.server], index
        last[hop.server] = index


def _without(hops: tuple[Hop, ...], first: int, second: int) -> Iterator[tuple[Hop, ...]]:
    """The list with these two hops of a server made into none, or into one at either place."""
    before, between, after = hops[:first], hops[first + 1 : second], hops[second + 1 :]
    if hops[first].source == hops[second].target:
        yield (*before, *between, *after)
        return
    direct = Hop(hops[first].server, hops[first].source, hops[second].target)
    yield (*before, *between, direct, *after)
    yield (*before, direct, *between, *after)


def _around(
    state: State, moves: Mapping[ServerId, HostName], everyone: list[ServerId]
) -> tuple[list[ServerId], list[HostName]]:
    """The part of a large instance that is worth an exact look: the movers, their hosts, some roomy hosts."""
    world = state.world
    near = dict.fromkeys(host for s, t in moves.items() for host in (state.place(s), t) if host is not None)
    memory = next((base for name, base in world.capacities if name == "memory_mib"), None)
    if memory is not None:
        by_room = sorted(
            (host.name for host in world.cloud.hosts if host.name not in world.closed),
            key=lambda name: (
                -(world.counters[memory + world.host_index[name]].limit - state.load(memory + world.host_index[name]))
            ),
        )
        for name in by_room[:WIDE_HOSTS]:
            near.setdefault(name, None)
    bystanders = sorted((one for one in everyone if one not in moves and state.place(one) in near), key=world.memory)
    return [*moves, *bystanders[: max(0, WIDE_SERVERS - len(moves))]], list(near)

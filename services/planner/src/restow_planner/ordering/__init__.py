"""From a start and a target placement to steps that are safe in any interleaving, or the reason why not; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from restow.cloud.model import Cloud, HostState, Move, Server, ServerState
from restow.ids import HostName, ServerId
from restow.messages.plan import MOVES, Action, Edge, Purpose, Step
from restow.messages.request import Limits
from restow_planner.deadline import Deadline
from restow_planner.decision import Decision
from restow_planner.ordering.edges import edges
from restow_planner.ordering.schedule import scheduled
from restow_planner.ordering.sequence import Impossible, Sequenced, Undecided, sequence
from restow_planner.ordering.state import Hop
from restow_planner.ordering.world import World, compile_world
from restow_planner.primitives import Primitive

__all__ = ["Impossible", "Ordered", "Undecided", "order"]


@dataclass(frozen=True, slots=True)
class Ordered:
    """`optimal`: no order of moves carries less memory to these targets."""

    steps: tuple[Step, ...]
    optimal: bool


def order(
    cloud: Cloud,
    decision: Decision,
    primitives: Iterable[Primitive],
    *,
    limits: Limits,
    seconds: float,
    deadline: Deadline,
    seed: int,
) -> Ordered | Impossible | Undecided:
    """The decision as steps with edges and times. Every rule that holds at the start holds in any interleaving."""
    fenced = {host for action, host in decision.host_steps_first if action is Action.FENCE}
    world = compile_world(cloud, primitives, dead=fenced)
    for host in sorted(decision.closed):
        world.closed.setdefault(host, "closed for this plan")
    for server in decision.targets:
        if cloud.server_by_id[server].host in fenced and server in world.fixed:
            del world.fixed[server]  # the placement half decided that it may be rebuilt: nothing of it runs
    rank = {server: index for index, server in enumerate(decision.priority)}
    untouchable = frozenset(_untouchable(cloud, decision)) | decision.pinned
    answer = sequence(
        world, decision.targets, rank=rank, untouchable=untouchable, seconds=seconds, deadline=deadline, seed=seed
    )
    if not isinstance(answer, Sequenced):
        return answer
    first, last = decision.host_steps_first, decision.host_steps_last
    waits = edges(world, first, answer.hops, last)
    steps = [
        *(Step(id="", action=action, host=host, why=_why_host(action, host)) for action, host in first),
        *_moves(cloud, world, decision, answer.hops),
        *(Step(id="", action=action, host=host, why=f"{host} is empty now") for action, host in last),
    ]
    named = [
        step.model_copy(
            update={
                "id": f"s{number + 1}",
                "waits_for": tuple(Edge(step=f"s{before + 1}", because=why) for before, why in waits[number].items()),
            }
        )
        for number, step in enumerate(steps)
    ]
    return Ordered(scheduled(cloud, named, limits, seed=seed), answer.optimal)


def _untouchable(cloud: Cloud, decision: Decision) -> Iterable[ServerId]:
    """Who is not moved only to make room: what would be interrupted, and what does not run on a living host."""
    for server in cloud.servers:
        if server.id in decision.targets:
            continue
        host = cloud.host_by_name.get(server.host) if server.host is not None else None
        living = host is not None and host.state is HostState.UP and not host.forced_down
        interrupted = server.move is not Move.LIVE and server.state is not ServerState.STOPPED
        if not living or interrupted or server.numa:  # who comes back may be given other NUMA cells
            yield server.id


def _why_host(action: Action, host: HostName) -> str:
    if action is Action.FENCE:
        return f"nothing may run on {host} any more before its servers run elsewhere"
    return f"nothing may arrive on {host} while it is being emptied"


def _moves(cloud: Cloud, world: World, decision: Decision, hops: Sequence[Hop]) -> Iterable[Step]:
    for number, hop in enumerate(hops):
        server = cloud.server_by_id[hop.server]
        action = _action(world, decision, server, hop)
        final = decision.targets.get(hop.server, server.host)
        if hop.target != final:
            purpose, why = Purpose.PARKING, f"out of the way: {_waiting(hops, number)} needs its room on {hop.source}"
        elif hop.server in decision.targets:
            purpose, why = Purpose.REQUIRED, decision.why.get(hop.server, "")
        else:
            purpose, why = Purpose.RETURN, f"back to {hop.target}, after it made room there"
        carried = server.demand.get("memory_mib", 0) if action in MOVES and action is not Action.EVACUATE else 0
        yield Step(
            id="", action=action, server=hop.server, source=hop.source, target=hop.target,
            purpose=purpose, why=why, moved_mib=carried,
        )  # fmt: skip


def _waiting(hops: Sequence[Hop], number: int) -> str:
    """Who comes onto the host that this parking clears."""
    source = hops[number].source
    return next((hop.server for hop in hops[number + 1 :] if hop.target == source), "another server")


def _action(world: World, decision: Decision, server: Server, hop: Hop) -> Action:
    if hop.source is None:
        return Action.START
    if hop.target is None:
        return Action.SHELVE
    if hop.source in world.dead:
        return Action.EVACUATE
    chosen = decision.actions.get(hop.server)
    if chosen in (Action.LIVE_MIGRATE, Action.COLD_MIGRATE):
        return chosen
    if chosen is None and (server.move is Move.COLD or server.state is ServerState.STOPPED):
        return Action.COLD_MIGRATE
    return Action.LIVE_MIGRATE

"""Why a server stays where it is, as far as the plan and, where there is one, the snapshot tell; pure."""

from collections.abc import Iterator

import numpy as np

from restow.ids import ServerId
from restow.messages.plan import Blocker, Outcome, Plan
from restow.messages.request import (
    AnyRequest,
    ConsolidateRequest,
    DefragmentRequest,
    EvacuateRequest,
    ReachRequest,
    RebalanceRequest,
    RecoverRequest,
    ThenRequest,
)
from restow_planner.referee.steps import requests
from restow_planner.solvers.board import NOWHERE
from restow_planner.why.hosts import in_use_because, levels
from restow_planner.why.names import mentions
from restow_planner.why.scene import Scene, goals_of
from restow_planner.why.subjects import servers_named

HOSTS_SHOWN = 5
WITH_SNAPSHOT = "--snapshot FILE, the snapshot that the plan was made from"


def staying_by_plan(plan: Plan, word: str) -> Iterator[str]:
    """As far as the plan alone goes, and what is missing."""
    if word in servers_named(plan):
        yield f"{word} stays: no step moves it"
        yield from (f"  {line}" for line in said(plan, word))
        if any(word in one.pin for one in requests(plan.request)):
            yield "  the request pins it"
        for goal in goals_of(plan):
            if isinstance(goal, ReachRequest):
                yield f"  {_wanted(goal, word)}"
    else:
        yield f"the plan does not name {word}: if it is a server or a host of the cloud, no step touches it"
        spoken_of = (one for one in plan.blockers if mentions(one.why, word))
        yield from (f"  the plan speaks of it: {_blocked(one)}" for one in spoken_of)
    yield f"  {_in_all(plan)}"
    yield f"  where it stands, what it may do and why it is left alone is told with {WITH_SNAPSHOT}"


def said(plan: Plan, server: str) -> Iterator[str]:
    """What the plan itself has to say of the server."""
    blocked = [one for one in plan.blockers if one.server == server]
    yield from (f"it cannot be served: {_blocked(one)}" for one in blocked)
    why = plan.stays.get(server)
    if why is not None and not any(why in one.why for one in blocked):
        yield f"it stays: {why}"


def _blocked(one: Blocker) -> str:
    return f"{one.why} [{one.rule}]; way out: {one.relaxation}"


def staying(scene: Scene, name: ServerId) -> Iterator[str]:
    """What holds it, what each goal wants of it, and where else it could go."""
    problem = scene.problem
    server = problem.server_index[name]
    here = scene.before.at[server]
    yield f"{scene.names.server(name)} stays {'without a host' if here == NOWHERE else f'on {problem.hosts[here]}'}"
    told = list(said(scene.plan, name))
    yield from (f"  {line}" for line in told)
    rule, why = problem.fixed.get(server, ("", ""))
    if rule and not any(why in line for line in told):
        yield f"  it may not be moved: {why} [{rule}]"
    if name in scene.pins and not any("the request pins it" in line for line in told):
        yield "  the request pins it"
    if here in problem.down:
        yield f"  {problem.hosts[here]} is down: it can be rebuilt elsewhere by the goal recover, not migrated"
    for goal in scene.goals:
        yield from (f"  {line}" for line in _by_goal(scene, goal, name, here))
    yield f"  {_in_all(scene.plan)}"
    if not rule:
        yield f"  {_elsewhere(scene, server)}"


def _in_all(plan: Plan) -> str:
    """What became of the whole request: where nothing was planned, that alone is why a server stays."""
    told = f": {plan.why}" if plan.why else ""
    match plan.outcome:
        case Outcome.PLAN:
            return f"the plan as a whole{told}"
        case Outcome.NOTHING_TO_DO:
            return f"nobody moves, as there is nothing to do{told}"
        case _:
            return f"nobody moves, as the request is {plan.outcome.value}{told}"


def _by_goal(scene: Scene, goal: AnyRequest, server: ServerId, here: int) -> Iterator[str]:
    host = None if here == NOWHERE else scene.problem.hosts[here]
    match goal:
        case EvacuateRequest() | RecoverRequest():
            if host in goal.hosts or (isinstance(goal, RecoverRequest) and server in goal.servers):
                yield f"the goal {goal.goal} asks for it"
            else:
                of = " and ".join(goal.hosts[:HOSTS_SHOWN]) + (" …" if len(goal.hosts) > HOSTS_SHOWN else "")
                yield f"the goal {goal.goal} is about servers of {of or 'no host'}: it does not ask for this one"
        case ReachRequest():
            yield _wanted(goal, server, host)
        case RebalanceRequest():
            yield from levels(scene, goal, here) if host is not None else ()
        case ConsolidateRequest():
            yield from in_use_because(scene, here) if host is not None else ()
        case DefragmentRequest():
            shape = ", ".join(f"{amount} {resource}" for resource, amount in goal.shape.items())
            yield f"the goal defragment asks for room for {goal.count} × ({shape}), and gets what it gets without it"
        case ThenRequest():
            pass  # its goals are asked one by one


def _wanted(goal: ReachRequest, server: str, host: str | None = None) -> str:
    if server not in goal.targets:
        return "the goal reach names no place for it"
    target = goal.targets[server]
    if host is not None and target == host:
        return f"the goal reach wants it on {host}, where it is already"
    return f"the goal reach wants it {'shelved' if target is None else f'on {target}'}"


def _elsewhere(scene: Scene, server: int) -> str:
    """Where it might be moved once the plan is carried out."""
    problem, board = scene.problem, scene.after
    allowed = problem.allowed[int(problem.class_of[server])].copy()
    if board.at[server] != NOWHERE:
        allowed[board.at[server]] = False
    others = len(problem.hosts) - (board.at[server] != NOWHERE)
    if not allowed.any():
        rules = ", ".join(dict.fromkeys(rule for rule, _ in problem.allowed_by[int(problem.class_of[server])]))
        none = f"its rules allow no other host ({rules})" if others else "there is no other host"
        return f"it could go nowhere else: {none}"
    open_to = allowed & board.open
    if not open_to.any():
        host = problem.hosts[int(np.flatnonzero(allowed)[0])]
        none = f"none of the {int(allowed.sum())} hosts that suit it takes servers in"
        return f"it could go nowhere else: {none} ({host}: {scene.shut[host]})"
    suit = f"{int(open_to.sum())} of {others} other hosts suit it and take servers in"
    demand = problem.demand[server][:, None]
    if not (open_to & (board.free >= demand).all(axis=0)).any():
        return f"it could go nowhere else as things stand: {suit}, and none has room for its {_claims(scene, server)}"
    fits = np.flatnonzero(board.fits(server)).tolist()
    if not fits:
        return f"it could go nowhere else as things stand: {suit}, but its rules with other servers leave it no place"
    shown = ", ".join(problem.hosts[one] for one in fits[:HOSTS_SHOWN]) + (" …" if len(fits) > HOSTS_SHOWN else "")
    return f"it could go elsewhere: {suit}, {len(fits)} with a place for it after the plan ({shown})"


def _claims(scene: Scene, server: int) -> str:
    demand = scene.problem.demand[server].tolist()
    return ", ".join(f"{one} {name}" for one, name in zip(demand, scene.problem.resources, strict=True) if one)

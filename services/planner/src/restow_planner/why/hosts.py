"""A host in a plan: what leaves, what arrives, how full it is before and after, and why it stays so; pure."""

from collections.abc import Iterator

from restow.ids import HostName
from restow.messages.plan import Plan, Purpose, Step
from restow.messages.request import ConsolidateRequest, RebalanceRequest
from restow.render import gap_in_words
from restow_planner.goals.loads import measure
from restow_planner.why.names import Names, mentions
from restow_planner.why.scene import Scene

STAYING_SHOWN = 20


def traffic(plan: Plan, host: str, names: Names) -> Iterator[str]:
    """What leaves and what arrives, each with its step."""
    for step in plan.steps:
        if step.server is not None and step.source == host:
            yield f"  leaves: {names.server(step.server)} to {step.target or 'nowhere'} ({_with(step)})"
    for step in plan.steps:
        if step.server is not None and step.target == host:
            yield f"  arrives: {names.server(step.server)} from {step.source or 'nowhere'} ({_with(step)})"
    if not any(host in (step.source, step.target) for step in plan.steps):
        yield "  nothing leaves it, and nothing arrives"
    if host in plan.emptied_hosts:
        yield "  it is empty at the end"


def of_host(scene: Scene, host: str) -> Iterator[str]:
    """With the snapshot: how full it is, who stays and why, what the goals have to do with it."""
    problem, index = scene.problem, scene.problem.host_index[HostName(host)]
    was, now = len(scene.before.on[index]), len(scene.after.on[index])
    yield f"{host} {_state(scene, host)}: {was} server{'s' if was != 1 else ''} before, {now} after"
    yield from traffic(scene.plan, host, scene.names)
    for row, resource in enumerate(scene.cloud.resources):
        capacity = int(problem.capacity[row, index])
        was, now = (capacity - int(board.free[row, index]) for board in (scene.before, scene.after))
        yield f"  claims of {resource}: {was} of {capacity} before, {now} after"
    if host in scene.shut:
        yield f"  nothing may arrive on it: {scene.shut[host]}"
    yield from _staying(scene, index)
    for one in scene.plan.blockers:
        if one.server is None and mentions(one.why, host):
            yield f"  {one.why} [{one.rule}]; way out: {one.relaxation}"
    for goal in scene.goals:
        if isinstance(goal, RebalanceRequest):
            yield from (f"  {line}" for line in levels(scene, goal, index))
        if isinstance(goal, ConsolidateRequest):
            yield from (f"  {line}" for line in in_use_because(scene, index))


def _staying(scene: Scene, host: int) -> Iterator[str]:
    """Who could not go, each with the reason; the others in one line."""
    staying = sorted(scene.after.on[host] & scene.before.on[host])
    held = {server: why for server in staying if (why := _held(scene, server))}
    for server, why in list(held.items())[:STAYING_SHOWN]:
        yield f"  stays: {_called(scene, server)}{why}"
    if len(held) > STAYING_SHOWN:
        yield f"  … and {len(held) - STAYING_SHOWN} more that cannot go"
    free = [_called(scene, server) for server in staying if server not in held]
    if free:
        shown = ", ".join(free[:STAYING_SHOWN]) + (" …" if len(free) > STAYING_SHOWN else "")
        yield f"  stays: {shown}" if len(free) == 1 else f"  {len(free)} servers stay: {shown}"


def _called(scene: Scene, server: int) -> str:
    return scene.names.server(scene.problem.servers[server])


def levels(scene: Scene, goal: RebalanceRequest, host: int) -> Iterator[str]:
    """How full the host is by what is to be evened out, and what counts as too full."""
    part = scene.open.copy()
    index = scene.problem.host_index
    part[[index[HostName(name)] for name in goal.hosts if name in index]] = True
    for name in dict.fromkeys(goal.resources):
        by = measure(scene.problem, name)
        load, room = by.load(scene.after)[part].sum(), by.room[part].sum()  # with what goals before this one brought
        mean = float(load / room) if room else 0.0
        was, now = (float(by.share(board)[host]) for board in (scene.before, scene.after))
        ceiling = mean + goal.threshold
        if was <= ceiling:
            verdict = "it is not too full, so nobody has to leave it"
        elif now <= ceiling:
            verdict = "it was too full, and what leaves it is enough"
        else:
            verdict = "it stays too full"
        yield (
            f"{scene.problem.hosts[host]} is at {was:.0%} of its {name} before the plan and at {now:.0%} after; "
            f"the mean is {mean:.0%}, and above {ceiling:.0%} is too full: {verdict}"
        )


def in_use_because(scene: Scene, host: int) -> Iterator[str]:
    """Why a consolidation leaves servers on the host."""
    problem, name = scene.problem, scene.problem.hosts[host]
    if not scene.after.on[host]:
        return
    if host in problem.down:
        yield f"{name} is down, so it is not freed"
        return
    held = [one for one in sorted(scene.after.on[host] & scene.before.on[host]) if _held(scene, one)]
    if held:
        some = "; ".join(_called(scene, one) + _held(scene, one) for one in held[:STAYING_SHOWN])
        yield f"{name} cannot be freed: {some}"
        return
    used = scene.plan.after.get("hosts_used")
    count = "" if used is None else f"; hosts in use at the end: {used:g}"
    yield f"{name} is not among the hosts that the goal consolidate frees{count}; {gap_in_words(scene.plan)}"


def _held(scene: Scene, server: int) -> str:
    """What keeps a server in its place, whatever the goal."""
    problem = scene.problem
    if server in problem.fixed:
        rule, why = problem.fixed[server]
        return f", {why} [{rule}]"
    if problem.servers[server] in scene.pins:
        return ", the request pins it"
    return ", it would have to be stopped to move" if problem.cold[server] else ""


def _state(scene: Scene, host: str) -> str:
    known = scene.cloud.host_by_name[HostName(host)]
    places = [f"{word} {value}" for word, value in (("zone", known.zone), ("rack", known.rack)) if value is not None]
    return f"({', '.join([known.state.value, *places])})"


def _with(step: Step) -> str:
    moved = f", {step.moved_mib} MiB" if step.moved_mib else ""
    reason = f": {step.why}" if step.why else ""
    purpose = "" if step.purpose is Purpose.REQUIRED else f", {step.purpose.value}"
    return f"{step.id} {step.action.value}, {step.start_s:g}-{step.end_s:g} s{moved}{purpose}{reason}"

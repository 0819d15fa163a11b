"""Each step on its own: does what it names exist, is the server where the step takes it from, may it be done; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from restow.cloud.model import LOCAL_STORAGE, Cloud, HostState
from restow.ids import HostName, ServerId
from restow.messages.plan import HOST_ACTIONS, MOVES, Action, Plan, Step
from restow.messages.request import AnyRequest, EvacuateRequest, ReachRequest, RecoverRequest, ThenRequest
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph


def step_findings(cloud: Cloud, plan: Plan, graph: Graph) -> Iterator[Finding]:
    unknown = [finding for step in plan.steps for finding in _unknown(cloud, step)]
    if unknown:
        yield from unknown
        return
    for server, numbers in graph.of_server.items():
        yield from _chain(cloud, graph, server, numbers)
    yield from _host_order(cloud, graph)
    yield from _asked(plan)
    yield from _disks(cloud, plan)


def requests(request: AnyRequest) -> Iterator[AnyRequest]:
    """The request itself, or all those that it puts one after the other."""
    if isinstance(request, ThenRequest):
        yield request
        for one in request.goals:
            yield from requests(one)
    else:
        yield request


def _unknown(cloud: Cloud, step: Step) -> Iterator[Finding]:
    if step.action in HOST_ACTIONS:
        if step.host is None or step.host not in cloud.host_by_name:
            yield Finding("step", f"{step.action} names host {step.host}, which is not in the snapshot", step.id)
        return
    if step.server is None or step.server not in cloud.server_by_id:
        yield Finding("step", f"{step.action} names server {step.server}, which is not in the snapshot", step.id)
        return
    for name in (step.source, step.target):
        if name is not None and name not in cloud.host_by_name:
            yield Finding("step", f"{step.action} names host {name}, which is not in the snapshot", step.id)
    needs = {Action.SHELVE: (True, False), Action.START: (False, True)}
    if step.action in MOVES | set(needs):
        has = (step.source is not None, step.target is not None)
        if step.action in MOVES and (has != (True, True) or step.source == step.target):
            yield Finding("step", f"{step.action} needs two different hosts, from and to", step.id)
        if step.action in needs and has != needs[step.action]:
            yield Finding("step", f"{step.action} has the wrong ends: from {step.source} to {step.target}", step.id)


def _chain(cloud: Cloud, graph: Graph, server: ServerId, numbers: tuple[int, ...]) -> Iterator[Finding]:
    at: str | None = cloud.server_by_id[server].host
    for place, number in enumerate(numbers):
        step = graph.steps[number]
        if place and not graph.before(numbers[place - 1], number):
            before = graph.steps[numbers[place - 1]].id
            yield Finding("order", f"may run together with {before}, which acts on the same server", step.id)
        if step.action is Action.STOP:
            continue
        if step.source != at:
            yield Finding("step", f"takes {server} from {step.source}, but it is then on {at}", step.id)
        at = step.target


def _host_order(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    """Fences and switches: what must come before what, and what never."""
    fences: dict[str, list[int]] = {}
    closed: dict[str, list[int]] = {}
    off: dict[str, list[int]] = {}
    for number, step in enumerate(graph.steps):
        if step.host is not None:
            table = {Action.FENCE: fences, Action.DISABLE_HOST: closed, Action.POWER_OFF: off}.get(step.action)
            if table is not None:
                table.setdefault(step.host, []).append(number)
    for number, step in enumerate(graph.steps):
        if step.action is Action.EVACUATE and not any(
            graph.before(one, number) for one in fences.get(step.source or "", ())
        ):
            yield Finding("order", f"rebuilds {step.server} before {step.source} is fenced", step.id)
        if step.action in (Action.LIVE_MIGRATE, Action.COLD_MIGRATE) and step.source is not None:
            host = cloud.host_by_name[HostName(step.source)]
            if host.state is not HostState.UP or host.forced_down:
                yield Finding("step", f"{step.action} from {step.source}, which is not up", step.id)
        if step.target is None:
            continue
        for one in closed.get(step.target, ()):
            if not graph.before(number, one):
                yield Finding("order", f"may arrive on {step.target} after it was disabled", step.id)
        for one in [*fences.get(step.target, ()), *off.get(step.target, ())]:
            yield Finding("order", f"arrives on {step.target}, which {graph.steps[one].action} turns off", step.id)
    for name, numbers in off.items():
        for number in numbers:
            late = [s.id for n, s in enumerate(graph.steps) if s.source == name and not graph.before(n, number)]
            if late:
                yield Finding("order", f"may turn {name} off before {late[0]} has left it", graph.steps[number].id)


def _asked(plan: Plan) -> Iterator[Finding]:
    """What the request forbids: pins, excluded hosts, pairs that failed before, arrivals on emptied hosts."""
    pinned, shut, avoided = Holds(), Holds(), Holds()
    before: list[AnyRequest] = []
    for one in requests(plan.request):
        pinned.hold(one.pin, before)
        shut.hold(one.exclude_hosts, before)
        avoided.hold(((pair.server, pair.host) for pair in one.avoid), before)
        if one.goal in ("evacuate", "recover"):
            shut.hold(_hosts(one), ())  # nobody is left there at the end, so nobody need ever come
        if not isinstance(one, ThenRequest):
            before.append(one)
    moved = {step.server: step.source for step in reversed(plan.steps) if step.server is not None}
    for step in plan.steps:
        if step.server is None:
            continue
        if pinned.forbid(step.server, moved):
            yield Finding("goal", f"touches {step.server}, which the request pins", step.id)
        if shut.forbid(step.target, moved):
            yield Finding("goal", f"arrives on {step.target}, which the request wants empty or excludes", step.id)
        if avoided.forbid((step.server, step.target), moved):
            yield Finding("goal", f"sends {step.server} to {step.target}, which the request avoids", step.id)
    moves = sum(1 for step in plan.steps if step.action in MOVES)
    limit = plan.request.limits.moves
    if limit is not None and moves > limit and plan.request.goal != "recover":
        yield Finding("goal", f"{moves} moves, the request allows {limit}")


@dataclass(slots=True)
class Holds:
    """What goals forbid, each with the goals before the first that does: those are not bound by it.

    What the whole request or its first goal forbids holds for every step. A plan does not say for which goal a step
    is; so what only a later goal forbids is let pass where an earlier one can have a use for it, and nowhere else.
    """

    before: dict[object, tuple[AnyRequest, ...]] = field(default_factory=dict)

    def hold(self, names: Iterable[object], before: Sequence[AnyRequest]) -> None:
        for name in names:
            self.before[name] = min(tuple(before), self.before.get(name, tuple(before)), key=len)

    def forbid(self, name: object, moved: Mapping[str, str | None]) -> bool:
        """Whether a step that does this is wrong. `moved`: the servers that the plan touches, and where they began."""
        return name in self.before and not any(_moves_servers(goal, moved) for goal in self.before[name])


def _moves_servers(goal: AnyRequest, moved: Mapping[str, str | None]) -> bool:
    """Whether the goal can have a use for moves in this plan: of those that it must move, or to make room for them."""
    match goal:
        case EvacuateRequest():
            return any(begin in goal.hosts for begin in moved.values())
        case RecoverRequest():
            return any(begin in goal.hosts or one in goal.servers for one, begin in moved.items())
        case ReachRequest():
            return not moved.keys().isdisjoint(goal.targets)
        case _:
            return True


def _disks(cloud: Cloud, plan: Plan) -> Iterator[Finding]:
    """Nobody whose disk was on a failed host comes back with an empty one, unless that was asked for."""
    asked = [one for one in requests(plan.request) if isinstance(one, RecoverRequest) and one.empty_disks]
    empty = {name for one in asked for name in one.hosts}
    for step in plan.steps:
        if step.action is not Action.EVACUATE or step.server is None or step.source in empty:
            continue
        if cloud.server_by_id[ServerId(step.server)].storage == LOCAL_STORAGE:
            yield Finding("goal", f"rebuilds {step.server} without its disk, and nobody asked for that", step.id)


def _hosts(request: AnyRequest) -> Iterable[str]:
    return getattr(request, "hosts", ())

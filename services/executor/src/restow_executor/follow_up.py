"""What a run leads to when it ends: a new request after a changed world, or the way back; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from restow.cloud.model import Cloud
from restow.ids import ServerId, id_of_effect
from restow.messages.events import PlanRequest
from restow.messages.plan import MOVES, Action, Edge, Step
from restow.messages.request import Avoid, Limits, Mode, ReachRequest
from restow_executor.progress import StepState
from restow_executor.records import RunRecord, StepRecord


def again(run: RunRecord, steps: Sequence[StepRecord], *, replans_max: int) -> PlanRequest | None:
    """The same request once more, without the pairs that failed; None if it was tried often enough.

    A plan that never began was no attempt: others were at work, and it has only waited for its turn.
    The approval is inherited: what was approved is the goal, and the new plan is held to the same rules.
    """
    begun = run.started_at is not None
    if run.request is None or (begun and run.attempt > replans_max):
        return None
    failed = tuple(
        Avoid(server=record.step.server, host=record.step.target)
        for record in steps
        if record.state is StepState.MISSED and record.step.server is not None and record.step.target is not None
    )
    avoid = tuple(dict.fromkeys((*run.request.avoid, *failed)))
    return PlanRequest(
        plan=id_of_effect(run.id, "replan"), request=run.request.model_copy(update={"avoid": avoid}),
        requested_by="executor", incident=run.incident, replaces=run.id, attempt=run.attempt + begun,
        approved_by=run.by or "policy",
    )  # fmt: skip


def others_at_work(steps: Sequence[StepRecord], cloud: Cloud) -> bool:
    """Whether somebody is doing something to a server that this run has not brought to its place.

    It cannot be moved meanwhile: a plan made now calls the goal impossible.
    """
    ours = {record.step.server for record in steps if not record.state.done}
    return any(server.task is not None for server in cloud.servers if server.id in ours)


@dataclass(frozen=True, slots=True)
class WayBack:
    """`hosts`: what is done to hosts first, so that the servers can return; `request` None: nothing was moved."""

    hosts: tuple[Step, ...]
    request: PlanRequest | None
    left_out: tuple[str, ...]


def way_back(run: RunRecord, steps: Sequence[StepRecord], *, by: str) -> WayBack:
    """How to bring every server back to where this run found it. Starts and stops in place are not undone."""
    first: dict[str, str | None] = {}
    last: dict[str, str | None] = {}
    left_out: list[str] = []
    for record in sorted(steps, key=lambda record: (record.ended_at is None, record.ended_at, record.step.id)):
        step = record.step
        if record.state is not StepState.FINISHED or step.server is None:
            continue
        if step.action in MOVES or step.action is Action.SHELVE:
            first.setdefault(step.server, step.source)
            last[step.server] = step.target
        elif step.action is Action.START and record.before.get("host") is None:
            first.setdefault(step.server, None)
            last[step.server] = step.target
        else:
            left_out.append(f"{step.action.value} of {step.server}")
    targets = {server: host for server, host in first.items() if last[server] != host}
    hosts = _hosts_back(steps)
    if not targets:
        return WayBack(hosts, None, tuple(left_out))
    request = ReachRequest(
        goal="reach",
        targets=targets,
        domain=run.domain,
        mode=Mode.PROPOSE,
        reason=f"undo of plan {run.id}",
        limits=Limits() if run.request is None else run.request.limits,
        seed=1 if run.request is None else run.request.seed,
    )
    plan = PlanRequest(plan=undo_id(run.id), request=request, requested_by=by, approved_by=by)
    return WayBack(hosts, plan, tuple(left_out))


def undo_id(plan: str) -> str:
    return id_of_effect(plan, "undo")


def _hosts_back(steps: Sequence[StepRecord]) -> tuple[Step, ...]:
    """Hosts that the run powered off go on, those that it disabled are enabled; a fenced host stays as it is."""
    done = [record.step for record in steps if record.state is StepState.FINISHED and record.step.host is not None]
    fenced = {step.host for step in done if step.action is Action.FENCE}
    back: list[Step] = []
    for number, host in enumerate(sorted({step.host for step in done if step.host is not None} - fenced)):
        actions = [step.action for step in done if step.host == host]
        edges: tuple[Edge, ...] = ()
        if Action.POWER_OFF in actions and Action.POWER_ON not in actions:
            back.append(Step(id=f"on-{number}", action=Action.POWER_ON, host=host, why="undo"))
            edges = (Edge(step=f"on-{number}", because=f"{host} must be on"),)
        if Action.DISABLE_HOST in actions and Action.ENABLE_HOST not in actions:
            enable = Step(id=f"enable-{number}", action=Action.ENABLE_HOST, host=host, why="undo", waits_for=edges)
            back.append(enable)
    return tuple(back)


PLAN_AGE_MAX_S = 4 * 3600.0  # an older plan is made again rather than carried out


def why_stale(
    run: RunRecord, steps: Sequence[StepRecord], cloud: Cloud | None, *, others_moved: bool, now: datetime
) -> str | None:
    """Why this plan should not even begin; None if nothing speaks against it.

    `cloud` None: it cannot be read just now, and every step looks for itself anyway. `others_moved`: another
    plan has moved servers since this one was made, perhaps to where it leads or onto what it empties.
    """
    if others_moved:
        return "other plans have moved servers while it waited for its turn"
    if run.planned_at is not None and now - run.planned_at > timedelta(seconds=PLAN_AGE_MAX_S):
        return f"the plan was made {(now - run.planned_at).total_seconds() / 3600:.1f} hours ago"
    if cloud is None:
        return None
    expected: dict[str, set[str | None]] = {}
    for record in steps:
        step = record.step
        if step.server is not None and not record.state.ended:
            expected.setdefault(step.server, set()).update((step.source, step.target))
    for server_id, hosts in expected.items():
        server = cloud.server_by_id.get(ServerId(server_id))
        if server is None:
            return f"server {server_id} is gone"
        if hosts != {None} and server.host not in hosts and server.host is not None:
            return f"{server_id} is on {server.host}, where this plan does not know it"
    return None

"""What the events of the log make of a plan, its steps and an incident; pure.

Topics have no order among each other, so a plan's view only goes forward: what comes late adds its
facts and does not take the plan back.
"""

import json
from datetime import datetime

from restow.ids import id_of_effect
from restow.messages.events import (
    Event,
    Incident,
    IncidentClosed,
    PlanProposed,
    PlanRequest,
    PlanRequested,
    PlanState,
    StepEvent,
    decode,
)
from restow_api.store import IncidentViewRow, PlanViewRow, StepViewRow

_ORDER = {"requested": 0, "proposed": 1, "approved": 2, "running": 3, "paused": 3}
ENDED = frozenset({"finished", "failed", "rejected", "cancelled", "stale"})
STATES = (*_ORDER, *sorted(ENDED))
SEEN, SEEN_MAX = "acknowledgements", 100  # in the body of an incident: the commands that said so
_STATE_OF = {"started": "running", "resumed": "running"}

PLAN_EVENTS = (
    "restow.command.plan.request",
    *(
        f"restow.plan.{word}"
        for word in (
            "requested", "proposed", "approved", "rejected", "started", "paused", "resumed", "cancelled", "stale",
            "finished", "failed",
        )
    ),
)  # fmt: skip


def next_state(current: str, event_type: str) -> str:
    """The state of a plan after an event. An ended plan stays ended; no plan goes back."""
    word = event_type.rpartition(".")[2]
    wanted = _STATE_OF.get(word, word)
    if wanted not in STATES or current in ENDED:
        return current
    if wanted in ENDED or _ORDER[wanted] >= _ORDER[current]:
        return wanted
    return current


def new_plan_view(request: PlanRequest | PlanRequested, event: Event) -> PlanViewRow:
    """The view of a plan that was just asked for."""
    changes = getattr(request, "changes", None)
    return PlanViewRow(
        id=request.plan, domain=event.domain, state="requested", goal=request.request.goal,
        mode=request.request.mode.value, request=json.dumps(request.request.model_dump(mode="json", by_alias=True)),
        changes=None if changes is None else json.dumps(changes.dump()), correlation=event.correlation,
        incident=request.incident, replaces=request.replaces, replaced_by=None, undone_by=None,
        attempt=request.attempt, created_at=event.time, created_by=request.requested_by, updated_at=event.time,
        outcome=None, document=None, snapshot=None, steps=None, blockers=None, why="", approved_by=None,
        approved_at=None, started_at=None, ended_at=None, counts="{}",
    )  # fmt: skip


def fold_plan(view: PlanViewRow | None, event: Event) -> PlanViewRow | None:
    """The view after one event of PLAN_EVENTS; changes `view` in place. None: the plan is not known (yet)."""
    message = decode(event)
    match message:
        case PlanRequest() | PlanRequested():
            if view is None:
                return new_plan_view(message, event)
            if isinstance(message, PlanRequest) and message.changes is not None:
                view.changes = json.dumps(message.changes.dump())
        case PlanProposed() if view is not None:
            view.outcome, view.document, view.snapshot = message.outcome, message.document, message.snapshot
            view.steps, view.blockers = message.steps, message.blockers
            view.why = view.why or message.why
        case PlanState() if view is not None:
            _fold_state(view, message, event)
        case _:
            return view
    before, view.state = view.state, next_state(view.state, event.type)
    if view.state != before:
        view.updated_at = max(view.updated_at, event.time)
    if view.state in ENDED and view.ended_at is None:
        view.ended_at = event.time
    return view


def _fold_state(view: PlanViewRow, message: PlanState, event: Event) -> None:
    match event.type:
        case "restow.plan.approved":
            view.approved_by, view.approved_at = message.by, event.time
        case "restow.plan.started":
            view.started_at = view.started_at or event.time
        case _:
            if next_state("requested", event.type) in ENDED and view.state not in ENDED:
                view.why = message.why or view.why
                if event.type == "restow.plan.finished" and view.blockers:
                    left = "1 blocker" if view.blockers == 1 else f"{view.blockers} blockers"
                    view.why += f"; in part: {left} in the plan"  # all steps are done is not all that was asked for
                view.replaced_by = message.replaced_by
    if message.counts:
        view.counts = json.dumps(message.counts)


def fold_step(view: StepViewRow | None, event: Event) -> StepViewRow:
    """The view of a step after `restow.step.*`; changes `view` in place."""
    message = decode(event)
    assert isinstance(message, StepEvent)
    state = {"started": "running"}.get(word := event.type.rpartition(".")[2], word)
    if view is None:
        view = StepViewRow(
            plan=message.plan, step=message.step, state=state, started_at=None, ended_at=None, seconds=0.0, why="",
            request_ids="[]",
        )  # fmt: skip
    if state == "running":
        view.started_at = view.started_at or event.time
        if view.state == "failed" and (view.ended_at is None or event.time > view.ended_at):
            view.state, view.ended_at = state, None  # tried again
    else:
        view.state, view.ended_at, view.seconds = state, event.time, message.seconds
    view.why = message.why or view.why
    if message.request_ids:
        view.request_ids = json.dumps(message.request_ids)
    return view


def fold_incident(view: IncidentViewRow | None, event: Event) -> IncidentViewRow:
    """The view of an incident after `restow.incident.*`; changes `view` in place. Closed stays closed."""
    message = decode(event)
    assert isinstance(message, Incident | IncidentClosed)
    if view is None:
        view = IncidentViewRow(
            id=message.id, domain=event.domain, state="open", symptom=message.symptom, hosts="[]", body="{}",
            outcome=None, opened_at=event.time, updated_at=event.time, closed_at=None, acknowledged_at=None,
            acknowledged_by=None,
        )  # fmt: skip
    if view.state == "closed":
        return view
    body, told = json.loads(view.body), message.dump()
    if event.causation is not None and event.causation in body.get(SEEN, ()):
        del told["why"]  # that somebody has seen it is not why it is there
    view.body = json.dumps({**body, **told})
    view.hosts = json.dumps(message.hosts)
    view.symptom, view.updated_at = message.symptom, event.time
    if isinstance(message, IncidentClosed):
        view.state, view.outcome, view.closed_at = "closed", message.outcome, event.time
    return view


def acknowledge(view: IncidentViewRow, *, by: str, at: datetime, event: str | None = None) -> None:
    """The first who sees it is remembered, and each command, so that what it brings about is known."""
    if view.acknowledged_at is None:
        view.acknowledged_at, view.acknowledged_by = at, by
    if event is None:
        return
    body = json.loads(view.body)
    seen = dict.fromkeys([*body.get(SEEN, ()), event])
    view.body = json.dumps({**body, SEEN: list(seen)[-SEEN_MAX:]})


# --- what may be done with a plan in which state -------------------------------------------------

VERBS = ("approve", "reject", "cancel", "pause", "resume", "undo")
_POSSIBLE = {
    "approve": ("proposed",),
    "reject": ("proposed",),
    "cancel": ("requested", "proposed", "approved", "running", "paused"),
    "pause": ("running",),
    "resume": ("paused",),
    "undo": ("finished", "failed", "cancelled", "stale"),
}


def why_not(verb: str, view: PlanViewRow) -> str | None:
    """Why the state of the plan forbids this; None if it does not."""
    if view.state not in _POSSIBLE[verb]:
        return f"the plan is {view.state}; {verb} is possible when it is {' or '.join(_POSSIBLE[verb])}"
    if verb == "approve" and view.mode == "dry-run":
        return "a dry run is never carried out: ask for the plan again in mode propose"
    if verb == "undo" and view.started_at is None:
        return "nothing of this plan was carried out, so there is nothing to undo"
    if verb == "undo" and view.undone_by is not None:
        return f"plan {view.undone_by} undoes it already"
    return None


def undo_plan_id(plan: str) -> str:
    """The id of the plan that undoes this one; the executor derives the same."""
    return id_of_effect(plan, "undo")


def possible_verbs(view: PlanViewRow) -> tuple[str, ...]:
    return tuple(verb for verb in VERBS if why_not(verb, view) is None)

"""The handler that keeps the read views: one event in, the rows it changes out."""

import json
from dataclasses import dataclass
from functools import partial

from restow.database.engine import Transaction
from restow.log.port import Effect
from restow.messages.events import Event, IncidentOrder, PlanOrder, PolicyPut, StepEvent, Topic, decode
from restow_api import metrics
from restow_api.folding import PLAN_EVENTS, acknowledge, fold_incident, fold_plan, fold_step, undo_plan_id
from restow_api.policies import keep_policy
from restow_api.store import IncidentViewRow, PlanViewRow, StepViewRow


@dataclass(frozen=True, slots=True)
class Views:
    """Keeps `plan_view`, `step_view`, `incident_view` and `policy_view`."""

    group: str = "api"
    topics: frozenset[Topic] = frozenset({Topic.HEALING, Topic.COMMANDS})

    async def handle(self, event: Event) -> Effect | None:
        match event.type.split("."):
            case _ if event.type in PLAN_EVENTS:
                work = _plan
            case ["restow", "step", _]:
                work = _step
            case ["restow", "incident", _]:
                work = _incident
            case ["restow", "refusal"]:
                work = _refusal
            case ["restow", "command", "incident", "acknowledge"]:
                work = _acknowledge
            case ["restow", "command", "plan", "undo"]:
                work = _undo
            case ["restow", "command", "policies", "put"]:
                work = _policy
            case _:
                return None
        decode(event)  # what cannot be read is set aside before anything is written

        async def effect(transaction: Transaction) -> None:
            await work(transaction, event)

        return effect


async def _plan(transaction: Transaction, event: Event) -> None:
    plan = str(event.data["plan"])
    before = await transaction.session.get(PlanViewRow, plan, with_for_update=True)
    known = None if before is None else before.state
    after = fold_plan(before, event)
    if before is None and after is not None:
        transaction.session.add(after)
    asked = event.type == "restow.command.plan.request"  # the front door has written its view already
    if after is not None and (asked or after.state != known):
        state = "requested" if asked else after.state
        transaction.count(metrics.PLANS.labels(event.domain, after.goal, state).inc)
    if after is not None and event.type == "restow.plan.started" and after.incident is not None and after.attempt == 1:
        incident = await transaction.session.get(IncidentViewRow, after.incident)
        if incident is not None:
            waited = max(0.0, (event.time - incident.opened_at).total_seconds())
            transaction.count(partial(metrics.REACTION.labels(incident.symptom).observe, waited))


async def _step(transaction: Transaction, event: Event) -> None:
    message = decode(event)
    assert isinstance(message, StepEvent)
    before = await transaction.session.get(StepViewRow, (message.plan, message.step), with_for_update=True)
    after = fold_step(before, event)
    if before is None:
        transaction.session.add(after)
    if after.state in metrics.STEP_ENDS:
        transaction.count(metrics.STEPS.labels(event.domain, message.action, after.state).inc)
        if after.state == "finished":
            transaction.count(partial(metrics.STEP_SECONDS.labels(message.action).observe, message.seconds))


async def _incident(transaction: Transaction, event: Event) -> None:
    before = await transaction.session.get(IncidentViewRow, str(event.data["id"]), with_for_update=True)
    after = fold_incident(before, event)
    if before is None:
        transaction.session.add(after)


async def _refusal(transaction: Transaction, event: Event) -> None:
    transaction.count(metrics.REFUSALS.labels(event.domain, str(event.data["guard"])).inc)


async def _acknowledge(transaction: Transaction, event: Event) -> None:
    message = decode(event)
    assert isinstance(message, IncidentOrder)
    view = await transaction.session.get(IncidentViewRow, message.incident, with_for_update=True)
    if view is not None:
        acknowledge(view, by=message.by, at=event.time, event=event.id)


async def _undo(transaction: Transaction, event: Event) -> None:
    message = decode(event)
    assert isinstance(message, PlanOrder)
    view = await transaction.session.get(PlanViewRow, message.plan, with_for_update=True)
    if view is not None:
        view.undone_by = undo_plan_id(message.plan)


async def _policy(transaction: Transaction, event: Event) -> None:
    message = decode(event)
    assert isinstance(message, PolicyPut)
    await keep_policy(transaction, event=event.id, document=json.dumps(message.document), by=message.by, at=event.time)

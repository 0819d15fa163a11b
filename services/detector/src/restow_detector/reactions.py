"""What an event of the log means for what the detector remembers: one branch for each kind; pure."""

from dataclasses import replace
from datetime import datetime

from restow.ids import id_of_effect
from restow.messages.base import Message
from restow.messages.events import (
    Event,
    HostEvent,
    HostMaintenance,
    IncidentOrder,
    IncidentOutcome,
    PlanProposed,
    PlanRequest,
    PlanRequested,
    PlanState,
    Signal,
    effect_of,
)
from restow.messages.request import EvacuateRequest, Mode
from restow_detector.correlation import field_for, incident_of
from restow_detector.incidents import BY, SOURCE, add_lines, close, refuse, update
from restow_detector.memory import Draft, Health, Maintenance, Memory, OpenIncident, Phase, Verdict
from restow_detector.sources import signals


def react(memory: Memory, event: Event, message: Message, *, domain: str, now: datetime) -> Verdict:
    draft = Draft.of(memory, domain=domain, now=now)
    match message:
        case Signal():
            _hear(draft, event, message)
        case HostMaintenance():
            _maintain(draft, event, message)
        case IncidentOrder():
            _order(draft, event, message)
        case HostEvent() if event.type == "restow.host.powered-off":
            by = f"plan {message.plan}" if message.plan else message.by or "us"
            draft.switched_off[message.host] = Maintenance(by=by, since=event.time, reason=message.why)
        case HostEvent() if event.type == "restow.host.powered-on":
            draft.switched_off.pop(message.host, None)
        case PlanRequested(replaces=str()) | PlanProposed() | PlanState():
            _follow(draft, event, message)
        case _:
            pass
    return draft.done()


def concerns_us(event: Event) -> bool:
    """Whether `react` has a branch for it: the rest of the log need not be decoded."""
    return event.type in _OURS or (event.type.startswith("restow.plan.") and event.type not in _OF_NO_INTEREST)


_OURS = frozenset({
    "restow.signal", "restow.command.host.maintenance", "restow.command.incident.acknowledge",
    "restow.command.incident.close", "restow.host.powered-off", "restow.host.powered-on",
})  # fmt: skip
_OF_NO_INTEREST = frozenset({"restow.plan.paused", "restow.plan.resumed"})


def _hear(draft: Draft, event: Event, signal: Signal) -> None:
    if not signals.take(draft.signals, signal) or not signal.firing:
        return
    incident = incident_of(signal, draft.incidents)
    if incident is not None:
        text = signals.text_of(signal)
        field = field_for(signal, incident)
        add_lines(draft, incident, field=field, lines=(text,), why=f"also seen: {text}", cause=event)


def _maintain(draft: Draft, event: Event, order: HostMaintenance) -> None:
    if order.on:
        draft.maintenance[order.host] = Maintenance(by=order.by, since=draft.now, reason=order.reason)
        why = f"maintenance begins, by {order.by}: {order.reason}"
    else:
        draft.maintenance.pop(order.host, None)
        why = f"maintenance ends, by {order.by}: {order.reason}"
    told = HostEvent(host=order.host, why=why.rstrip(": "), by=order.by, on=order.on)
    draft.events.append(
        effect_of(event, "restow.host.maintenance", told, source=SOURCE, subject=order.host, time=draft.now)
    )
    if not order.on:
        return
    known = draft.health.get(order.host)
    if known is not None and known.health is Health.FAILED:
        why = f"{order.host} has failed: servers cannot leave it live, and its incident recovers them"
        refuse(draft, key=order.host, guard="host-failed", what=f"evacuate {order.host}", why=why,
               hosts=(order.host,), cause=event)  # fmt: skip
        return
    plan = id_of_effect(event.id, "plan")
    reason = f"maintenance of {order.host}: {order.reason}".rstrip(": ")[:1000]
    request = EvacuateRequest(
        goal="evacuate", hosts=(order.host,), domain=draft.domain, mode=Mode.AUTO, reason=reason
    )  # fmt: skip
    asked = PlanRequest(plan=plan, request=request, requested_by=order.by, approved_by=order.by)
    draft.events.append(
        effect_of(event, "restow.command.plan.request", asked, source=SOURCE, subject=plan, time=draft.now)
    )


def _order(draft: Draft, event: Event, order: IncidentOrder) -> None:
    incident = draft.incidents.get(order.incident)
    verb = event.type.rsplit(".", 1)[-1]
    said = f"by {order.by}: {order.why}".rstrip(": ")
    if incident is None:
        refuse(draft, key=verb, guard="incident-state", what=f"{verb} incident {order.incident}",
               why="there is no such open incident in this domain", cause=event)  # fmt: skip
    elif verb == "acknowledge":
        update(draft, incident, why=f"acknowledged {said}", cause=event)
    elif incident.plan_stage == "running":
        refuse(draft, key=f"{verb}/{event.id}", guard="incident-state", what=f"{verb} incident {order.incident}",
               why=f"plan {incident.plan} is at work on it: cancel it first", incident=incident, cause=event,
               plan=incident.plan)  # fmt: skip
    else:
        close(draft, incident, "needs-a-person" if _still_so(draft, incident) else "cleared", f"closed {said}", event)


def _still_so(draft: Draft, incident: OpenIncident) -> bool:
    if incident.symptom == "failed-host":
        return any(host in draft.health for host in incident.hosts)
    return any(one.incident == incident.id and one.phase is Phase.ACTIVE for one in draft.trackers.values())


def _follow(draft: Draft, event: Event, message: PlanRequested | PlanProposed | PlanState) -> None:
    """A plan has moved; only the plan that an open incident waits for is of interest."""
    incident = draft.incidents.get(message.incident or event.correlation)
    if incident is None:
        return
    match message:
        case PlanRequested(replaces=replaced) if replaced == incident.plan:
            draft.change(incident, plan=message.plan, plan_stage="running", replaced=incident.replaced + 1)
        case PlanProposed(plan=plan) if plan == incident.plan:
            _proposed(draft, event, incident, message)
        case PlanState(plan=plan) if plan == incident.plan:
            _moved(draft, event, incident, message, event.type.rsplit(".", 1)[-1])
        case _:
            pass


def _proposed(draft: Draft, event: Event, incident: OpenIncident, answer: PlanProposed) -> None:
    stage = incident.plan_stage if incident.plan_stage == "running" else "proposed"
    waits = " and waits for approval" if answer.mode == "propose" and stage == "proposed" else ""
    missing = f", {answer.blockers} servers without a place" if answer.blockers else ""
    why = f"plan {answer.plan} to {answer.goal}: {answer.outcome}, {answer.steps} steps{missing}{waits}"
    update(draft, incident, why=why, cause=event, plan_stage=stage, steps=answer.steps, blockers=answer.blockers,
           plan_outcome=answer.outcome)  # fmt: skip


def _moved(draft: Draft, event: Event, incident: OpenIncident, state: PlanState, to: str) -> None:
    match to:
        case "approved" | "started":
            draft.change(incident, plan_stage="running")
        case "finished":
            _finished(draft, event, incident, state)
        case "failed":
            close(
                draft, incident, "needs-a-person", f"plan {state.plan} failed: {state.why or 'no reason given'}", event
            )
        case "rejected" | "cancelled" if (
            state.by == BY or incident.held or f"withdrawn/{state.plan}" in incident.refused
        ):
            draft.change(incident, plan=None, plan_stage=None)  # our own doing: the incident stays
        case "rejected" | "cancelled":
            why = f"plan {state.plan} was {to} by {state.by}: {state.why}".rstrip(": ")
            close(draft, replace(incident, plan_stage=None), "refused", why, event)
        case "stale" if state.replaced_by is not None:
            why = f"plan {state.plan} is out of date ({state.why}); replaced by {state.replaced_by}"
            update(
                draft, incident, why=why, cause=event, plan=state.replaced_by, plan_stage="running",
                replaced=incident.replaced + 1,
            )  # fmt: skip
        case "stale":
            update(draft, incident, why=f"plan {state.plan} is out of date: {state.why}", cause=event, plan=None,
                   plan_stage=None)  # fmt: skip
        case _:
            pass


def _finished(draft: Draft, event: Event, incident: OpenIncident, state: PlanState) -> None:
    where, failed = ", ".join(incident.hosts) or "the domain", state.counts.get("failed", 0)
    counted = ", ".join(f"{count} {how}" for how, count in sorted(state.counts.items()) if count)
    ended = f"plan {state.plan} finished" + (f" (steps: {counted})" if counted else "")
    if incident.blockers or failed:
        left = [f"{incident.blockers} servers could not be placed"] if incident.blockers else []
        left += [f"{failed} steps failed"] if failed else []
        outcome: IncidentOutcome = "mitigated" if incident.steps > failed else "needs-a-person"
        close(draft, incident, outcome, f"{ended}, but {' and '.join(left)}: see the plan", event)
    elif incident.plan_outcome != "nothing-to-do" or incident.replaced:
        close(draft, incident, "healed", _healed(incident, where, ended), event)
    elif incident.symptom == "failed-host":
        why = f"no servers were on {where}" if not incident.servers else f"nothing is left to do for {where}"
        close(draft, incident, "healed", f"{why}: {state.why or 'nothing had to be moved'}", event)
    elif incident.symptom == "hot-host":
        close(draft, incident, "needs-a-person", f"{where} is hot and no move would improve it", event)
    else:
        close(draft, incident, "cleared", "the planner found nothing to gain", event)


def _healed(incident: OpenIncident, where: str, ended: str) -> str:
    if incident.symptom == "failed-host":
        return f"{ended}: the {len(incident.servers)} servers of {where} are cared for; {where} stays out of service"
    return f"{ended}: {incident.symptom} of {where} is dealt with"

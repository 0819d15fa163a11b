"""The life of an incident: opened, updated, closed exactly once, each with its event; pure.

The ids of all events derive from the incident's, and the incident's from what was first seen of it:
the same judgement made twice is one story.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from restow.cloud.model import Cloud
from restow.ids import id_of_effect
from restow.messages.base import Message
from restow.messages.events import (
    Event,
    HostEvent,
    Incident,
    IncidentClosed,
    IncidentOutcome,
    PlanOrder,
    PlanRequest,
    Refusal,
)
from restow_detector.decide import Ask
from restow_detector.memory import ClosedIncident, Draft, OpenIncident
from restow_detector.symptoms.base import FaultClass, RemediationClass

SOURCE = "restow/detector"
BY = "detector"
EVIDENCE_MAX = 200  # lines of evidence or of explained symptoms kept with one incident


def open_incident(
    draft: Draft,
    cloud: Cloud,
    *,
    symptom: str,
    hosts: tuple[str, ...],
    first_evidence_at: datetime,
    evidence: Iterable[str],
    why: str,
    fault_class: FaultClass,
    remediation_class: RemediationClass,
    with_servers: bool,
    explains: Iterable[str] = (),
    held: str = "",
) -> OpenIncident:
    seed = f"{draft.domain}/{symptom}/{','.join(hosts)}/{first_evidence_at.isoformat()}"
    named = frozenset(hosts)
    incident = OpenIncident(
        id=id_of_effect(seed, "incident"),
        symptom=symptom,
        opened_at=draft.now,
        first_evidence_at=first_evidence_at,
        hosts=hosts,
        servers=tuple(server.id for server in cloud.servers if server.host in named) if with_servers else (),
        zones=tuple(sorted({host.zone for host in cloud.hosts if host.name in named and host.zone})),
        evidence=tuple(evidence)[:EVIDENCE_MAX],
        explains=tuple(explains)[:EVIDENCE_MAX],
        fault_class=fault_class,
        remediation_class=remediation_class,
        why=why,
        held=held,
    )
    draft.incidents[incident.id] = incident
    _tell(draft, incident, "restow.incident.opened", _told(incident), effect="opened", causation=None)
    return incident


def update(draft: Draft, incident: OpenIncident, *, why: str, cause: Event | None = None, **fields: object) -> None:
    """Change fields and tell of it. `why`: what is new, for a person."""
    changed = draft.change(incident, revision=incident.revision + 1, **fields)
    told = _told(changed).model_copy(update={"why": why})
    _tell(draft, changed, "restow.incident.updated", told, effect=f"updated/{changed.revision}", causation=cause)


def add_lines(draft: Draft, incident: OpenIncident, *, field: str, lines: Iterable[str], why: str,
              cause: Event | None = None) -> None:  # fmt: skip
    """Add to `evidence` or `explains` what is not there yet; nothing new, nothing told."""
    known = getattr(incident, field)
    new = tuple(line for line in dict.fromkeys(lines) if line not in known)[: EVIDENCE_MAX - len(known)]
    if new:
        update(draft, incident, why=why, cause=cause, **{field: (*known, *new)})


def close(draft: Draft, incident: OpenIncident, outcome: IncidentOutcome, why: str, cause: Event | None = None) -> None:
    """End it. A plan that nobody has begun yet is taken back."""
    if incident.plan is not None and incident.plan_stage in ("requested", "proposed"):
        cancel_plan(draft, incident, why=f"the incident is closed: {why}", cause=cause)
    del draft.incidents[incident.id]
    draft.closed.append(ClosedIncident(incident, draft.now, outcome, why))
    message = IncidentClosed(
        id=incident.id, symptom=incident.symptom, hosts=incident.hosts, servers=incident.servers,
        evidence=incident.evidence, explains=incident.explains, outcome=outcome, why=why,
    )  # fmt: skip
    _tell(draft, incident, "restow.incident.closed", message, effect="closed", causation=cause)


def ask_for_plan(draft: Draft, incident: OpenIncident, ask: Ask) -> None:
    opened = opened_event_id(incident)
    plan = id_of_effect(opened, "plan" if not incident.plans else f"plan/{incident.plans}")
    message = PlanRequest(plan=plan, request=ask.request, requested_by="policy", incident=incident.id)
    draft.requested_at[ask.rule] = draft.now
    changed = draft.change(
        incident, plan=plan, plan_stage="requested", plans=incident.plans + 1, steps=0, blockers=0,
        plan_outcome="", replaced=0,
        refused=(),
    )  # fmt: skip
    _tell(draft, changed, "restow.command.plan.request", message, effect=f"request/{plan}", causation=None,
          subject=plan)  # fmt: skip


def cancel_plan(draft: Draft, incident: OpenIncident, *, why: str, cause: Event | None = None) -> None:
    assert incident.plan is not None
    message = PlanOrder(plan=incident.plan, by=BY, why=why)
    _tell(draft, incident, "restow.command.plan.cancel", message, effect=f"cancel/{incident.plan}", causation=cause,
          subject=incident.plan)  # fmt: skip


def refuse(
    draft: Draft, *, key: str, guard: str, what: str, why: str, hosts: tuple[str, ...] = (),
    incident: OpenIncident | None = None, cause: Event | None = None, plan: str | None = None,
) -> None:  # fmt: skip
    """Put on record what was not done. `key` makes its id: the same refusal told twice is one."""
    message = Refusal(
        what=what, guard=guard, why=why, hosts=hosts, plan=plan, incident=None if incident is None else incident.id
    )
    seed = incident.id if incident is not None else cause.id if cause is not None else draft.domain
    event_id = id_of_effect(seed, f"refusal/{guard}/{key}")
    story = incident.id if incident is not None else cause.correlation if cause is not None else event_id
    draft.events.append(
        Event(
            id=event_id,
            type="restow.refusal",
            source=SOURCE,
            domain=draft.domain,
            subject=incident.id if incident is not None else hosts[0] if hosts else draft.domain,
            time=draft.now,
            data=message.dump(),
            correlation=story,
            causation=cause.id if cause is not None else None,
            traceparent=cause.traceparent if cause else None,
        )
    )


def tell_of_host(draft: Draft, event_type: str, host: str, *, why: str, key: str, incident: str | None) -> None:
    event_id = id_of_effect(f"{draft.domain}/{host}/{key}", event_type)
    draft.events.append(
        Event(
            id=event_id,
            type=event_type,
            source=SOURCE,
            domain=draft.domain,
            subject=host,
            time=draft.now,
            data=HostEvent(host=host, why=why, by=BY).dump(),
            correlation=incident or event_id,
        )
    )


def opened_event_id(incident: OpenIncident) -> str:
    return id_of_effect(incident.id, "opened")


def _told(incident: OpenIncident) -> Incident:
    known = asdict(incident)
    return Incident(**{name: known[name] for name in Incident.model_fields})


def _tell(
    draft: Draft, incident: OpenIncident, event_type: str, message: Message, *, effect: str,
    causation: Event | None, subject: str | None = None,
) -> None:  # fmt: skip
    event_id = id_of_effect(incident.id, effect)
    opened = opened_event_id(incident)
    draft.events.append(
        Event(
            id=event_id,
            type=event_type,
            source=SOURCE,
            domain=draft.domain,
            subject=subject or incident.id,
            time=draft.now,
            data=message.dump(),
            correlation=incident.id,
            causation=causation.id if causation is not None else opened if event_id != opened else None,
            traceparent=causation.traceparent if causation is not None else None,
        )
    )

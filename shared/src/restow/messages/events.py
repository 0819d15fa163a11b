"""Every event of the log: its envelope (CloudEvents 1.0), its type, its data; pure.

To add a type: write its data model, name it in CATALOGUE, add its golden file under tests/contract/.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from restow.errors import PermanentError
from restow.ids import id_of_effect
from restow.messages.base import Message, read_own
from restow.messages.request import Changes, WrittenRequest


class Topic(StrEnum):
    TELEMETRY = "restow.telemetry.v1"
    COMMANDS = "restow.commands.v1"
    HEALING = "restow.healing.v1"
    DEAD = "restow.dead.v1"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    `correlation` is the incident or request that a whole story shares, `causation` the event that caused this one,
    `domain` the partition key.
    """

    id: str
    type: str
    source: str  # "restow/detector", …
    domain: str
    subject: str
    time: datetime
    data: Mapping[str, Any]
    correlation: str
    causation: str | None = None
    traceparent: str | None = None

    @property
    def topic(self) -> Topic:
        return topic_of(self.type)


# --- telemetry -----------------------------------------------------------------------------


class Signal(Message):
    """What an outside source says of a host or server: evidence, or a symptom it saw itself.

    `firing` false: the source takes it back. `kind`: "host-down", "hot-host", or the alert's own name.
    """

    source: str
    kind: str
    host: str | None = None
    server: str | None = None
    firing: bool = True
    severity: str = "warning"
    text: str = ""
    observed_at: datetime
    labels: dict[str, str] = Field(default_factory=dict)


# --- commands ------------------------------------------------------------------------------


class PlanRequest(Message):
    """Ask for a plan. `approved_by`: approval inherited from the plan that this one replaces."""

    plan: str
    request: WrittenRequest
    requested_by: str
    incident: str | None = None
    replaces: str | None = None
    attempt: int = 1
    approved_by: str | None = None
    changes: Changes | None = None


class PlanOrder(Message):
    """Approve, reject, cancel, pause, resume or undo a plan; the type of the event says which."""

    plan: str
    by: str
    why: str = ""


class HostMaintenance(Message):
    """Healing off and host emptied (`on`), or back in service."""

    host: str
    on: bool
    by: str
    reason: str = ""


class IncidentOrder(Message):
    """Acknowledge or close an incident; the type of the event says which."""

    incident: str
    by: str
    why: str = ""


class PolicyPut(Message):
    """Put this policy document (restow.policy/1, as JSON) in force."""

    document: dict[str, Any]
    by: str


# --- healing -------------------------------------------------------------------------------

IncidentOutcome = Literal["healed", "mitigated", "cleared", "refused", "needs-a-person"]


class Incident(Message):
    """An incident as opened or updated. `explains`: symptoms that this one cause accounts for."""

    id: str
    symptom: str
    hosts: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    fault_class: Literal["hardware", "software", "performance", "network"] = "hardware"
    remediation_class: Literal["reactive", "proactive", "predictive"] = "reactive"
    why: str = ""
    plan: str | None = None


class IncidentClosed(Message):
    id: str
    symptom: str
    hosts: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    outcome: IncidentOutcome
    why: str


class PlanRequested(Message):
    plan: str
    request: WrittenRequest
    requested_by: str
    incident: str | None = None
    replaces: str | None = None
    attempt: int = 1


class PlanProposed(Message):
    """The planner's answer, whatever its outcome.

    `document` is the digest of the restow.plan/1, `snapshot` that of the restow.cloud/1 it was made from
    (see restow.database.documents).
    """

    plan: str
    outcome: Literal["plan", "nothing-to-do", "impossible", "undecided"]
    mode: Literal["dry-run", "propose", "auto"]
    document: str
    snapshot: str
    goal: str
    steps: int
    moved_mib: int
    makespan_s: float
    blockers: int
    why: str = ""
    incident: str | None = None


class PlanState(Message):
    """A plan has come to the state that the type names. `by` is who or what brought it there."""

    plan: str
    by: str
    why: str = ""
    document: str | None = None
    incident: str | None = None
    goal: str = ""
    mode: str = ""
    replaced_by: str | None = None
    counts: dict[str, int] = Field(default_factory=dict, description="steps by how they ended")


class StepEvent(Message):
    plan: str
    step: str
    action: str
    server: str | None = None
    source: str | None = Field(default=None, alias="from")
    target: str | None = Field(default=None, alias="to")
    host: str | None = None
    request_ids: tuple[str, ...] = ()
    seconds: float = 0.0
    why: str = ""


class HostEvent(Message):
    """`on`: of maintenance, whether it begins or ends; null where it was told before this field was there."""

    host: str
    why: str = ""
    by: str = ""
    plan: str | None = None
    on: bool | None = None


class DeadLetter(Message):
    """An event that a consumer group could not handle. `reason` is for a person."""

    id: str
    consumer: str
    event: dict[str, Any]
    reason: str
    attempts: int


class Refusal(Message):
    """What was not done, and why."""

    what: str
    guard: str
    why: str
    hosts: tuple[str, ...] = ()
    plan: str | None = None
    incident: str | None = None


CATALOGUE: Mapping[str, tuple[Topic, type[Message]]] = {
    "restow.signal": (Topic.TELEMETRY, Signal),
    "restow.command.plan.request": (Topic.COMMANDS, PlanRequest),
    **{
        f"restow.command.plan.{verb}": (Topic.COMMANDS, PlanOrder)
        for verb in ("approve", "reject", "cancel", "pause", "resume", "undo")
    },
    "restow.command.host.maintenance": (Topic.COMMANDS, HostMaintenance),
    "restow.command.incident.acknowledge": (Topic.COMMANDS, IncidentOrder),
    "restow.command.incident.close": (Topic.COMMANDS, IncidentOrder),
    "restow.command.policies.put": (Topic.COMMANDS, PolicyPut),
    "restow.incident.opened": (Topic.HEALING, Incident),
    "restow.incident.updated": (Topic.HEALING, Incident),
    "restow.incident.closed": (Topic.HEALING, IncidentClosed),
    "restow.plan.requested": (Topic.HEALING, PlanRequested),
    "restow.plan.proposed": (Topic.HEALING, PlanProposed),
    **{
        f"restow.plan.{state}": (Topic.HEALING, PlanState)
        for state in (
            "approved",
            "rejected",
            "started",
            "paused",
            "resumed",
            "cancelled",
            "stale",
            "finished",
            "failed",
        )
    },
    **{f"restow.step.{state}": (Topic.HEALING, StepEvent) for state in ("started", "finished", "failed", "skipped")},
    **{
        f"restow.host.{change}": (Topic.HEALING, HostEvent)
        for change in (
            "fenced",
            "disabled",
            "enabled",
            "maintenance",
            "powered-off",
            "powered-on",
            "returned",
        )
    },
    "restow.refusal": (Topic.HEALING, Refusal),
    "restow.dead": (Topic.DEAD, DeadLetter),
}


def topic_of(event_type: str) -> Topic:
    """The topic of a type; PermanentError for a type that is not ours."""
    if event_type not in CATALOGUE:
        raise PermanentError(f"unknown event type {event_type!r}: it is not in the catalogue of this version")
    return CATALOGUE[event_type][0]


def decode(event: Event) -> Message:
    """The typed data of an event. Raises PermanentError where type or data is not ours."""
    topic_of(event.type)
    topic, model = CATALOGUE[event.type]
    try:
        if topic is not Topic.COMMANDS:
            return read_own(model, json.dumps(event.data))
        known = {name for key, info in model.model_fields.items() for name in (key, info.alias or key)}
        return model.model_validate_json(json.dumps({k: v for k, v in event.data.items() if k in known}))
    except ValueError as error:
        raise PermanentError(f"{event.type} {event.id}: {error}") from error


def first_event(
    event_type: str, message: Message, *, id: str, source: str, domain: str, subject: str, time: datetime,
    correlation: str, traceparent: str | None = None,
) -> Event:  # fmt: skip
    """An event without a cause in the log: a request from outside, a poll's finding."""
    return Event(
        id=id, type=event_type, source=source, domain=domain, subject=subject, time=time,
        data=message.dump(), correlation=correlation, traceparent=traceparent,
    )  # fmt: skip


def effect_of(
    cause: Event, event_type: str, message: Message, *, source: str, subject: str, time: datetime,
    effect: str | None = None, domain: str | None = None,
) -> Event:  # fmt: skip
    """An event caused by another: same story, an id that is the same at every delivery.

    `effect` tells apart several events of one type with one cause; default: type and subject.
    """
    return Event(
        id=id_of_effect(cause.id, effect or f"{event_type}/{subject}"), type=event_type, source=source,
        domain=domain or cause.domain, subject=subject, time=time, data=message.dump(),
        correlation=cause.correlation, causation=cause.id, traceparent=cause.traceparent,
    )  # fmt: skip

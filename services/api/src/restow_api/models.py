"""The shapes of answers and of the api's own bodies, for the OpenAPI document; pure."""

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from restow.cloud.documents import HostDocument, ServerDocument
from restow.messages.base import Message
from restow.messages.events import Signal
from restow.messages.plan import Plan, Step
from restow.messages.request import AnyRequest, Changes

T = TypeVar("T")

PlanStateName = Literal[
    "requested", "proposed", "approved", "running", "paused", "finished", "failed", "rejected", "cancelled", "stale"
]
IncidentStateName = Literal["open", "closed"]
IncidentOutcomeName = Literal["healed", "mitigated", "cleared", "refused", "needs-a-person"]
Reason = Annotated[str, Field(max_length=1000)]


# --- bodies ------------------------------------------------------------------------------------


class WhatIf(Message):
    """Changes to the latest snapshot and a request; the mode is always dry-run."""

    request: AnyRequest
    changes: Changes = Changes()


class Order(Message):
    """Why this is asked for."""

    why: Reason = ""


class MaintenanceOrder(Message):
    """Why the host is taken out of service."""

    reason: Reason = ""


class Fault(Message):
    """Trouble on the simulated cloud."""

    kind: Literal["host-crash", "host-hang", "network-loss", "agent-down", "hot-host"]
    host: str = Field(min_length=1, max_length=255)
    domain: str | None = None


class NewKey(Message):
    """An API key to be made."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    role: Literal["viewer", "operator", "approver", "admin"]


class Foreign(BaseModel):
    """A format that others own: strict about what we read, open to what they add."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Alert(Foreign):
    """One alert of Alertmanager's webhook, version 4."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: datetime = Field(alias="startsAt")
    ends_at: datetime | None = Field(alias="endsAt", default=None)
    generator_url: str = Field(alias="generatorURL", default="")
    fingerprint: str = ""


class Alerts(Foreign):
    """Alertmanager's webhook body, version 4. What it adds in later versions is let pass."""

    version: Literal["4"]
    alerts: list[Alert] = Field(max_length=10_000)
    group_key: str = Field(alias="groupKey", default="")
    truncated_alerts: int = Field(alias="truncatedAlerts", default=0)
    status: str = ""
    receiver: str = ""
    group_labels: dict[str, str] = Field(alias="groupLabels", default_factory=dict)
    common_labels: dict[str, str] = Field(alias="commonLabels", default_factory=dict)
    common_annotations: dict[str, str] = Field(alias="commonAnnotations", default_factory=dict)
    external_url: str = Field(alias="externalURL", default="")


class SignalData(Message):
    """The data of a CloudEvent that is a signal; what is absent comes from the envelope."""

    source: str | None = None
    kind: str | None = Field(default=None, min_length=1)
    host: str | None = None
    server: str | None = None
    firing: bool = True
    severity: str = "warning"
    text: str = ""
    observed_at: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)


class SignalEvent(Foreign):
    """A CloudEvent in structured mode; extension attributes are let pass."""

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=1000)
    source: str = Field(min_length=1, max_length=1000)
    type: str = Field(min_length=1, max_length=1000)
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: SignalData = SignalData()


BODIES: tuple[type[BaseModel], ...] = (
    WhatIf, Order, MaintenanceOrder, Fault, NewKey, Alerts, SignalEvent, Signal,
)  # fmt: skip


# --- answers -----------------------------------------------------------------------------------


class Collection(BaseModel, Generic[T]):
    """A page. `next` is the cursor of the page after it, null at the end."""

    items: list[T]
    next: str | None


class HostRead(HostDocument):
    domain: str
    used: dict[str, int] = Field(description="claimed by the servers on it")
    servers: int
    takes_servers: bool


class ServerRead(ServerDocument):
    domain: str
    groups: list[str]


class PlanSummary(BaseModel):
    id: str
    state: PlanStateName
    domain: str
    goal: str
    mode: str
    request: AnyRequest
    changes: Changes | None
    incident: str | None
    correlation: str
    replaces: str | None
    replaced_by: str | None
    undone_by: str | None
    attempt: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    outcome: Literal["plan", "nothing-to-do", "impossible", "undecided"] | None
    steps: int | None
    blockers: int | None
    why: str
    approved_by: str | None
    approved_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    counts: dict[str, int]
    document: str | None
    snapshot: str | None
    possible: list[str] = Field(description="what may be done with it in this state")


class PlanRead(PlanSummary):
    plan: Plan | None = Field(description="restow.plan/1; null until it was made")


class StepRead(Step):
    state: Literal["waiting", "running", "finished", "failed", "skipped"]
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    outcome: str
    request_ids: list[str]


class IncidentRead(BaseModel):
    id: str
    state: IncidentStateName
    domain: str
    symptom: str
    hosts: list[str] | None
    servers: list[str] | None
    evidence: list[str] | None
    explains: list[str] | None
    fault_class: str | None
    remediation_class: str | None
    why: str | None
    plan: str | None
    plans: list[str] | None = Field(default=None, description="all plans made for it; with a single incident only")
    outcome: IncidentOutcomeName | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class EventRead(BaseModel):
    """CloudEvents 1.0."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    domain: str
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    data: dict[str, Any]


class MaintenanceRead(BaseModel):
    host: str
    domain: str
    on: bool
    event: str
    correlation: str


class AuditRead(BaseModel):
    id: int
    at: datetime
    by: str
    role: str
    action: str
    subject: str
    domain: str
    result: Literal["accepted", "done", "refused"]
    why: str
    event: str | None


class KeyRead(BaseModel):
    id: str
    name: str
    role: str
    created_at: datetime
    created_by: str
    revoked_at: datetime | None


class KeyMade(KeyRead):
    key: str = Field(description="shown this once")


class FaultRead(BaseModel):
    kind: str
    host: str
    domain: str


class SignalsRead(BaseModel):
    accepted: int
    duplicates: int
    ignored: list[str] = Field(description="what was not taken, and why")


class Valid(BaseModel):
    valid: Literal[True]
    warnings: list[str] = Field(default=[], description="what is allowed and seldom meant")


class Ready(BaseModel):
    ready: Literal[True]
    checks: list[str]


class Alive(BaseModel):
    alive: Literal[True]


class GraphRead(BaseModel):
    """The graph of a plan: steps and the edges between them."""

    model_config = {"extra": "allow"}

"""What the detector remembers of one domain between two looks, as frozen values; pure.

All of it is one value so that one compare-and-set keeps two processes from undoing each other's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from restow.messages.events import Event, Signal


class Health(StrEnum):
    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAILED = "failed"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class HostHealth:
    """`since`: in this state. `agreed_since`: since when a quorum says dead without a break.

    `first_evidence_at`, `failed_at`: of the failure that is under way. `incident`: the one that tells of it.
    """

    health: Health
    since: datetime
    agreed_since: datetime | None = None
    first_evidence_at: datetime | None = None
    failed_at: datetime | None = None
    incident: str | None = None
    told: tuple[str, ...] = ()  # guards whose refusal is on record for this failure


class Phase(StrEnum):
    QUIET = "quiet"  # kept only while the cool-down lasts
    RISING = "rising"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Tracker:
    """How long a symptom has held. `quiet_until`: no second incident before."""

    phase: Phase
    since: datetime
    quiet_until: datetime | None = None
    incident: str | None = None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A person has taken this host out of healing."""

    by: str
    since: datetime
    reason: str = ""


PlanStage = Literal["requested", "proposed", "running"]


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that has not ended. `held`: the guard that keeps everyone from acting on it.

    `plan` is the plan that is under way, `plans` how many were asked for, `replaced` how often the one at work
    made way for another, `refused` the reasons already told.
    """

    id: str
    symptom: str
    opened_at: datetime
    first_evidence_at: datetime
    hosts: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    fault_class: Literal["hardware", "software", "performance", "network"] = "hardware"
    remediation_class: Literal["reactive", "proactive", "predictive"] = "reactive"
    why: str = ""
    held: str = ""
    plan: str | None = None
    plan_stage: PlanStage | None = None
    plans: int = 0
    steps: int = 0
    blockers: int = 0
    plan_outcome: str = ""
    replaced: int = 0
    refused: tuple[str, ...] = ()
    reminded: bool = False
    revision: int = 0


@dataclass(frozen=True, slots=True)
class ClosedIncident:
    """The end of an incident: written once."""

    incident: OpenIncident
    closed_at: datetime
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Memory:
    """`health` holds hosts that are not simply healthy. `signals`: firing, by source, kind, host and server.

    `switched_off`: hosts that a plan has powered off. `requested_at`: last plan of a policy rule.
    `without_data`: hosts that a symptom could not judge, told once. `looked_at`: the last look while timers ran.
    """

    health: Mapping[str, HostHealth] = field(default_factory=dict)
    trackers: Mapping[str, Tracker] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)
    maintenance: Mapping[str, Maintenance] = field(default_factory=dict)
    switched_off: Mapping[str, Maintenance] = field(default_factory=dict)
    requested_at: Mapping[str, datetime] = field(default_factory=dict)
    without_data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blind_since: datetime | None = None
    looked_at: datetime | None = None
    incidents: Mapping[str, OpenIncident] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one look or one event has changed: the memory afterwards, and what is to be told."""

    memory: Memory
    events: tuple[Event, ...] = ()
    closed: tuple[ClosedIncident, ...] = ()


@dataclass(slots=True)
class Draft:
    """A memory being rewritten during one judgement; nothing outside sees it before `done`."""

    domain: str
    now: datetime
    start: Memory
    health: dict[str, HostHealth]
    trackers: dict[str, Tracker]
    signals: dict[str, Signal]
    maintenance: dict[str, Maintenance]
    switched_off: dict[str, Maintenance]
    requested_at: dict[str, datetime]
    without_data: dict[str, tuple[str, ...]]
    incidents: dict[str, OpenIncident]
    blind_since: datetime | None
    looked_at: datetime | None
    events: list[Event] = field(default_factory=list)
    closed: list[ClosedIncident] = field(default_factory=list)

    @classmethod
    def of(cls, memory: Memory, *, domain: str, now: datetime) -> "Draft":
        return cls(
            domain=domain, now=now, start=memory, health=dict(memory.health), trackers=dict(memory.trackers),
            signals=dict(memory.signals), maintenance=dict(memory.maintenance),
            switched_off=dict(memory.switched_off), requested_at=dict(memory.requested_at),
            without_data=dict(memory.without_data), incidents=dict(memory.incidents),
            blind_since=memory.blind_since, looked_at=memory.looked_at,
        )  # fmt: skip

    def done(self) -> Verdict:
        memory = Memory(
            health=self.health, trackers=self.trackers, signals=self.signals, maintenance=self.maintenance,
            switched_off=self.switched_off, requested_at=self.requested_at, without_data=self.without_data,
            blind_since=self.blind_since, looked_at=self.looked_at, incidents=self.incidents,
        )  # fmt: skip
        return Verdict(self.start if memory == self.start else memory, tuple(self.events), tuple(self.closed))

    def change(self, incident: OpenIncident, **fields: Any) -> OpenIncident:
        """Keep the incident with these fields changed, and return it."""
        changed = replace(incident, **fields)
        self.incidents[incident.id] = changed
        return changed

"""What the journal remembers of a run and its steps, as values; and the events that tell of them; pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from restow.ids import id_of_effect
from restow.messages.base import Message
from restow.messages.events import Event, HostEvent, PlanState, Refusal, StepEvent
from restow.messages.plan import Step
from restow.messages.request import AnyRequest
from restow_executor.progress import RunState, StepState

SOURCE = "restow/executor"

Kind = Literal["plan", "chore"]


@dataclass(frozen=True, slots=True)
class Cause:
    """Of the event that began a run: what its effects carry on."""

    id: str
    correlation: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A plan that is carried out, or a chore: host steps that a command asked for without a plan.

    `subject` is the plan of a plan's run and of an undo, the host of a maintenance. `attempt` counts the
    plans of one request from 1. `request` is null for a maintenance.
    """

    id: str
    kind: Kind
    domain: str
    state: RunState
    cause: Cause
    created_at: datetime
    subject: str
    goal: str = ""
    mode: str = ""
    incident: str | None = None
    document: str | None = None
    request: AnyRequest | None = None
    attempt: int = 1
    by: str = ""
    planned_at: datetime | None = None
    started_at: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """`asked`: the request ids under which the cloud was asked, oldest first. `before`: what was seen at the start."""

    run: str
    step: Step
    state: StepState
    asked: tuple[str, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    started_at: datetime | None = None
    ended_at: datetime | None = None
    why: str = ""


def request_id_of(run: str, step: str, attempt: int) -> str:
    """The id under which the cloud is asked: known before the call, so that a lost answer can be looked for."""
    return id_of_effect(f"{run}/{step}", f"ask/{attempt}")


def event_of(run: RunRecord, event_type: str, message: Message, *, subject: str, at: datetime, effect: str,
             cause: str | None = None) -> Event:  # fmt: skip
    """An event of this run's story. Its id derives from the run and `effect`, so twice is once."""
    return Event(
        id=id_of_effect(run.id, f"{event_type}/{effect}"), type=event_type, source=SOURCE, domain=run.domain,
        subject=subject, time=at, data=message.dump(), correlation=run.cause.correlation,
        causation=cause or run.cause.id, traceparent=run.cause.traceparent,
    )  # fmt: skip


def plan_event(
    run: RunRecord, state: str, *, by: str, why: str, at: datetime, cause: str | None = None,
    replaced_by: str | None = None, counts: Mapping[str, int] | None = None, effect: str = "",
) -> Event:  # fmt: skip
    message = PlanState(
        plan=run.id, by=by, why=why, document=run.document, incident=run.incident, goal=run.goal, mode=run.mode,
        replaced_by=replaced_by, counts=dict(counts or {}),
    )  # fmt: skip
    return event_of(run, f"restow.plan.{state}", message, subject=run.id, at=at, effect=effect or state, cause=cause)


def step_event(run: RunRecord, record: StepRecord, change: str, *, at: datetime) -> Event:
    step = record.step
    seconds = 0.0 if record.started_at is None else (at - record.started_at).total_seconds()
    message = StepEvent(
        plan=run.id, step=step.id, action=step.action.value, server=step.server, source=step.source,
        target=step.target, host=step.host, request_ids=record.asked, seconds=round(max(0.0, seconds), 3),
        why=record.why,
    )  # fmt: skip
    return event_of(run, f"restow.step.{change}", message, subject=run.id, at=at, effect=f"{change}/{step.id}")


def host_event(run: RunRecord, record: StepRecord, change: str, *, at: datetime) -> Event:
    host = record.step.host or ""
    plan = run.subject if run.kind == "plan" else None
    message = HostEvent(host=host, why=record.why, by=run.by or "executor", plan=plan)
    return event_of(run, f"restow.host.{change}", message, subject=host, at=at, effect=f"{change}/{record.step.id}")


def refusal_event(
    run: RunRecord, *, what: str, guard: str, why: str, at: datetime, effect: str, hosts: tuple[str, ...] = ()
) -> Event:
    plan = run.subject if run.kind == "plan" or run.goal == "undo" else None
    message = Refusal(what=what, guard=guard, why=why, hosts=hosts, plan=plan, incident=run.incident)
    return event_of(run, "restow.refusal", message, subject=run.subject, at=at, effect=effect)


def as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

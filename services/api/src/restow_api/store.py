"""The tables of the api: keys, sessions, read views, idempotent answers, the audit. Only the api writes them."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from restow.database.tables import BigId, Row, UtcDateTime


class ApiKeyRow(Row):
    """A key is shown once; only the digest of its secret is kept."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(64))
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SessionRow(Row):
    """A browser that logged in with a key; it ends with its time or with its key."""

    __tablename__ = "api_session"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(32), index=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class PlanViewRow(Row):
    """What is known of a plan, folded from the events about it."""

    __tablename__ = "plan_view"
    __table_args__ = (Index("ix_plan_view_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16), index=True)
    goal: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    request: Mapped[str] = mapped_column(Text)
    changes: Mapped[str | None] = mapped_column(Text)
    correlation: Mapped[str] = mapped_column(String(64))
    incident: Mapped[str | None] = mapped_column(String(64), index=True)
    replaces: Mapped[str | None] = mapped_column(String(64))
    replaced_by: Mapped[str | None] = mapped_column(String(64))
    undone_by: Mapped[str | None] = mapped_column(String(64))
    attempt: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(255))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(16))
    document: Mapped[str | None] = mapped_column(String(80))
    snapshot: Mapped[str | None] = mapped_column(String(80))
    steps: Mapped[int | None]
    blockers: Mapped[int | None]
    why: Mapped[str] = mapped_column(Text)
    approved_by: Mapped[str | None] = mapped_column(String(255))
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    counts: Mapped[str] = mapped_column(Text)


class StepViewRow(Row):
    """How a step of a plan went; steps that have not begun have no row."""

    __tablename__ = "step_view"

    plan: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    seconds: Mapped[float]
    why: Mapped[str] = mapped_column(Text)
    request_ids: Mapped[str] = mapped_column(Text)


class IncidentViewRow(Row):
    """What is known of an incident; `body` is its latest event's data."""

    __tablename__ = "incident_view"
    __table_args__ = (Index("ix_incident_view_opened_at_id", "opened_at", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16), index=True)
    symptom: Mapped[str] = mapped_column(String(64))
    hosts: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str | None] = mapped_column(String(32))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(255))


class PolicyViewRow(Row):
    """Every policy that was put, newest last; the newest is in force."""

    __tablename__ = "policy_view"

    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    event: Mapped[str] = mapped_column(String(64), unique=True)
    document: Mapped[str] = mapped_column(Text)
    put_by: Mapped[str] = mapped_column(String(255))
    put_at: Mapped[datetime] = mapped_column(UtcDateTime)


class IdempotencyRow(Row):
    """The answer that was given under a caller's key, so that asking again gives it again."""

    __tablename__ = "idempotent_answer"

    caller: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    plan: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class AuditRow(Row):
    """Who did what, or was refused it."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    by: Mapped[str] = mapped_column(String(255), index=True)
    role: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(128))
    subject: Mapped[str] = mapped_column(String(255))
    domain: Mapped[str] = mapped_column(String(255))
    result: Mapped[str] = mapped_column(String(16))
    why: Mapped[str] = mapped_column(Text)
    event: Mapped[str | None] = mapped_column(String(64))

"""The rows that all services share: the log, inbox, offsets, dead letters, leases, documents.

A service's own rows live in its own store. Every table is created by the migrations.
"""

from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Index, Integer, LargeBinary, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


class UtcDateTime(TypeDecorator[datetime]):
    """A time with zone UTC on every database; SQLite alone would lose the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> datetime | None:  # noqa: ARG002
        assert value is None or value.tzinfo is not None, "times carry their zone"
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class Row(DeclarativeBase):
    """Base of every mapped row, of `shared/` and of the services: one metadata for the migrations' test."""


class EventRow(Row):
    """The append-only log: outbox, embedded log and audit trail in one."""

    __tablename__ = "event_log"
    __table_args__ = (
        Index("ix_event_log_topic_seq", "topic", "seq"),
        Index("ix_event_log_correlation_seq", "correlation", "seq"),
        Index("ix_event_log_subject_seq", "subject", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    topic: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(128))
    domain: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255))
    time: Mapped[datetime] = mapped_column(UtcDateTime)
    data: Mapped[str] = mapped_column(Text)
    correlation: Mapped[str] = mapped_column(String(64))
    causation: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(64))


class InboxRow(Row):
    """A consumer group has handled an event."""

    __tablename__ = "inbox"

    consumer: Mapped[str] = mapped_column(String(64), primary_key=True)
    event: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class PositionRow(Row):
    """How far a follower of `event_log` has come: an embedded consumer group, or the relay."""

    __tablename__ = "position"

    consumer: Mapped[str] = mapped_column(String(64), primary_key=True)
    seq: Mapped[int] = mapped_column(BigId)


class DeadLetterRow(Row):
    """An event that a consumer group could not handle, with the reason."""

    __tablename__ = "dead_letter"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    consumer: Mapped[str] = mapped_column(String(64))
    event: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(16))  # dead, replay, replayed


class LeaseRow(Row):
    """Who may act alone, until when. `epoch` grows with each new holder and guards every write."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    holder: Mapped[str] = mapped_column(String(128))
    epoch: Mapped[int] = mapped_column(BigId)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DocumentRow(Row):
    """A snapshot or a plan by the digest of its content; the planner is the only writer."""

    __tablename__ = "document"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    body: Mapped[bytes] = mapped_column(LargeBinary)  # gzip
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


__all__ = [
    "BigId", "DeadLetterRow", "DocumentRow", "EventRow", "InboxRow", "LeaseRow", "PositionRow", "Row", "UtcDateTime",
]  # fmt: skip

"""The detector's rows: what it remembers of each domain, its incidents, the policies that were in force."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Index, String, Text, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from restow.database.engine import Database, Transaction
from restow.database.tables import BigId, Row, UtcDateTime
from restow.errors import TransientError
from restow.policy import Policy, parse_policy
from restow_detector.memory import ClosedIncident, Memory, OpenIncident, Verdict


class DetectorStateRow(Row):
    """The memory of one domain but for its incidents. `version` grows with every write to either."""

    __tablename__ = "detector_state"

    domain: Mapped[str] = mapped_column(String(255), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    memory: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class HostHealthRow(Row):
    """The health of each host that is not simply healthy, for people and reports; the memory is what counts."""

    __tablename__ = "host_health"

    domain: Mapped[str] = mapped_column(String(255), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    health: Mapped[str] = mapped_column(String(16))
    since: Mapped[datetime] = mapped_column(UtcDateTime)


class IncidentRow(Row):
    """An incident, open or closed. `body` is the whole of it as JSON."""

    __tablename__ = "incident"
    __table_args__ = (Index("ix_incident_domain_state", "domain", "state"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    symptom: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))  # open, closed
    outcome: Mapped[str | None] = mapped_column(String(32))
    why: Mapped[str] = mapped_column(Text)
    plan: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    body: Mapped[str] = mapped_column(Text)


class PolicyRow(Row):
    """A policy that was put in force. `event`: the command that did it; the newest row is in force."""

    __tablename__ = "policy"

    version: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    event: Mapped[str] = mapped_column(String(64), unique=True)
    by: Mapped[str] = mapped_column(String(255))
    digest: Mapped[str] = mapped_column(String(80))
    document: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class MemoryMovedError(TransientError):
    """Another process has written meanwhile: judge again from what is there now."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A memory and the version at which it was read; 0: there was none."""

    version: int
    memory: Memory


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    version: int  # 0: none was ever put, the default holds
    policy: Policy


_MEMORY: TypeAdapter[Memory] = TypeAdapter(Memory)
_INCIDENT: TypeAdapter[OpenIncident] = TypeAdapter(OpenIncident)
NOTHING = Stored(0, Memory())


async def load(database: Database, domain: str, *, known: Stored | None = None) -> Stored:
    """The memory of a domain; `known` is returned as it is while nobody has written."""
    async with database.reading() as session:
        if known is not None:
            version = select(DetectorStateRow.version).where(DetectorStateRow.domain == domain)
            if ((await session.execute(version)).scalar_one_or_none() or 0) == known.version:
                return known
        return await _read(session, domain, lock=False)


async def load_locked(transaction: Transaction, domain: str) -> Stored:
    """The memory inside a transaction; nobody else writes it before the commit."""
    return await _read(transaction.session, domain, lock=True)


async def _read(session: Any, domain: str, *, lock: bool) -> Stored:
    query = select(DetectorStateRow).where(DetectorStateRow.domain == domain)
    row = (await session.execute(query.with_for_update() if lock else query)).scalar_one_or_none()
    if row is None:
        return NOTHING
    wanted = (
        select(IncidentRow.body)
        .where(IncidentRow.domain == domain, IncidentRow.state == "open")
        .order_by(IncidentRow.opened_at, IncidentRow.id)
    )
    bodies = (await session.execute(wanted)).scalars().all()
    incidents = [_INCIDENT.validate_json(body) for body in bodies]
    return Stored(row.version, replace(_MEMORY.validate_json(row.memory), incidents={one.id: one for one in incidents}))


async def save(transaction: Transaction, domain: str, before: Stored, verdict: Verdict, *, at: datetime) -> Stored:
    """Write what has changed, and tell of it. Raises MemoryMovedError if another has written since `before`."""
    session, after = transaction.session, verdict.memory
    body = _MEMORY.dump_json(replace(after, incidents={})).decode()
    if before.version == 0:
        if await session.get(DetectorStateRow, domain) is not None:
            raise MemoryMovedError(f"the memory of {domain} has just been made")
        session.add(DetectorStateRow(domain=domain, version=1, memory=body, at=at))
    else:
        moved: Any = await session.execute(
            update(DetectorStateRow)
            .where(DetectorStateRow.domain == domain, DetectorStateRow.version == before.version)
            .values(version=before.version + 1, memory=body, at=at)
            .execution_options(synchronize_session=False)
        )
        if moved.rowcount != 1:
            raise MemoryMovedError(f"the memory of {domain} has been written meanwhile")
    await _save_health(session, domain, before.memory, after)
    for incident in after.incidents.values():
        if before.memory.incidents.get(incident.id) != incident:
            await session.merge(_row_of(incident, domain))
    for closed in verdict.closed:
        await session.merge(_closed_row_of(closed, domain))
    await session.flush()
    transaction.emit(*verdict.events)
    return Stored(before.version + 1, after)


async def _save_health(session: Any, domain: str, before: Memory, after: Memory) -> None:
    for host in sorted({*before.health, *after.health}):
        known = after.health.get(host)
        if known == before.health.get(host):
            continue
        if known is not None:
            await session.merge(HostHealthRow(domain=domain, host=host, health=known.health.value, since=known.since))
        elif (row := await session.get(HostHealthRow, (domain, host))) is not None:
            await session.delete(row)


def _row_of(incident: OpenIncident, domain: str) -> IncidentRow:
    return IncidentRow(
        id=incident.id, domain=domain, symptom=incident.symptom, state="open", outcome=None, why=incident.why,
        plan=incident.plan, opened_at=incident.opened_at, closed_at=None, body=_INCIDENT.dump_json(incident).decode(),
    )  # fmt: skip


def _closed_row_of(closed: ClosedIncident, domain: str) -> IncidentRow:
    row = _row_of(closed.incident, domain)
    row.state, row.outcome, row.why, row.closed_at = "closed", closed.outcome, closed.why, closed.closed_at
    return row


# --- policies ------------------------------------------------------------------------------


def policy_digest(policy: Policy) -> str:
    body = json.dumps(policy.dump(), sort_keys=True, separators=(",", ":")).encode()
    return "sha256:" + hashlib.sha256(body).hexdigest()


async def load_policy(database: Database, known: PolicyInForce) -> PolicyInForce:
    """The newest policy; `known` as it is while there is no newer one."""
    async with database.reading() as session:
        version = (await session.execute(select(func.max(PolicyRow.version)))).scalar_one_or_none() or 0
        if version == known.version:
            return known
        row = await session.get(PolicyRow, version)
        assert row is not None, "policies are never deleted"
        return PolicyInForce(version, parse_policy(row.document))


async def last_digest_from(database: Database, by: str) -> str | None:
    """The digest of the last policy that `by` has put."""
    query = select(PolicyRow.digest).where(PolicyRow.by == by).order_by(PolicyRow.version.desc()).limit(1)
    async with database.reading() as session:
        return (await session.execute(query)).scalar_one_or_none()


async def put_policy(transaction: Transaction, policy: Policy, *, event: str, by: str, at: datetime) -> None:
    """Put a policy in force, once for each command."""
    known = await transaction.session.execute(select(PolicyRow.version).where(PolicyRow.event == event))
    if known.first() is None:
        transaction.session.add(
            PolicyRow(event=event, by=by, digest=policy_digest(policy), document=json.dumps(policy.written()), at=at)
        )
        await transaction.session.flush()


__all__ = ["DetectorStateRow", "HostHealthRow", "IncidentRow", "PolicyRow"]

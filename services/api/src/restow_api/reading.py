"""The read views, read: single ones brought up to the end of the log, collections page by page."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from restow.database.documents import get_document
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow
from restow.errors import BadInputError, FieldError, NotFoundError
from restow.messages.base import read_own
from restow.messages.plan import Plan
from restow_api.folding import PLAN_EVENTS, fold_incident, fold_plan
from restow_api.paging import Page, cursor_of, page_of, read_cursor
from restow_api.store import AuditRow, IncidentViewRow, PlanViewRow, StepViewRow

_INCIDENT_EVENTS = ("restow.incident.opened", "restow.incident.updated", "restow.incident.closed")


async def plan_view(database: Database, plan: str) -> PlanViewRow:
    """The plan as the log tells it now: who has just seen an event in the stream finds it here.

    Raises NotFoundError.
    """
    async with database.reading() as session:
        view = await session.get(PlanViewRow, plan)
        told = select(EventRow).where(EventRow.subject == plan, EventRow.type.in_(PLAN_EVENTS)).order_by(EventRow.seq)
        events = [event_of(row) for row in (await session.execute(told)).scalars()]
        if view is not None:
            session.expunge(view)  # what is folded here is for the eye; the handler writes the rows
    for event in events:
        view = fold_plan(view, event)
    if view is None:
        raise NotFoundError(f"no plan has the id {plan!r}")
    return view


async def plan_document(database: Database, view: PlanViewRow) -> bytes | None:
    """The restow.plan/1 of this plan; None until it was made, or when its time has passed."""
    if view.document is None:
        return None
    try:
        return await get_document(database, view.document)
    except NotFoundError:
        return None


async def made_plan(database: Database, view: PlanViewRow) -> Plan | None:
    document = await plan_document(database, view)
    return None if document is None else read_own(Plan, document)


async def steps_of(database: Database, plan: str) -> dict[str, StepViewRow]:
    async with database.reading() as session:
        rows = (await session.execute(select(StepViewRow).where(StepViewRow.plan == plan))).scalars()
        return {row.step: row for row in rows}


@dataclass(frozen=True, slots=True)
class PlanFilter:
    state: str | None = None
    goal: str | None = None
    incident: str | None = None
    created_by: str | None = None
    domain: str | None = None


async def plans(database: Database, wanted: PlanFilter, *, after: str | None, limit: int) -> Page[PlanViewRow]:
    """Newest first."""
    row = PlanViewRow
    statement = select(row)
    for column, value in (
        (row.state, wanted.state), (row.goal, wanted.goal), (row.incident, wanted.incident),
        (row.created_by, wanted.created_by), (row.domain, wanted.domain),
    ):  # fmt: skip
        if value is not None:
            statement = statement.where(column == value)
    begin = _begin(after, "plans")
    if begin is not None:
        statement = statement.where(or_(row.created_at < begin[0], and_(row.created_at == begin[0], row.id < begin[1])))
    statement = statement.order_by(row.created_at.desc(), row.id.desc())
    found: list[PlanViewRow] = await _rows(database, statement, limit)
    return page_of(found, limit=limit, cursor=lambda one: cursor_of("plans", one.created_at.isoformat(), one.id))


async def incident_view(database: Database, incident: str) -> IncidentViewRow:
    """The incident as the log tells it now. Raises NotFoundError."""
    async with database.reading() as session:
        view = await session.get(IncidentViewRow, incident)
        told = (
            select(EventRow)
            .where(EventRow.subject == incident, EventRow.type.in_(_INCIDENT_EVENTS))
            .order_by(EventRow.seq)
        )
        events = [event_of(row) for row in (await session.execute(told)).scalars()]
        if view is not None:
            session.expunge(view)
    for event in events:
        view = fold_incident(view, event)
    if view is None:
        raise NotFoundError(f"no incident has the id {incident!r}")
    return view


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    state: str | None = None
    symptom: str | None = None
    outcome: str | None = None
    host: str | None = None
    domain: str | None = None


async def incidents(
    database: Database, wanted: IncidentFilter, *, after: str | None, limit: int
) -> Page[IncidentViewRow]:
    """Newest first."""
    row = IncidentViewRow
    statement = select(row)
    for column, value in (
        (row.state, wanted.state), (row.symptom, wanted.symptom), (row.outcome, wanted.outcome),
        (row.domain, wanted.domain),
    ):  # fmt: skip
        if value is not None:
            statement = statement.where(column == value)
    if wanted.host is not None:
        statement = statement.where(row.hosts.contains(json.dumps(wanted.host), autoescape=True))
    begin = _begin(after, "incidents")
    if begin is not None:
        statement = statement.where(or_(row.opened_at < begin[0], and_(row.opened_at == begin[0], row.id < begin[1])))
    statement = statement.order_by(row.opened_at.desc(), row.id.desc())
    found: list[IncidentViewRow] = await _rows(database, statement, limit)
    return page_of(found, limit=limit, cursor=lambda one: cursor_of("incidents", one.opened_at.isoformat(), one.id))


async def failed_hosts(database: Database, domain: str) -> frozenset[str]:
    """Hosts that an open incident calls failed."""
    row = IncidentViewRow
    wanted = select(row.hosts).where(row.state == "open", row.symptom == "failed-host", row.domain == domain)
    async with database.reading() as session:
        return frozenset(host for hosts in (await session.execute(wanted)).scalars() for host in json.loads(hosts))


async def audit(
    database: Database, *, by: str | None, action: str | None, subject: str | None, after: str | None, limit: int
) -> Page[AuditRow]:
    """Newest first."""
    statement = select(AuditRow).order_by(AuditRow.seq.desc())
    for column, value in ((AuditRow.by, by), (AuditRow.action, action), (AuditRow.subject, subject)):
        if value is not None:
            statement = statement.where(column == value)
    begin = read_cursor(after, "audit", int)
    if begin is not None:
        statement = statement.where(AuditRow.seq < int(begin[0]))
    found: list[AuditRow] = await _rows(database, statement, limit)
    return page_of(found, limit=limit, cursor=lambda one: cursor_of("audit", one.seq))


def _begin(after: str | None, kind: str) -> tuple[datetime, str] | None:
    key = read_cursor(after, kind, str, str)
    if key is None:
        return None
    try:
        time = datetime.fromisoformat(str(key[0]))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadInputError("cursor", (FieldError("cursor", after, "the `next` of a page of this collection"),))
    return time, str(key[1])


async def _rows(database: Database, statement: Any, limit: int) -> list[Any]:
    """One more than the page holds: whether there is a next page."""
    async with database.reading() as session:
        return list((await session.execute(statement.limit(limit + 1))).scalars())

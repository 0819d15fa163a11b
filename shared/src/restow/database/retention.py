"""Stories that ended long ago are forgotten: their events, views, journals and documents, in bounded bites.

The one place besides the migrations that knows the tables of all services: what belongs to a story goes together,
and what belongs to one that has not ended stays, however old it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, TableClause, and_, column, delete, or_, select, table
from sqlalchemy.orm import InstrumentedAttribute

from restow.database.engine import Database
from restow.database.tables import DeadLetterRow, DocumentRow, EventRow, InboxRow, PositionRow, UtcDateTime

BITE = 1_000  # rows of one transaction: nobody waits long for the lock
BITES_MAX = 100_000
RELAY = "relay"
FOR_EVER = timedelta(days=100 * 365)  # a broker without a limit


def _table(name: str, *columns: str, times: tuple[str, ...] = ()) -> TableClause:
    return table(name, *(column(one) for one in columns), *(column(one, UtcDateTime) for one in times))


PLAN_VIEW = _table("plan_view", "id", "document", "snapshot", "correlation", times=("ended_at",))
INCIDENT_VIEW = _table("incident_view", "id", times=("closed_at",))
STEP_VIEW = _table("step_view", "plan", "step")
PLAN = _table("plan", "id", "document", "snapshot")
RUN = _table("run", "id", "kind", "document", "correlation", times=("ended_at",))
RUN_STEP = _table("run_step", "run", "step")
RUN_ORDER = _table("run_order", "plan", "verb", times=("at",))
INCIDENT = _table("incident", "id")
AUDIT = _table("audit", "seq", times=("at",))


@dataclass(frozen=True, slots=True)
class Bite:
    """Rows of `rows` that `chosen` picks by these columns, which name a row."""

    rows: TableClause
    names: tuple[str, ...]
    chosen: ColumnElement[bool]


async def forget(
    database: Database, *, now: datetime, keep: timedelta, keep_audit: timedelta, keep_inbox: timedelta
) -> dict[str, int]:
    """Forget what ended before `now - keep`; how many rows went, by table. Raises DatabaseAwayError.

    `keep_inbox`: for as long as a broker may deliver an event again, or it would be done a second time.
    Broken off, it leaves every story whole or wholly gone from a table, and the next run goes on.
    """
    gone: dict[str, int] = {}
    for bite in _bites(now - keep, now - keep_audit, now - max(keep, keep_inbox)):
        for _ in range(BITES_MAX):
            many = await _take(database, bite)
            if not many:
                break
            gone[bite.rows.name] = gone.get(bite.rows.name, 0) + many
    return gone


def _bites(before: datetime, audited_before: datetime, done_before: datetime) -> Iterator[Bite]:
    """What hangs on something goes before it: a run that is broken off leaves nothing without its story."""
    ended = select(PLAN_VIEW.c.id).where(PLAN_VIEW.c.ended_at < before)
    closed = select(INCIDENT_VIEW.c.id).where(INCIDENT_VIEW.c.closed_at < before)
    over = select(RUN.c.id).where(
        RUN.c.ended_at < before,
        or_(RUN.c.kind != "plan", RUN.c.id.in_(ended), RUN.c.id.not_in(select(PLAN_VIEW.c.id))),
    )
    yield Bite(RUN_STEP, ("run", "step"), RUN_STEP.c.run.in_(over))
    yield Bite(RUN, ("id",), RUN.c.id.in_(over))
    yield Bite(RUN_ORDER, ("plan", "verb"), and_(RUN_ORDER.c.at < before, _no_more(RUN_ORDER.c.plan, ended)))
    yield Bite(PLAN, ("id",), PLAN.c.id.in_(ended))
    yield Bite(STEP_VIEW, ("plan", "step"), STEP_VIEW.c.plan.in_(ended))
    yield Bite(PLAN_VIEW, ("id",), PLAN_VIEW.c.ended_at < before)
    yield Bite(INCIDENT, ("id",), INCIDENT.c.id.in_(closed))
    yield Bite(INCIDENT_VIEW, ("id",), INCIDENT_VIEW.c.closed_at < before)
    yield Bite(_of(EventRow), ("seq",), _events(before))
    yield Bite(_of(InboxRow), ("consumer", "event"), InboxRow.at < done_before)
    yield Bite(_of(DeadLetterRow), ("id",), and_(DeadLetterRow.at < before, DeadLetterRow.state == "replayed"))
    yield Bite(_of(DocumentRow), ("digest",), and_(DocumentRow.at < before, *_unnamed(DocumentRow.digest)))
    yield Bite(AUDIT, ("seq",), AUDIT.c.at < audited_before)


def _no_more(plan: ColumnElement[str], ended: Select[tuple[str]]) -> ColumnElement[bool]:
    return or_(plan.in_(ended), plan.not_in(select(PLAN_VIEW.c.id)))


def _events(before: datetime) -> ColumnElement[bool]:
    """Of stories that are over, and that the broker has, where there is one. That a host is in maintenance stays."""
    open_stories = select(EventRow.correlation).where(EventRow.subject.in_(select(INCIDENT_VIEW.c.id)))
    relayed = select(PositionRow.seq).where(PositionRow.consumer == RELAY).scalar_subquery()
    return and_(
        EventRow.time < before,
        EventRow.type != "restow.command.host.maintenance",
        EventRow.correlation.not_in(select(PLAN_VIEW.c.correlation)),
        EventRow.correlation.not_in(open_stories),
        or_(relayed.is_(None), EventRow.seq <= relayed),
    )


def _unnamed(digest: ColumnElement[str] | InstrumentedAttribute[str]) -> Iterator[ColumnElement[bool]]:
    """No plan and no run names it any more."""
    for one in (PLAN_VIEW.c.document, PLAN_VIEW.c.snapshot, PLAN.c.document, PLAN.c.snapshot, RUN.c.document):
        yield digest.not_in(select(one).where(one.is_not(None)))


def _of(row: type[DeadLetterRow] | type[DocumentRow] | type[EventRow] | type[InboxRow]) -> TableClause:
    found = row.__table__
    assert isinstance(found, TableClause)
    return found


async def _take(database: Database, bite: Bite) -> int:
    names = [bite.rows.c[name] for name in bite.names]
    wanted = select(*names).select_from(bite.rows).where(bite.chosen).limit(BITE)
    async with database.writing() as transaction:
        rows = (await transaction.session.execute(wanted)).all()
        for row in rows:
            one = and_(*(name == value for name, value in zip(names, row, strict=True)))
            await transaction.session.execute(delete(bite.rows).where(one))
    return len(rows)

"""The one door to SQL: an engine for SQLite or PostgreSQL, and transactions that carry their events.

A state change and the events that tell of it are one transaction. On SQLite writers take turns in
this process; on PostgreSQL appending to the log takes an advisory lock until the commit, so that
no follower ever sees a later entry before an earlier one.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from restow.database.inline import connect_inline, connect_threaded
from restow.database.tables import EventRow
from restow.errors import BadInputError, FieldError, PermanentError, TransientError
from restow.messages.events import Event
from restow.tracing import current_traceparent

_LOG_LOCK = 0x7E57_0106  # any fixed number: the advisory lock for appending to the log
# SQLSTATEs of PostgreSQL: connection lost, too many connections, shutting down or starting up, a lost race
AWAY_STATES = ("08", "53300", "57P", "40001", "40P01")
REFUSED_STATES = ("28", "3D000")  # who we are, or that there is such a database
EVENT_BYTES_MAX = 4 * 2**20


class DatabaseAwayError(TransientError):
    """The database does not answer; nothing of the transaction has happened, or its end is unknown."""


class DatabaseRefusesError(PermanentError):
    """The database answers, and refuses who we are or knows no database of that name: waiting does not help."""


@dataclass(slots=True)
class Transaction:
    """An open transaction: rows through `session`, events through `emit`; both or neither."""

    session: AsyncSession
    events: list[Event] = field(default_factory=list)
    counts: list[Callable[[], None]] = field(default_factory=list)

    def count(self, measure: Callable[[], None]) -> None:
        """Do this once it has committed: a metric of what did not happen would be a lie."""
        self.counts.append(measure)

    def emit(self, *events: Event) -> None:
        """Append to the log when the transaction commits; an event already in the log stays as it is.

        Raises PermanentError for one that is larger than EVENT_BYTES_MAX: a broker would refuse it later.
        """
        traceparent = current_traceparent()
        for event in events:
            size = len(json.dumps(event.data, separators=(",", ":")))
            if size > EVENT_BYTES_MAX:
                raise PermanentError(
                    f"{event.type} {event.id} has {size} bytes, more than {EVENT_BYTES_MAX}: "
                    "an event names a document by its digest, it does not carry it"
                )
            self.events.append(event if traceparent is None else replace(event, traceparent=traceparent))


class Database:
    """State in SQL at `url` (postgresql+asyncpg://…, sqlite+aiosqlite:///FILE).

    `inline` runs SQLite in the loop's thread; for simulations only.
    """

    def __init__(self, url: str, *, inline: bool = False) -> None:
        self.url = checked_url(url)
        self.is_sqlite = self.url.startswith("sqlite")
        self._engine = _engine(self.url, inline=inline)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        self._writer = asyncio.Lock()
        self._appended = asyncio.Event()
        self._appends = 0

    @property
    def engine(self) -> AsyncEngine:
        return self._engine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for reading; raises DatabaseAwayError."""
        try:
            async with self._sessions() as session:
                yield session
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        """A transaction that commits at the end of the block and rolls back on any error."""
        if self.is_sqlite:
            async with self._writer, self._transaction() as transaction:
                yield transaction
        else:
            async with self._transaction() as transaction:
                yield transaction
        for measure in transaction.counts:
            measure()
        if transaction.events:
            self.wake()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        try:
            async with self._sessions() as session, session.begin():
                if self.is_sqlite:
                    await session.execute(text("BEGIN IMMEDIATE"))
                transaction = Transaction(session)
                yield transaction
                await self._append(session, transaction.events)
        except (SQLAlchemyError, OSError) as error:
            raise translated(error) from error

    async def _append(self, session: AsyncSession, events: list[Event]) -> None:
        if not events:
            return
        await session.flush()
        insert = sqlite.insert if self.is_sqlite else postgresql.insert
        if not self.is_sqlite:
            await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOG_LOCK})
        for event in events:  # one by one: the order of the numbers is the order of the story
            statement = insert(EventRow).values(**_columns(event)).on_conflict_do_nothing(index_elements=["id"])
            await session.execute(statement)

    @property
    def appends(self) -> int:
        """Grows with every append of this process; see `wait_for_append`."""
        return self._appends

    def wake(self) -> None:
        """Let everyone who waits for an append look again."""
        self._appends += 1
        appended, self._appended = self._appended, asyncio.Event()
        appended.set()

    async def wait_for_append(self, *, timeout_s: float, since: int | None = None) -> None:
        """Return when this process has appended to the log, or after `timeout_s` of the loop's time.

        `since`: the value of `appends` before the caller last looked, so that no append is missed in between.
        """
        if since is not None and since != self._appends:
            return
        try:
            await asyncio.wait_for(self._appended.wait(), timeout_s)
        except TimeoutError:
            return

    async def ping(self) -> None:
        """Raises DatabaseAwayError."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._engine.dispose()


def event_of(row: EventRow) -> Event:
    """The event that a row of the log holds."""
    return Event(
        id=row.id, type=row.type, source=row.source, domain=row.domain, subject=row.subject, time=row.time,
        data=json.loads(row.data), correlation=row.correlation, causation=row.causation, traceparent=row.traceparent,
    )  # fmt: skip


def _columns(event: Event) -> dict[str, Any]:
    return {
        "id": event.id, "topic": event.topic.value, "type": event.type, "source": event.source, "domain": event.domain,
        "subject": event.subject, "time": event.time, "data": json.dumps(event.data, separators=(",", ":")),
        "correlation": event.correlation, "causation": event.causation, "traceparent": event.traceparent,
    }  # fmt: skip


def checked_url(url: str) -> str:
    """The URL with its async driver. Raises BadInputError for any other kind of database."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except SQLAlchemyError as error:
        raise BadInputError("settings", (FieldError("RESTOW_DATABASE_URL", url, "a database URL"),)) from error
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    if backend not in drivers:
        raise BadInputError(
            "settings", (FieldError("RESTOW_DATABASE_URL", backend, "postgresql://… or sqlite:///FILE"),)
        )
    return parsed.set(drivername=drivers[backend]).render_as_string(hide_password=False)


def _engine(url: str, *, inline: bool) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=10, max_overflow=10, pool_pre_ping=True, pool_timeout=10,
                                   connect_args={"timeout": 5, "command_timeout": 30})  # fmt: skip
    options: dict[str, Any] = {"async_creator_fn": connect_inline if inline else connect_threaded}
    engine = create_async_engine(url, pool_size=5, max_overflow=20, connect_args=options)

    @sqlalchemy_event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: we say BEGIN IMMEDIATE
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        with suppress(sqlite3.OperationalError):  # busy: another makes the same switch of the file just now
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA synchronous={'OFF' if inline else 'NORMAL'}")
        cursor.close()

    return engine


def translated(error: SQLAlchemyError | OSError) -> Exception:
    """A lost or refused connection is worth another try; anything else is a bug and stays as it is."""
    told = str(getattr(error, "orig", ""))
    if told.startswith(("no such ", "near ")) or told.endswith(" already exists"):
        return error  # SQLite gives a missing table, or one too many, the same class as a locked file
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    if (
        isinstance(error, OSError | InterfaceError | OperationalError | PoolTimeoutError)
        or (isinstance(error, DBAPIError) and error.connection_invalidated)
        or state.startswith(AWAY_STATES)
    ):
        return DatabaseAwayError(f"the database does not answer: {getattr(error, 'orig', None) or error}")
    if state.startswith(REFUSED_STATES):
        return DatabaseRefusesError(f"the database refuses us: {getattr(error, 'orig', None) or error}")
    return error

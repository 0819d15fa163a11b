"""The embedded log: consumers follow the table `event_log` by offset. No server of any kind is needed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from restow.database.engine import Database, DatabaseAwayError, event_of
from restow.database.tables import EventRow, PositionRow
from restow.log.delivery import DATABASE_AWAY_MAX_S, DATABASE_RETRY_S, Delivery
from restow.log.port import Handler
from restow.messages.events import Event

T = TypeVar("T")

BATCH = 100
WAIT_S = 1.0  # a bound on the wait; an append in this process wakes the follower at once


@dataclass(frozen=True, slots=True)
class EmbeddedLog:
    """Brings events of `event_log` to a handler in their order, one at a time."""

    database: Database
    delivery: Delivery
    wait_s: float = WAIT_S
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def drain(self) -> None:
        self.stopping.set()
        self.database.wake()

    async def run(self, handler: Handler) -> None:
        position = await self._patiently(lambda: self._position(handler.group))
        while not self.stopping.is_set():
            appends = self.database.appends
            await self._patiently(lambda: self.delivery.replay(handler))
            batch = await self._patiently(lambda: self._after(position, handler))  # noqa: B023  (awaited here)
            for seq, event in batch:
                await self.delivery.deliver(handler, event)
                position = seq
                if self.stopping.is_set():
                    break
            if batch:
                await self._patiently(lambda: self._keep(handler.group, position))  # noqa: B023  (awaited here)
            elif not self.stopping.is_set():
                await self.database.wait_for_append(timeout_s=self.wait_s, since=appends)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """A database that is away for a while stops nobody; one that stays away ends the process."""
        away_s = 0.0
        while True:
            try:
                return await work()
            except DatabaseAwayError:
                if away_s >= DATABASE_AWAY_MAX_S or self.stopping.is_set():
                    raise
                away_s += DATABASE_RETRY_S
                await self.delivery.clock.sleep(DATABASE_RETRY_S)

    async def _after(self, position: int, handler: Handler) -> list[tuple[int, Event]]:
        wanted = (
            select(EventRow)
            .where(EventRow.seq > position, EventRow.topic.in_(sorted(handler.topics)))
            .order_by(EventRow.seq)
            .limit(BATCH)
        )
        async with self.database.reading() as session:
            return [(row.seq, event_of(row)) for row in (await session.execute(wanted)).scalars()]

    async def _position(self, group: str) -> int:
        async with self.database.reading() as session:
            row = await session.get(PositionRow, group)
            return 0 if row is None else row.seq

    async def _keep(self, group: str, seq: int) -> None:
        """After the effects: a crash in between delivers again, and the inbox makes that harmless."""
        insert = sqlite.insert if self.database.is_sqlite else postgresql.insert
        kept = insert(PositionRow).values(consumer=group, seq=seq)
        kept = kept.on_conflict_do_update(index_elements=["consumer"], set_={"seq": seq})
        async with self.database.writing() as transaction:
            await transaction.session.execute(kept)


async def end_of_log(database: Database) -> int:
    """The number of the newest entry, 0 if there is none."""
    async with database.reading() as session:
        return (await session.execute(select(func.max(EventRow.seq)))).scalar_one() or 0

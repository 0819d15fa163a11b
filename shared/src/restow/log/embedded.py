"""The embedded log: consumers follow the table `event_log` by offset. No server of any kind is needed."""

from dataclasses import dataclass

import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from restow.database.engine import Database, DatabaseAwayError, event_of
from restow.database.tables import EventRow, PositionRow
from restow.log.delivery import Delivery
from restow.log.port import Handler
from restow.messages.events import Event

BATCH = 100
WAIT_S = 1.0  # a bound on the wait; an append in this process wakes the follower at once

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedLog:
    """Brings events of `event_log` to a handler in their order, one at a time."""

    database: Database
    delivery: Delivery
    wait_s: float = WAIT_S

    def drain(self) -> None:
        self.delivery.stopping.set()
        self.database.wake()

    async def run(self, handler: Handler) -> None:
        try:
            await self._follow(handler)
        except DatabaseAwayError as error:  # we are stopping: what is left comes again
            log.info("the database is away: the rest waits for the next start", group=handler.group, error=str(error))

    async def _follow(self, handler: Handler) -> None:
        patiently, stopping = self.delivery.patiently, self.delivery.stopping
        position = await patiently(lambda: self._position(handler.group))
        while not stopping.is_set():
            appends = self.database.appends
            await patiently(lambda: self.delivery.replay(handler))
            batch = await patiently(lambda: self._after(position, handler))  # noqa: B023  (awaited here)
            for seq, event in batch:
                await self.delivery.deliver(handler, event)
                position = seq
                if stopping.is_set():
                    break
            if batch:
                await patiently(lambda: self._keep(handler.group, position))  # noqa: B023  (awaited here)
            elif not stopping.is_set():
                await self.database.wait_for_append(timeout_s=self.wait_s, since=appends)

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

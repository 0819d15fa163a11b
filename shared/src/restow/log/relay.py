"""The relay: publishes `event_log` to the broker in the order of its numbers; one process at a time, by lease.

Its position moves after the acknowledgement: a crash in between publishes again, and the inbox of
every consumer makes that harmless. A former holder that wakes up late publishes only what is there
already, so the first copy of each event is always in order.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from sqlalchemy import select

from restow.clock import Clock
from restow.database.engine import Database, event_of
from restow.database.leases import Lease, LeaseLostError, Leases
from restow.database.patience import Patience
from restow.database.tables import EventRow, PositionRow
from restow.errors import TransientError
from restow.log.embedded import end_of_log
from restow.messages.events import Event
from restow.metrics import RELAYED

POSITION = LEASE = "relay"
LEASE_S = 6.0
RENEW_S = 2.0
BATCH = 500
IDLE_S = 0.1  # for what other processes append; an append of this process wakes the relay at once
RETRY_S = 1.0

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are safe with the broker, in this order per domain. Raises TransientError."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Relay:
    database: Database
    clock: Clock
    publisher: Publisher
    leases: Leases

    @classmethod
    def of(cls, database: Database, clock: Clock, publisher: Publisher, *, holder: str) -> "Relay":
        return cls(database, clock, publisher, Leases(database, clock, holder=holder, ttl_s=LEASE_S))

    async def run(self) -> None:
        """Go on until cancelled; broker and database may be away for as long as they are."""
        patience = Patience("the broker or the database", self.clock, RETRY_S)
        try:
            while True:
                try:
                    lease = await self.leases.acquire(LEASE)
                    if lease is None:
                        await self.clock.sleep(RENEW_S)
                    else:
                        await self._publish_while_ours(lease)
                    patience.over()
                except LeaseLostError:
                    log.info("another process publishes the log now")
                except TransientError as error:
                    await patience.pause(error, so="events are not published")
        finally:
            await self.publisher.close()

    async def _publish_while_ours(self, lease: Lease) -> None:
        """Publish what there is until the lease wants renewal."""
        until = self.clock.now().timestamp() + RENEW_S
        position = await self._position()
        while self.clock.now().timestamp() < until:
            appends = self.database.appends
            batch = await self._after(position)
            if not batch:
                await self.database.wait_for_append(timeout_s=IDLE_S, since=appends)
                continue
            await self.publisher.publish([event for _, event in batch])
            position = batch[-1][0]
            await self._keep(lease, position)
            for _, event in batch:
                RELAYED.labels(event.topic.value).inc()

    async def _position(self) -> int:
        async with self.database.reading() as session:
            row = await session.get(PositionRow, POSITION)
            return 0 if row is None else row.seq

    async def _after(self, position: int) -> list[tuple[int, Event]]:
        wanted = select(EventRow).where(EventRow.seq > position).order_by(EventRow.seq).limit(BATCH)
        async with self.database.reading() as session:
            return [(row.seq, event_of(row)) for row in (await session.execute(wanted)).scalars()]

    async def _keep(self, lease: Lease, position: int) -> None:
        async with self.database.writing() as transaction:
            await self.leases.guard(transaction, lease)
            await transaction.session.merge(PositionRow(consumer=POSITION, seq=position))


async def settled(database: Database, *, timeout_s: float) -> bool:
    """Whether all that is in the log was published within `timeout_s`; for a good end of a process."""
    relay_seq = select(PositionRow.seq).where(PositionRow.consumer == POSITION)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                async with database.reading() as session:
                    position = (await session.execute(relay_seq)).scalar_one_or_none() or 0
                if position >= await end_of_log(database):
                    return True
                await asyncio.sleep(IDLE_S)
    except TimeoutError:
        return False

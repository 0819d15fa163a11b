"""Both logs behind one face, for the contract tests: the embedded one on SQLite, Kafka on PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select

from restow.clock import SystemClock
from restow.database.engine import Database
from restow.database.schema import upgrade_database
from restow.database.tables import PositionRow
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.log.port import Consumer, Effect, Handler
from restow.messages.events import Event, Refusal, Topic, first_event

WAIT_S = 60.0

_metadata = MetaData()
EFFECTS = Table(
    "effect_of_test", _metadata, Column("seq", Integer, primary_key=True), Column("domain", String(64)),
    Column("event", String(64)), Column("by", String(64)),
)  # fmt: skip


def an_event(number: int, *, domain: str, event_type: str = "restow.refusal") -> Event:
    message = Refusal(what=f"thing {number}", guard="test", why="to see what comes of it")
    return first_event(
        event_type, message, id=f"{domain}-{number:04}", source="test", domain=domain, subject=f"{number}",
        time=datetime.now(UTC), correlation=f"{domain}-story",
    )  # fmt: skip


@dataclass
class Recorder:
    """A handler that writes one row an event. `before` is awaited while it handles, outside any transaction."""

    group: str
    prefix: str  # only domains that begin so: the broker still has the events of other tests
    name: str = "one"
    before: Callable[[Event], Awaitable[None]] | None = None
    topics: frozenset[Topic] = frozenset({Topic.HEALING})
    handling: list[str] = field(default_factory=list)

    async def handle(self, event: Event) -> Effect | None:
        if not event.domain.startswith(self.prefix):
            return None
        self.handling.append(event.id)
        if self.before is not None:
            await self.before(event)

        async def effect(transaction: object) -> None:
            row = insert(EFFECTS).values(domain=event.domain, event=event.id, by=self.name)
            await transaction.session.execute(row)

        return effect


@dataclass
class World:
    """A database, and the log on it. Each `consuming` block is like a process of its own."""

    database: Database
    kafka: str | None
    prefix: str

    @asynccontextmanager
    async def consuming(self, *handlers: Handler, crash: bool = False) -> AsyncIterator[list[asyncio.Task[None]]]:
        consumer = self._consumer()
        tasks = [asyncio.create_task(consumer.run(handler)) for handler in handlers]
        try:
            yield tasks
        finally:
            if not crash:
                consumer.drain()
                await asyncio.wait(tasks, timeout=30)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """The relay, where there is one."""
        if self.kafka is None:
            yield
            return
        from restow.log.kafka import KafkaAccess, KafkaPublisher
        from restow.log.relay import Relay

        publisher = KafkaPublisher(KafkaAccess(self.kafka))
        holder = f"relay-{os.urandom(4).hex()}"
        task = asyncio.create_task(Relay.of(self.database, SystemClock(), publisher, holder=holder).run())
        try:
            yield
        finally:
            if task.done():
                task.result()  # it never should have ended: say why
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def append(self, events: Sequence[Event]) -> None:
        for event in events:
            async with self.database.writing() as transaction:
                transaction.emit(event)

    async def effects(self) -> list[tuple[str, str, str]]:
        """(domain, event id, by whom) in the order in which they happened."""
        async with self.database.reading() as session:
            rows = await session.execute(
                select(EFFECTS.c.domain, EFFECTS.c.event, EFFECTS.c.by).order_by(EFFECTS.c.seq)
            )
            return [tuple(row) for row in rows]

    async def forget_positions(self) -> None:
        """As if the processes had died after their effects and before they could note how far they are."""
        async with self.database.writing() as transaction:
            await transaction.session.execute(delete(PositionRow))

    def _consumer(self) -> Consumer:
        delivery = Delivery(self.database, SystemClock())
        if self.kafka is None:
            return EmbeddedLog(self.database, delivery)
        from restow.log.kafka import KafkaAccess, KafkaLog

        return KafkaLog(KafkaAccess(self.kafka), delivery)


@asynccontextmanager
async def a_world(url: str, kafka: str | None) -> AsyncIterator[World]:
    database = Database(url)
    await upgrade_database(database)
    async with database.engine.begin() as connection:
        await connection.run_sync(_metadata.create_all)
    if kafka is not None:
        from restow.log.kafka import KafkaAccess, TopicSettings, create_topics

        await create_topics(KafkaAccess(kafka), TopicSettings(partitions=4), timeout_s=30)
    try:
        yield World(database, kafka, f"d{os.urandom(4).hex()}")
    finally:
        await database.close()


async def eventually(look: Callable[[], Awaitable[bool]], *, what: str, wait_s: float = WAIT_S) -> None:
    """Real parts have no clock of ours: look until it is so."""
    try:
        async with asyncio.timeout(wait_s):
            while not await look():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came to be: {what}") from None

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import select

from restow.clock import SystemClock
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow, Row
from restow.log.delivery import Delivery
from restow.messages.events import Refusal, Topic, effect_of
from restow.tracing import current_traceparent, start_tracing
from support.logs import an_event


class Passing:
    """Emits one event for each that it gets."""

    topics = frozenset({Topic.HEALING})

    def __init__(self, group):
        self.group = group

    async def handle(self, event):
        async def effect(transaction):
            transaction.emit(
                effect_of(
                    event,
                    "restow.refusal",
                    Refusal(what="w", guard=self.group, why=""),
                    source=self.group,
                    subject=self.group,
                    time=event.time,
                )
            )

        return effect


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/t.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield database
    await database.close()


async def emitted(database):
    async with database.reading() as session:
        return [event_of(row) for row in (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()]


async def test_a_trace_goes_on_from_event_to_event(database):
    exporter = InMemorySpanExporter()
    stop = start_tracing(service="test", instance="one", exporter=exporter)
    try:
        delivery = Delivery(database, SystemClock())
        await delivery.deliver(Passing("first"), an_event(1, domain="d"))
        (second,) = await emitted(database)
        await delivery.deliver(Passing("second"), second)
    finally:
        stop()
    one, two = exporter.get_finished_spans()
    assert two.parent.span_id == one.context.span_id
    assert two.context.trace_id == one.context.trace_id
    assert [span.name for span in (one, two)] == ["first restow.refusal", "second restow.refusal"]


async def test_without_tracing_an_event_keeps_the_context_it_came_with(database):
    import dataclasses

    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = dataclasses.replace(an_event(1, domain="d"), traceparent=given)
    await Delivery(database, SystemClock()).deliver(Passing("first"), event)
    (second,) = await emitted(database)
    assert second.traceparent == given
    assert current_traceparent() is None

"""Delivery in the corners that the contract of the logs does not reach."""

import asyncio

import pytest
from sqlalchemy import select

from restow.clock import ScaledClock, SystemClock
from restow.database.engine import EVENT_BYTES_MAX, Database
from restow.database.tables import EventRow, InboxRow, Row
from restow.errors import PermanentError
from restow.log.dead import list_letters
from restow.log.delivery import DATABASE_RETRY_S, RETRY_DELAYS_S, Delivery
from restow.log.embedded import EmbeddedLog
from restow.log.envelope import from_kafka, to_kafka
from restow.messages.events import Refusal, effect_of
from restow.simulation.virtual_loop import run_virtual
from support.away import FickleDatabase
from support.builders import NOON
from support.logs import EFFECTS, Recorder, _metadata, an_event


class PatientClock(SystemClock):
    """Remembers what was slept and waits for nothing."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


async def prepared(database):
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
        await connection.run_sync(_metadata.create_all)


async def effects(database):
    async with database.reading() as session:
        return [row.event for row in await session.execute(select(EFFECTS).order_by(EFFECTS.c.seq))]


@pytest.fixture
async def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/t.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield database
    await database.close()


async def test_a_surprise_is_tried_with_growing_delays_and_then_set_aside(database):
    async def surprise(_):
        raise ZeroDivisionError("one over none")

    clock = PatientClock()
    handler = Recorder(group="g", prefix="d", before=surprise)
    await Delivery(database, clock).deliver(handler, an_event(1, domain="d"))
    assert clock.slept == list(RETRY_DELAYS_S)
    (letter,) = await list_letters(database)
    assert (letter.attempts, letter.reason) == (len(RETRY_DELAYS_S) + 1, "ZeroDivisionError: one over none")


async def test_a_dead_letter_that_cannot_be_handled_makes_no_further_dead_event(database):
    async def fail(_):
        raise PermanentError("no")

    delivery, handler = Delivery(database, PatientClock()), Recorder(group="g", prefix="d", before=fail)
    await delivery.deliver(handler, an_event(1, domain="d"))
    async with database.reading() as session:
        row = (await session.execute(select(EventRow))).scalar_one()
    from restow.database.engine import event_of

    await delivery.deliver(handler, event_of(row))
    async with database.reading() as session:
        assert len((await session.execute(select(EventRow))).all()) == 1
    assert len(await list_letters(database)) == 2


async def appended(database, *numbers):
    async with database.writing() as transaction:
        transaction.emit(*(an_event(number, domain="d") for number in numbers))


def test_a_database_that_is_away_for_hours_ends_no_consumer_and_costs_no_event(tmp_path):
    async def story():
        clock = ScaledClock(NOON)
        database = FickleDatabase(f"sqlite:///{tmp_path}/a.db", inline=True)
        await prepared(database)
        await appended(database, 1)
        went = asyncio.Event()

        async def go_away(event):
            if event.subject == "1" and not went.is_set():
                went.set()
                database.away = True

        handler = Recorder(group="g", prefix="d", before=go_away)
        log = EmbeddedLog(database, Delivery(database, clock))
        running = asyncio.create_task(log.run(handler))
        await went.wait()
        await clock.sleep(3 * 3600)
        assert not running.done()
        database.away = False
        await appended(database, 2)
        await clock.sleep(10)
        assert await effects(database) == ["d-0001", "d-0002"]
        assert await list_letters(database) == ()
        log.drain()
        await running
        await database.close()

    run_virtual(story())


@pytest.mark.parametrize("when", ["before the first event", "an event is at hand"])
def test_who_is_asked_to_stop_does_not_wait_for_a_database_that_is_away(tmp_path, when):
    async def story():
        clock = ScaledClock(NOON)
        database = FickleDatabase(f"sqlite:///{tmp_path}/a.db", inline=True)
        await prepared(database)
        await appended(database, 1)
        database.away = when == "before the first event"

        async def go_away(_):
            database.away = True

        log = EmbeddedLog(database, Delivery(database, clock))
        running = asyncio.create_task(log.run(Recorder(group="g", prefix="d", before=go_away)))
        await clock.sleep(100)
        asked = clock.now()
        log.drain()
        await running
        assert (clock.now() - asked).total_seconds() <= DATABASE_RETRY_S
        database.away = False
        assert await effects(database) == []
        await database.close()

    run_virtual(story())


async def test_two_events_of_one_domain_are_never_at_hand_together(database):
    at_hand, most = 0, 0

    async def count(_):
        nonlocal at_hand, most
        at_hand += 1
        most = max(most, at_hand)
        await asyncio.sleep(0)
        at_hand -= 1

    delivery, handler = Delivery(database, PatientClock()), Recorder(group="g", prefix="d", before=count)
    handler_without_effect = Recorder(group="h", prefix="never")
    await asyncio.gather(*(delivery._once(handler_without_effect, an_event(n, domain="d"), None) for n in range(3)))

    async def deliver(number):
        try:
            await delivery.deliver(handler, an_event(number, domain="d"))
        except Exception as error:
            raise AssertionError from error

    async with database.engine.begin() as connection:
        from support.logs import _metadata

        await connection.run_sync(_metadata.create_all)
    await asyncio.gather(*(deliver(number) for number in range(8)))
    assert most == 1


async def test_an_event_too_large_for_a_broker_is_refused_before_it_is_in_the_log(database):
    event = effect_of(
        an_event(1, domain="d"), "restow.refusal", Refusal(what="x" * EVENT_BYTES_MAX, guard="g", why=""),
        source="test", subject="s", time=an_event(1, domain="d").time,
    )  # fmt: skip
    with pytest.raises(PermanentError, match="more than"):  # noqa: PT012
        async with database.writing() as transaction:
            transaction.session.add(InboxRow(consumer="c", event="e", at=event.time))
            transaction.emit(event)
    async with database.reading() as session:
        assert (await session.execute(select(InboxRow))).first() is None


def test_an_event_survives_the_way_over_kafka_unchanged():
    cause = an_event(7, domain="größe")
    event = effect_of(cause, "restow.refusal", Refusal(what="é", guard="g", why=""), source="t", subject="s",
                      time=cause.time)  # fmt: skip
    key, value, headers = to_kafka(event)
    assert key == "größe".encode()
    assert dict(headers)["ce_correlationid"] == cause.correlation.encode()
    assert dict(headers)["ce_causationid"] == cause.id.encode()
    assert dict(headers)["content-type"] == b"application/json"
    assert from_kafka(key, value, headers) == event


@pytest.mark.parametrize("broken", ["no headers", "no time", "no object", "no json"])
def test_what_is_no_event_of_ours_is_refused_with_a_reason(broken):
    key, value, headers = to_kafka(an_event(1, domain="d"))
    if broken == "no headers":
        headers = []
    if broken == "no time":
        headers = [(name, text) for name, text in headers if name != "ce_time"]
    if broken == "no object":
        value = b"[1]"
    if broken == "no json":
        value = b"\xff{"
    with pytest.raises(PermanentError):
        from_kafka(key, value, headers)

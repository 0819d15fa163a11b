"""Both logs keep the same promises: in order per domain, done once, set aside with the reason, never lost."""

import asyncio

import pytest
from sqlalchemy import select

from restow.database.tables import EventRow
from restow.errors import PermanentError, TransientError
from restow.log.dead import list_letters, order_replay
from support.logs import Recorder, World, a_world, an_event, eventually


@pytest.fixture(params=["embedded on SQLite", pytest.param("Kafka on PostgreSQL", marks=pytest.mark.real)])
async def world(request, tmp_path):
    if request.param.startswith("Kafka"):
        kafka, url = request.getfixturevalue("real_kafka").address, request.getfixturevalue("postgres_url")
    else:
        kafka, url = None, f"sqlite:///{tmp_path}/log.db"
    async with a_world(url, kafka) as made:
        yield made


def a_recorder(world: World, **options) -> Recorder:
    return Recorder(group=f"g-{world.prefix}", prefix=world.prefix, **options)


def several(world: World, count: int, *, domains: int = 1) -> list:
    return [an_event(number, domain=f"{world.prefix}-{number % domains}") for number in range(count)]


async def until_done(world: World, events: list) -> None:
    async def look() -> bool:
        return {event for _, event, _ in await world.effects()} >= {event.id for event in events}

    await eventually(look, what=f"an effect of all {len(events)} events")


def in_order(world_effects: list, events: list) -> bool:
    """Each event had one effect, in the order of its domain."""
    return all(
        [done for d, done, _ in world_effects if d == domain]
        == [event.id for event in events if event.domain == domain]
        for domain in {event.domain for event in events}
    )


async def test_events_of_a_domain_are_handled_once_and_in_their_order(world):
    events = several(world, 60, domains=3)
    async with world.relaying(), world.consuming(a_recorder(world)):
        await world.append(events)
        await until_done(world, events)
    assert in_order(await world.effects(), events)


async def test_every_field_of_an_event_arrives_as_it_was_sent(world):
    seen = []

    async def keep(event):
        seen.append(event)

    sent = an_event(1, domain=f"{world.prefix}-ü")
    async with world.relaying(), world.consuming(a_recorder(world, before=keep)):
        await world.append([sent])
        await until_done(world, [sent])
    assert seen == [sent]


async def test_what_is_delivered_twice_is_done_once(world):
    events = several(world, 20, domains=2)
    async with world.relaying(), world.consuming(a_recorder(world)):
        await world.append(events)
        await until_done(world, events)
    await world.forget_positions()
    last = an_event(99, domain=f"{world.prefix}-1")
    async with world.relaying(), world.consuming(a_recorder(world, name="after")):
        await world.append([last])
        await until_done(world, [last])
    assert in_order(await world.effects(), [*events, last])


async def test_an_event_that_cannot_be_handled_is_set_aside_and_the_stream_goes_on(world):
    broken = True

    async def fail_on_two(event):
        if event.subject == "2" and broken:
            raise PermanentError("the cloud does not know this host")

    events = several(world, 5)
    others = [event for event in events if event.subject != "2"]
    async with world.relaying(), world.consuming(a_recorder(world, before=fail_on_two)):
        await world.append(events)
        await until_done(world, others)
        assert in_order(await world.effects(), others)
        (letter,) = await list_letters(world.database)
        assert (letter.event, letter.state, letter.attempts) == (events[2], "dead", 1)
        assert letter.reason == "PermanentError: the cloud does not know this host"
        async with world.database.reading() as session:
            (told,) = (await session.execute(select(EventRow).where(EventRow.type == "restow.dead"))).scalars()
        assert (told.causation, told.correlation, told.subject) == (events[2].id, events[2].correlation, letter.id)

        broken = False
        assert await order_replay(world.database, letter.id) == 1
        await until_done(world, events)
        assert await list_letters(world.database) == ()
        (letter,) = await list_letters(world.database, every=True)
        assert letter.state == "replayed"


async def test_a_replayed_letter_that_fails_again_is_dead_again_with_its_new_reason(world):
    reasons = iter(["first", "second"])

    async def fail(_):
        raise PermanentError(next(reasons))

    async with world.relaying(), world.consuming(a_recorder(world, before=fail)):
        await world.append(several(world, 1))

        async def dead_with(reason: str) -> bool:
            letters = await list_letters(world.database)
            return [(letter.reason, letter.state) for letter in letters] == [(f"PermanentError: {reason}", "dead")]

        await eventually(lambda: dead_with("first"), what="the first failure")
        assert await order_replay(world.database, None) == 1
        await eventually(lambda: dead_with("second"), what="the second failure")
    assert await world.effects() == []


async def test_a_passing_trouble_is_tried_again_and_keeps_the_order(world):
    left = 1

    async def fail_once(event):
        nonlocal left
        if event.subject == "1" and left:
            left -= 1
            raise TransientError("the cloud is busy")

    events = several(world, 4)
    async with world.relaying(), world.consuming(a_recorder(world, before=fail_once)):
        await world.append(events)
        await until_done(world, events)
    assert in_order(await world.effects(), events)


async def test_a_process_that_dies_in_the_middle_leaves_the_event_to_the_next(world):
    reached = asyncio.Event()

    async def hang_on_three(event):
        if event.subject == "3":
            reached.set()
            await asyncio.Event().wait()

    events = several(world, 6)
    async with world.relaying():
        async with world.consuming(a_recorder(world, name="dies", before=hang_on_three), crash=True):
            await world.append(events)
            await asyncio.wait_for(reached.wait(), 60)
        async with world.consuming(a_recorder(world, name="next")):
            await until_done(world, events)
    effects = await world.effects()
    assert in_order(effects, events)
    assert {by for _, event, by in effects if event >= events[3].id} == {"next"}


async def test_two_processes_of_one_group_do_everything_once_while_members_come_and_go(world):
    events = several(world, 120, domains=6)
    async with world.relaying(), world.consuming(a_recorder(world, name="one")):
        await world.append(events[:40])
        async with world.consuming(a_recorder(world, name="two")):
            await world.append(events[40:80])
            await until_done(world, events[:60])
        await world.append(events[80:])
        await until_done(world, events)
    effects = await world.effects()
    assert len(effects) == len(events)
    assert in_order(effects, events)


async def test_a_slow_handler_neither_loses_its_membership_nor_its_turn(world):
    async def slow_on_first(event):
        if event.subject == "0":
            await asyncio.sleep(4)

    events = several(world, 400, domains=2)
    recorder = a_recorder(world, before=slow_on_first)
    async with world.relaying(), world.consuming(recorder):
        await world.append(events)
        await until_done(world, events)
    assert in_order(await world.effects(), events)
    assert len(recorder.handling) == len(events)


async def test_draining_ends_the_event_at_hand_and_takes_no_other(world):
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait_on_first(_):
        reached.set()
        await go_on.wait()

    events = several(world, 3)
    async with world.relaying():
        await world.append(events)
        consumer = world._consumer()
        task = asyncio.create_task(consumer.run(a_recorder(world, before=wait_on_first)))
        await asyncio.wait_for(reached.wait(), 60)
        consumer.drain()
        go_on.set()
        await asyncio.wait_for(task, 30)
        assert [event for _, event, _ in await world.effects()] == [events[0].id]
        async with world.consuming(a_recorder(world)):
            await until_done(world, events)
    assert in_order(await world.effects(), events)

"""Broker and database go away for a few seconds, from outside: nothing is lost, nothing is done twice."""

import asyncio
import time

import pytest

from restow.database.engine import Database, DatabaseAwayError
from restow.errors import BadInputError
from restow.log.kafka import BrokerAwayError, KafkaAccess, KafkaLog, KafkaPublisher, TopicSettings, create_topics
from restow.runtime.run import wait_for_database
from support.logs import Recorder, a_world, an_event, eventually
from support.real import Part

pytestmark = pytest.mark.real


@pytest.fixture
async def world(real_kafka, postgres_url):
    async with a_world(postgres_url, real_kafka.address) as made:
        yield made


async def until_done(world, events):
    async def look() -> bool:
        try:
            return {event for _, event, _ in await world.effects()} >= {event.id for event in events}
        except DatabaseAwayError:
            return False

    await eventually(look, what=f"an effect of all {len(events)} events", wait_s=120)


@pytest.mark.parametrize("which", ["broker", "database"])
async def test_a_part_that_is_away_for_seconds_costs_no_event_and_no_order(world, which, request):
    part: Part = request.getfixturevalue("real_kafka" if which == "broker" else "real_postgres")
    events = [an_event(number, domain=world.prefix) for number in range(60)]
    recorder = Recorder(group=f"g-{world.prefix}", prefix=world.prefix)

    async def append_patiently(event):
        while True:
            try:
                return await world.append([event])
            except DatabaseAwayError:
                await asyncio.sleep(0.2)

    async with world.relaying(), world.consuming(recorder) as tasks:
        for event in events[:20]:
            await append_patiently(event)
        await until_done(world, events[:20])
        await asyncio.to_thread(part.stop)
        try:
            began = time.monotonic()
            adding = asyncio.gather(*(append_patiently(event) for event in events[20:21]))
            await asyncio.sleep(4)
            assert not any(task.done() for task in tasks), "a consumer gave up"
        finally:
            await asyncio.to_thread(part.start)
        await adding
        for event in events[21:]:
            await append_patiently(event)
        await until_done(world, events)
        assert time.monotonic() - began < 90
    assert [event for _, event, _ in await world.effects()] == [event.id for event in events]


async def test_a_broker_that_is_not_there_is_named_with_what_was_tried(tmp_path):
    access = KafkaAccess("127.0.0.1:9")
    with pytest.raises(BrokerAwayError, match=r"RESTOW_KAFKA_BOOTSTRAP=127\.0\.0\.1:9: .*PLAINTEXT, tried for 1 s"):
        await create_topics(access, TopicSettings(), timeout_s=1)
    with pytest.raises(BrokerAwayError, match="RESTOW_KAFKA_BOOTSTRAP"):
        await KafkaPublisher(access).publish([an_event(1, domain="d")])
    database = Database(f"sqlite:///{tmp_path}/t.db")
    from restow.clock import SystemClock
    from restow.log.delivery import Delivery

    log = KafkaLog(access, Delivery(database, SystemClock()), start_timeout_s=1)
    with pytest.raises(BrokerAwayError, match="tried for 1 s"):
        await log.run(Recorder(group="g", prefix="d"))
    await database.close()


async def test_a_database_that_is_not_there_is_named_without_its_password():
    database = Database("postgresql://someone:secret@127.0.0.1:9/x")
    with pytest.raises(DatabaseAwayError, match=r"RESTOW_DATABASE_URL=\S+:\*\*\*@127\.0\.0\.1:9/x") as error:
        await wait_for_database(database, timeout_s=0)
    assert "secret" not in str(error.value)
    await database.close()
    with pytest.raises(BadInputError, match="RESTOW_DATABASE_URL"):
        Database("mysql://x/y")


async def test_a_message_that_is_no_event_is_set_aside_and_the_partition_goes_on(world, real_kafka):
    from aiokafka import AIOKafkaProducer

    from restow.log.dead import list_letters

    async with AIOKafkaProducer(bootstrap_servers=real_kafka.address) as producer:
        partitions = await producer.partitions_for("restow.healing.v1")
        for partition in partitions:
            await producer.send_and_wait(
                "restow.healing.v1", b"not an event", key=world.prefix.encode(), partition=partition
            )
    events = [an_event(number, domain=world.prefix) for number in range(3)]
    async with world.relaying(), world.consuming(Recorder(group=f"g-{world.prefix}", prefix=world.prefix)):
        await world.append(events)
        await until_done(world, events)

        async def all_aside() -> bool:
            ours = [one for one in await list_letters(world.database) if one.event.domain == world.prefix]
            return len(ours) == len(partitions) and all("not a CloudEvent" in letter.reason for letter in ours)

        await eventually(all_aside, what="a dead letter for each")

"""Broker and database go away for a few seconds, from outside: nothing is lost, nothing is done twice."""

import asyncio
import re
import subprocess
import time

import pytest
from sqlalchemy.engine import make_url

from restow.clock import SystemClock
from restow.database.engine import Database, DatabaseAwayError, DatabaseRefusesError
from restow.errors import BadInputError
from restow.log.delivery import Delivery
from restow.log.kafka import (
    BrokerAwayError,
    BrokerRefusesError,
    KafkaAccess,
    KafkaLog,
    KafkaPublisher,
    Topics,
    TopicSettings,
    create_topics,
)
from restow.log.kafka.access import BROKER_RETRY_S
from restow.messages.events import Topic
from restow.runtime.run import wait_for_database
from support.logs import Recorder, a_world, an_event, eventually
from support.processes import free_port
from support.real import LAB, MISSING, Part

KAFKA = LAB / "kafka" / "kafka.sh"


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
    topics = Topics(access, TopicSettings(), create=True)
    log = KafkaLog(access, Delivery(database, SystemClock()), ready=topics.there, refused_max_s=0)
    running = asyncio.create_task(log.run(Recorder(group="g", prefix="d")))
    await asyncio.sleep(4)  # twice as long as it waits between two tries
    assert log.away_s > 2
    with pytest.raises(BrokerAwayError, match=r"127\.0\.0\.1:9: waiting for the broker and our topics"):
        await log.check()
    assert not running.done()
    log.drain()
    await asyncio.wait_for(running, BROKER_RETRY_S + 2)
    await database.close()


async def test_a_broker_that_is_away_for_longer_than_a_client_is_kept_costs_no_event_and_ends_nobody(world, real_kafka):
    events = [an_event(number, domain=world.prefix) for number in range(40)]
    log = KafkaLog(KafkaAccess(real_kafka.address), Delivery(world.database, SystemClock()), fresh_after_s=2)
    async with world.relaying():
        running = asyncio.create_task(log.run(Recorder(group=f"g-{world.prefix}", prefix=world.prefix)))
        await world.append(events[:20])
        await until_done(world, events[:20])
        await log.check()
        await asyncio.to_thread(real_kafka.stop)
        try:
            await world.append(events[20:30])
            async with asyncio.timeout(120):
                while log.away_s < 15:
                    await asyncio.sleep(0.5)
            with pytest.raises(BrokerAwayError, match="has not seen the broker for"):
                await log.check()
            assert not running.done()
        finally:
            await asyncio.to_thread(real_kafka.start)
        await world.append(events[30:])
        await until_done(world, events)
        await eventually(lambda: sees(log), what="sight of the broker")
        await log.check()
        log.drain()
        await asyncio.wait_for(running, 30)
    assert [event for _, event, _ in await world.effects()] == [event.id for event in events]


async def sees(log):
    return log.away_s == 0


async def test_who_is_asked_to_stop_does_not_wait_for_a_broker_that_has_gone(world, real_kafka):
    log = KafkaLog(KafkaAccess(real_kafka.address), Delivery(world.database, SystemClock()))
    running = asyncio.create_task(log.run(Recorder(group=f"g-{world.prefix}", prefix=world.prefix)))
    async with world.relaying():
        event = an_event(1, domain=world.prefix)
        await world.append([event])
        await until_done(world, [event])
    await asyncio.to_thread(real_kafka.stop)
    try:
        await asyncio.sleep(3)
        began = time.monotonic()
        log.drain()
        await asyncio.wait_for(running, 25)
        assert time.monotonic() - began < 22  # two farewells to a broker that does not answer
    finally:
        await asyncio.to_thread(real_kafka.start)


@pytest.fixture
def broker_that_asks_who_we_are(tmp_path):
    """A broker of our own where `restow` has the password `pears`."""
    folder = tmp_path / "broker"
    up = subprocess.run([KAFKA, "up", folder], capture_output=True, text=True, timeout=300, check=False)
    if up.returncode == MISSING:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    try:
        subprocess.run([KAFKA, "stop", folder], check=True, capture_output=True, timeout=60)
        port, settings = free_port(), folder / "server.properties"
        text = settings.read_text()
        for name in ("listeners", "advertised.listeners"):
            text = re.sub(rf"^({name}=.*)$", rf"\1,SASL_PLAINTEXT://127.0.0.1:{port}", text, flags=re.MULTILINE)
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_restow="pears";'
        text = text.replace("PLAINTEXT:PLAINTEXT", "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT")
        text += f"\nsasl.enabled.mechanisms=PLAIN\nlistener.name.sasl_plaintext.plain.sasl.jaas.config={login}\n"
        settings.write_text(text)
        subprocess.run([KAFKA, "start", folder], check=True, capture_output=True, timeout=60)
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([KAFKA, "down", folder], check=False, capture_output=True, timeout=60)


async def test_a_password_that_the_broker_refuses_ends_the_wait_with_its_name(broker_that_asks_who_we_are, tmp_path):
    def access(password):
        return KafkaAccess(
            broker_that_asks_who_we_are, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", username="restow",
            password=password,
        )  # fmt: skip

    assert len(await create_topics(access("pears"), TopicSettings(partitions=1), timeout_s=30)) == len(Topic)
    with pytest.raises(BrokerRefusesError, match=r"SASL_PLAINTEXT with PLAIN, tried for 1 s.*AuthenticationFailed"):
        await create_topics(access("plums"), TopicSettings(), timeout_s=1)
    database = Database(f"sqlite:///{tmp_path}/t.db")
    log = KafkaLog(access("plums"), Delivery(database, SystemClock()), refused_max_s=1)
    with pytest.raises(BrokerRefusesError, match="AuthenticationFailed"):
        await asyncio.wait_for(log.run(Recorder(group="g", prefix="d")), 30)
    await database.close()


async def test_a_database_that_refuses_us_is_told_from_one_that_is_away(real_postgres):
    for change, said in (({"username": "nobody-here"}, "nobody-here"), ({"database": "no-such"}, "no-such")):
        url = make_url(real_postgres.address).set(**change)
        database = Database(url.render_as_string(hide_password=False))
        with pytest.raises(DatabaseRefusesError, match=f"RESTOW_DATABASE_URL=.*tried for 0 s.*refuses us.*{said}"):
            await wait_for_database(database, timeout_s=0)
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

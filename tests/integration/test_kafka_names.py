"""What is ours on a broker that others use too: names, where groups begin, how topics are kept."""

import asyncio
import os
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from restow.clock import SystemClock
from restow.log.delivery import Delivery
from restow.log.kafka import (
    KafkaAccess,
    KafkaLog,
    KafkaPublisher,
    TopicSettings,
    arrange_topics,
    create_topics,
    held_at_most,
)
from restow.log.kafka.arrangement import _set
from restow.log.port import Effect
from restow.messages.events import Event, Topic
from support.logs import a_world, an_event, eventually

pytestmark = pytest.mark.real

SOON_S = 30.0


@pytest.fixture
async def world(real_kafka, postgres_url):
    async with a_world(postgres_url, real_kafka.address) as made:
        yield made


@pytest.fixture
def prefix():
    return f"t{os.urandom(4).hex()}."


@dataclass
class Hearing:
    """A handler that only hears: nothing tells the next of its group what it has heard, but where the group stands."""

    group: str
    heard: list[str] = field(default_factory=list)
    topics: frozenset[Topic] = frozenset({Topic.HEALING})

    async def handle(self, event: Event) -> Effect | None:
        self.heard.append(event.id)
        return None


async def heard(world, access, events, *, group):
    """What a process with that access hears of our events, once it has heard the last."""
    handler = Hearing(group)
    log = KafkaLog(access, Delivery(world.database, SystemClock()))

    async def all_heard() -> bool:
        return events[-1].id in handler.heard

    task = asyncio.create_task(log.run(handler))
    try:
        await eventually(all_heard, what="the last event")
    finally:
        log.drain()
        await asyncio.wait_for(task, SOON_S)
    return [one for one in handler.heard if one.startswith(world.prefix)]


async def test_a_group_begins_where_that_of_an_older_version_stood(world, real_kafka, prefix):
    events = [an_event(number, domain=world.prefix) for number in range(20)]
    ids, group = [event.id for event in events], f"g-{world.prefix}"
    before = KafkaAccess(real_kafka.address)
    after = KafkaAccess(real_kafka.address, group_prefix=prefix)
    async with world.relaying():
        await world.append(events[:10])
        assert await heard(world, before, events[:10], group=group) == ids[:10]
        await world.append(events[10:15])
        assert await heard(world, after, events[:15], group=group) == ids[10:15]
        await world.append(events[15:])
        assert await heard(world, after, events, group=group) == ids[15:]
        # the older one, after a roll-back, goes on where it stood; what the newer did, the inbox knows
        assert await heard(world, before, events, group=group) == ids[10:]
        # and a group that never was begins with all that there is
        assert await heard(world, after, events, group=f"{group}-new") == ids


async def test_with_a_prefix_two_installations_share_a_broker(world, real_kafka, prefix):
    access = KafkaAccess(real_kafka.address, topic_prefix=prefix, group_prefix=prefix)
    await create_topics(access, TopicSettings(partitions=2), timeout_s=SOON_S)
    ours, theirs = (an_event(number, domain=world.prefix) for number in range(2))
    for where, event in ((access, ours), (KafkaAccess(real_kafka.address), theirs)):
        publisher = KafkaPublisher(where)
        await publisher.publish([event])
        await publisher.close()
    assert await heard(world, access, [ours], group="g") == [ours.id]
    assert await heard(world, KafkaAccess(real_kafka.address), [theirs], group=f"g-{world.prefix}") == [theirs.id]


async def test_topics_that_are_there_are_kept_as_asked_and_what_else_differs_is_told(real_kafka, prefix):
    access = KafkaAccess(real_kafka.address, topic_prefix=prefix)
    first = TopicSettings(partitions=2)
    made = await arrange_topics(access, first, timeout_s=SOON_S)
    assert sorted(made.created) == sorted(prefix + topic for topic in Topic)
    assert (made.changed, made.left) == ((), ())
    again = await arrange_topics(access, first, timeout_s=SOON_S)
    assert (again.created, again.changed, again.left) == ((), (), ())

    longer = TopicSettings(partitions=6, replication=3, retention_h={**first.retention_h, Topic.COMMANDS: 240})
    found = await arrange_topics(access, longer, timeout_s=SOON_S)
    assert found.changed == (f"{prefix}restow.commands.v1 is kept for 240 h, was 168 h",)
    assert len(found.left) == 2 * len(Topic)
    assert f"{prefix}restow.healing.v1 has 2 partitions, asked for are 6: left as it is" in "\n".join(found.left)
    assert f"{prefix}restow.healing.v1 has 1 copies, asked for are 3" in "\n".join(found.left)
    settled = await arrange_topics(access, longer, timeout_s=SOON_S)
    assert settled.changed == ()
    assert "max.message.bytes" not in "\n".join(settled.left)  # what was set on the topic besides is as it was


async def test_how_long_a_broker_holds_an_event_is_asked_of_it(real_kafka, prefix):
    access = KafkaAccess(real_kafka.address, topic_prefix=prefix)
    assert await held_at_most(access, timeout_s=SOON_S) == timedelta()
    retention = dict.fromkeys(Topic, 24) | {Topic.HEALING: 200 * 24}
    await create_topics(access, TopicSettings(partitions=1, retention_h=retention), timeout_s=SOON_S)
    held = await held_at_most(access, timeout_s=SOON_S)
    assert timedelta(days=200) < held < timedelta(days=208)  # a segment may be filled for a week

    admin = AIOKafkaAdminClient(bootstrap_servers=real_kafka.address)
    await admin.start()
    await _set(admin, access.topic(Topic.HEALING), {"retention.ms": "-1"})
    await admin.close()
    assert await held_at_most(access, timeout_s=SOON_S) is None

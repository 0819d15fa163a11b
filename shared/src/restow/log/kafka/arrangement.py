"""Our topics as they are on the broker, beside what is asked for: what is changed, what is only told of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from restow.log.kafka.access import BrokerRefusesError, KafkaAccess, patiently
from restow.log.kafka.topics import TopicSettings, create_topics
from restow.messages.events import Topic

OF_THE_TOPIC = 1  # Kafka's word for a value that was set on the topic itself
CLEANING_UP = timedelta(hours=1)  # the broker looks now and then what is too old


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What `arrange_topics` has done, and what is left to a person; each a sentence."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as it is. `own`: the values that were set on it; `values`: all, with the broker's defaults."""

    partitions: int
    replication: int
    own: Mapping[str, str]
    values: Mapping[str, str]


async def arrange_topics(access: KafkaAccess, settings: TopicSettings, *, timeout_s: float) -> Arrangement:
    """Create the topics that are missing, keep all for as long as is asked for, and tell what else differs.

    What we may not look at or change is told as well: somebody else may have made the topics for us.

    Raises BrokerAwayError, BrokerRefusesError.
    """
    created = await create_topics(access, settings, timeout_s=timeout_s)
    return await patiently(access, lambda: _arrange(access, settings, created), timeout_s=timeout_s)


async def held_at_most(access: KafkaAccess, *, timeout_s: float) -> timedelta | None:
    """For how long the broker may still have an event, whatever the topic; None: for ever.

    Raises BrokerAwayError, BrokerRefusesError.
    """

    async def ask() -> timedelta | None:
        admin = AIOKafkaAdminClient(**access.options())
        try:
            await admin.start()
            return _held(tuple((await _found(admin, access)).values()))
        finally:
            await admin.close()

    return await patiently(access, ask, timeout_s=timeout_s)


def _held(topics: tuple[_Found, ...]) -> timedelta | None:
    most = timedelta()
    for topic in topics:
        keeps_s = int(topic.values["retention.ms"]) / 1000
        if keeps_s < 0 or "delete" not in topic.values["cleanup.policy"]:
            return None
        # what is old goes with its segment, and the youngest of a segment is younger by as much as it took to fill
        most = max(most, timedelta(seconds=keeps_s + int(topic.values["segment.ms"]) / 1000) + CLEANING_UP)
    return most


async def _arrange(access: KafkaAccess, settings: TopicSettings, created: tuple[str, ...]) -> Arrangement:
    admin = AIOKafkaAdminClient(**access.options())
    changed: list[str] = []
    left: list[str] = []
    try:
        await admin.start()
        for topic, found in (await _found(admin, access)).items():
            name, wanted = access.topic(topic), settings.configs(topic)
            before, after = found.values["retention.ms"], wanted["retention.ms"]
            left += [f"{name} {line}" for line in _differences(found, settings, wanted)]
            if before != after:
                await _set(admin, name, {**found.own, "retention.ms": after})
                changed.append(f"{name} is kept for {_hours(after)}, was {_hours(before)}")
    except BrokerRefusesError as error:
        left.append(str(error))
    finally:
        await admin.close()
    return Arrangement(created, tuple(changed), tuple(left))


def _differences(found: _Found, settings: TopicSettings, wanted: Mapping[str, str]) -> list[str]:
    told = []
    if found.partitions != settings.partitions:
        told.append(
            f"has {found.partitions} partitions, asked for are {settings.partitions}: left as it is, since another "
            "number moves domains between partitions and breaks the order of their events"
        )
    if found.replication != settings.replication:
        told.append(
            f"has {found.replication} copies, asked for are {settings.replication}: "
            "the broker's kafka-reassign-partitions changes that"
        )
    if int(found.values["max.message.bytes"]) < int(wanted["max.message.bytes"]):
        told.append(
            f"takes messages up to {found.values['max.message.bytes']} bytes, needed are "
            f"{wanted['max.message.bytes']} (max.message.bytes)"
        )
    return told


async def _found(admin: Any, access: KafkaAccess) -> dict[Topic, _Found]:
    """Those of our topics that are there."""
    there = set(await admin.list_topics())
    names = {access.topic(topic): topic for topic in Topic if access.topic(topic) in there}
    if not names:
        return {}
    shapes = {one["topic"]: one["partitions"] for one in await admin.describe_topics(list(names))}
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None) for name in names])
    found = {}
    for code, why, _, name, entries in answer.resources:
        if code:
            raise BrokerRefusesError(f"the broker does not tell how {name} is kept: {why or f'error {code}'}")
        found[names[name]] = _Found(
            partitions=len(shapes[name]),
            replication=min(len(one["replicas"]) for one in shapes[name]),
            own={entry[0]: entry[1] for entry in entries if entry[3] == OF_THE_TOPIC},
            values={entry[0]: entry[1] for entry in entries},
        )
    return found


async def _set(admin: Any, name: str, values: Mapping[str, str]) -> None:
    """All values that the topic has of its own: what is not named falls back to the broker's default."""
    (answer,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(values))])
    for code, why, *_ in answer.resources:
        if code:
            raise BrokerRefusesError(f"the broker refuses to change {name}: {why or f'error {code}'}")


def _hours(milliseconds: str) -> str:
    return "ever" if int(milliseconds) < 0 else f"{int(milliseconds) / 3_600_000:g} h"

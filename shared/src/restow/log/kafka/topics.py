"""Our topics: how many partitions, how long they are kept, and their creation."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from restow.log.kafka.access import BATCH_BYTES, BrokerRefusesError, KafkaAccess, patiently
from restow.messages.events import Topic

TOPIC_EXISTS = 36  # Kafka's error code

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopicSettings:
    partitions: int = 12
    replication: int = 1
    retention_h: Mapping[Topic, int] = field(
        default_factory=lambda: {Topic.TELEMETRY: 24, Topic.COMMANDS: 7 * 24, Topic.HEALING: 28 * 24, Topic.DEAD: 672}
    )

    def configs(self, topic: Topic) -> dict[str, str]:
        """What we ask of a topic, in Kafka's names."""
        return {"retention.ms": str(self.retention_h[topic] * 3_600_000), "max.message.bytes": str(BATCH_BYTES)}


class Topics:
    """Our topics on the broker, for all that work with them: made, or waited for where somebody else makes them."""

    def __init__(self, access: KafkaAccess, settings: TopicSettings, *, create: bool) -> None:
        self._access = access
        self._settings = settings
        self._create = create
        self._one_at_a_time = asyncio.Lock()
        self._there = False

    async def there(self) -> None:
        """Return when they have been there once. Raises KafkaError, OSError, BrokerRefusesError."""
        async with self._one_at_a_time:
            if self._there:
                return
            if not self._create:
                await _look(self._access)
            elif created := await _make(self._access, self._settings):
                log.info("topics created", topics=list(created))
            self._there = True


async def create_topics(access: KafkaAccess, settings: TopicSettings, *, timeout_s: float) -> tuple[str, ...]:
    """Create those of our topics that are missing; their names. What exists stays as it is.

    Raises BrokerAwayError, BrokerRefusesError.
    """
    return await patiently(access, lambda: _make(access, settings), timeout_s=timeout_s)


async def _make(access: KafkaAccess, settings: TopicSettings) -> tuple[str, ...]:
    admin = AIOKafkaAdminClient(**access.options())
    try:
        await admin.start()
        there = set(await admin.list_topics())
        wanted = [
            NewTopic(
                access.topic(topic), settings.partitions, settings.replication, topic_configs=settings.configs(topic)
            )
            for topic in Topic
            if access.topic(topic) not in there
        ]
        errors: Any = (await admin.create_topics(wanted)).topic_errors if wanted else ()
    finally:
        await admin.close()
    refused = [f"{name}: {why or f'error {code}'}" for name, code, *why in errors if code not in (0, TOPIC_EXISTS)]
    if refused:
        raise BrokerRefusesError("the broker refuses to create topics: " + "; ".join(str(line) for line in refused))
    return tuple(name for name, code, *_ in errors if code == 0)


async def _look(access: KafkaAccess) -> None:
    admin = AIOKafkaAdminClient(**access.options())
    try:
        await admin.start()
        missing = sorted({access.topic(topic) for topic in Topic} - set(await admin.list_topics()))
    finally:
        await admin.close()
    if missing:
        raise UnknownTopicOrPartitionError(f"RESTOW_KAFKA_CREATE_TOPICS=false, and there is no {', '.join(missing)}")

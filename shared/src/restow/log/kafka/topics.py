"""Our topics: how many partitions, how long they are kept, and their creation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from restow.errors import PermanentError
from restow.log.kafka.access import BATCH_BYTES, KafkaAccess, patiently
from restow.messages.events import Topic

TOPIC_EXISTS = 36  # Kafka's error code


@dataclass(frozen=True, slots=True)
class TopicSettings:
    partitions: int = 12
    replication: int = 1
    retention_h: Mapping[Topic, int] = field(
        default_factory=lambda: {Topic.TELEMETRY: 24, Topic.COMMANDS: 7 * 24, Topic.HEALING: 28 * 24, Topic.DEAD: 672}
    )


async def create_topics(access: KafkaAccess, settings: TopicSettings, *, timeout_s: float) -> tuple[str, ...]:
    """Create those of our topics that are missing; their names. What exists stays as it is.

    Raises BrokerAwayError, and PermanentError where the broker refuses.
    """
    wanted = [
        NewTopic(
            topic.value, settings.partitions, settings.replication,
            topic_configs={
                "retention.ms": str(settings.retention_h[topic] * 3_600_000), "max.message.bytes": str(BATCH_BYTES),
            },
        )
        for topic in Topic
    ]  # fmt: skip

    async def ask() -> Any:
        admin = AIOKafkaAdminClient(**access.options())
        try:
            await admin.start()
            missing = set(Topic) - set(await admin.list_topics())
            return await admin.create_topics([topic for topic in wanted if topic.name in missing]) if missing else None
        finally:
            await admin.close()

    answer = await patiently(access, ask, timeout_s=timeout_s)
    errors = [] if answer is None else answer.topic_errors
    refused = [f"{name}: {why or f'error {code}'}" for name, code, *why in errors if code not in (0, TOPIC_EXISTS)]
    if refused:
        raise PermanentError("the broker refuses to create topics: " + "; ".join(str(line) for line in refused))
    return tuple(name for name, code, *_ in errors if code == 0)


async def wait_for_topics(access: KafkaAccess, *, timeout_s: float) -> None:
    """Until all of our topics are there, made by somebody else. Raises BrokerAwayError, which names those that lack."""

    async def ask() -> None:
        admin = AIOKafkaAdminClient(**access.options())
        try:
            await admin.start()
            missing = sorted(set(Topic) - set(await admin.list_topics()))
        finally:
            await admin.close()
        if missing:
            raise UnknownTopicOrPartitionError(
                f"RESTOW_KAFKA_CREATE_TOPICS=false, and there is no {', '.join(missing)}"
            )

    await patiently(access, ask, timeout_s=timeout_s)

"""Where a consumer group begins: an older version named its groups without a prefix, and what they did is done."""

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from restow.log.kafka.access import KafkaAccess, quietly

# somebody else is in the group by now: it has begun
BEGUN = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)

log = structlog.get_logger(__name__)


async def take_over(access: KafkaAccess, name: str, topics: Iterable[str]) -> None:
    """Let our group begin where the group of that bare name stood, if ours has never begun and that one has.

    Whatever goes wrong here costs time, not events: a group that begins anew gets all that the broker has, and the
    inbox knows what is done. Raises KafkaError, OSError.
    """
    ours = access.group(name)
    if ours == name:
        return
    admin = AIOKafkaAdminClient(**access.options())
    try:
        await admin.start()
        if await _offsets(admin, ours, topics):
            return
        stood = await _offsets(admin, name, topics)
    except GroupAuthorizationFailedError as error:
        log.warning("where the group of an older version stood is not told", group=ours, older=name, error=str(error))
        return
    finally:
        await admin.close()
    if stood:
        await _begin(access, ours, stood)
        log.info("the group begins where that of an older version stood", group=ours, older=name)


async def _offsets(admin: Any, group: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    known = await admin.list_consumer_group_offsets(group)
    wanted = frozenset(topics)
    return {tp: found.offset for tp, found in known.items() if tp.topic in wanted and found.offset >= 0}


async def _begin(access: KafkaAccess, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    consumer = AIOKafkaConsumer(**access.options(), group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(list(offsets))
        await consumer.commit(dict(offsets))
    except BEGUN as error:
        log.info("the group has begun already", group=group, error=repr(error))
    finally:
        await quietly(consumer.stop())

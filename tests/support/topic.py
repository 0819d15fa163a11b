"""The public topic as an outsider reads it: with aiokafka alone, from its first event to its last."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

T = TypeVar("T")

HEALING = "restow.healing.v1"
PREFIX = "restow."
GONE_S = 30.0


def in_thread(work: Callable[[], Awaitable[T]]) -> T:
    """Where a loop may be running already."""

    async def whole() -> T:
        return await work()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(whole())).result()


def read_topic(bootstrap: str, topic: str = HEALING) -> list[dict[str, Any]]:
    """All events so far as the HTTP API tells them; those of one domain in their order."""
    return in_thread(lambda: _read(bootstrap, topic))


async def _read(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        assert partitions, f"there is no topic {topic}"
        ends = await consumer.end_offsets(partitions)
        while [one for one, end in ends.items() if await consumer.position(one) < end]:
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                found += [_event(message) for message in messages]
    finally:
        await consumer.stop()
    return found


def _event(message: Any) -> dict[str, Any]:
    headers = {name: value.decode() for name, value in message.headers}
    assert headers["ce_specversion"] == "1.0"
    assert message.key.decode() == headers["ce_domain"]
    attributes = {name.removeprefix("ce_"): value for name, value in headers.items() if name.startswith("ce_")}
    return {**attributes, "data": json.loads(message.value)}


def without_topics(bootstrap: str) -> str:
    """The address of this broker, on which no other installation has left a word: a new one would act on it."""
    in_thread(lambda: _delete(bootstrap))
    return bootstrap


async def _delete(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(GONE_S):
            while ours := [topic for topic in await admin.list_topics() if topic.startswith(PREFIX)]:
                await admin.delete_topics(ours)
                await asyncio.sleep(0.2)
    finally:
        await admin.close()

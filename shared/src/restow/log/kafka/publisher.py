"""Events on their way to the broker: idempotent, in order per partition, acknowledged by all replicas."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from restow.log.envelope import to_kafka
from restow.log.kafka.access import BATCH_BYTES, METADATA_S, BrokerAwayError, KafkaAccess, at_once, quietly
from restow.messages.events import Event


class KafkaPublisher:
    """Publishes events in order: those of one partition go in one batch at a time, acknowledged by all replicas."""

    def __init__(self, access: KafkaAccess, *, ready: Callable[[], Awaitable[None]] = at_once) -> None:
        """`ready` is awaited before anything is sent: a broker may make a topic that is named too early."""
        self._access = access
        self._ready = ready
        self._producer: Any = None

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are acknowledged. Raises BrokerAwayError: then some may be there, in order."""
        try:
            await self._ready()
            producer = self._producer or await self._start()
            waiting: dict[TopicPartition, deque[Event]] = defaultdict(deque)
            for event in events:
                waiting[await self._partition(producer, event)].append(event)
            while waiting:
                acks = [await producer.send_batch(self._batch(producer, queue), tp.topic, partition=tp.partition)
                        for tp, queue in waiting.items()]  # fmt: skip
                for ack in await asyncio.gather(*acks, return_exceptions=True):
                    if isinstance(ack, BaseException):
                        raise ack
                waiting = {tp: queue for tp, queue in waiting.items() if queue}
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()  # a fresh producer has no batch left over that could overtake
            raise BrokerAwayError(str(await self._access.failure(error))) from error

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _closed(producer)

    async def _start(self) -> Any:
        producer = AIOKafkaProducer(
            **self._access.options(), enable_idempotence=True, acks="all", compression_type="gzip",
            max_batch_size=BATCH_BYTES, max_request_size=BATCH_BYTES, metadata_max_age_ms=int(METADATA_S * 1000),
            request_timeout_ms=30_000,
        )  # fmt: skip
        try:
            await producer.start()
        except BaseException:
            await _closed(producer)
            raise
        self._producer = producer
        return producer

    async def _partition(self, producer: Any, event: Event) -> TopicPartition:
        topic = self._access.topic(event.topic)
        partitions = sorted(await producer.partitions_for(topic))
        return TopicPartition(topic, DefaultPartitioner()(event.domain.encode(), partitions, partitions))

    def _batch(self, producer: Any, queue: deque[Event]) -> Any:
        batch = producer.create_batch()
        while queue:
            key, value, headers = to_kafka(queue[0])
            at_ms = int(queue[0].time.timestamp() * 1000)
            if batch.append(key=key, value=value, timestamp=at_ms, headers=headers) is None:
                break
            queue.popleft()
        batch.close()
        return batch


async def _closed(producer: Any) -> None:
    await quietly(producer.stop())
    await quietly(producer.client.close())  # left open where the other did not come to its end

"""Events on their way from the broker to handlers: groups, partitions, offsets, rebalances."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from restow.database.engine import DatabaseAwayError
from restow.errors import PermanentError
from restow.log.delivery import Delivery
from restow.log.envelope import from_kafka
from restow.log.kafka.access import (
    BATCH_BYTES,
    BROKER_RETRY_S,
    CALL_MAX_S,
    METADATA_S,
    BrokerAwayError,
    KafkaAccess,
    patiently,
    quietly,
)
from restow.log.port import Handler
from restow.messages.events import Event
from restow.metrics import LAG

BROKER_AWAY_MAX_S = 600.0  # then the process gives up and its supervisor starts a new one
BROKER_LOOK_S = 5.0
COMMIT_EVERY_S = 0.5
POLL_S = 0.2
POLL_RECORDS = 200
QUEUE_RECORDS = 200  # a partition with more than this waiting is paused; it holds at most POLL_RECORDS more
REVOKE_GRACE_S = 12.0  # a solve may end before its partition goes; the group waits for it
SESSION_S = 15.0

log = structlog.get_logger(__name__)


class KafkaLog:
    """Brings events to handlers: one consumer group each, one task for each partition that it is given."""

    def __init__(self, access: KafkaAccess, delivery: Delivery, *, start_timeout_s: float = BROKER_AWAY_MAX_S) -> None:
        self._access = access
        self._delivery = delivery
        self._start_timeout_s = start_timeout_s
        self._stopping = asyncio.Event()
        self._groups: dict[str, _Group] = {}

    def drain(self) -> None:
        self._stopping.set()

    async def check(self) -> None:
        """Raises BrokerAwayError while any group has lost the broker."""
        for name, group in sorted(self._groups.items()):
            if group.away_s > 2 * BROKER_LOOK_S:
                raise BrokerAwayError(
                    f"RESTOW_KAFKA_BOOTSTRAP={self._access.bootstrap}: group {name} has not seen the broker for "
                    f"{group.away_s:.0f} s"
                )

    async def run(self, handler: Handler) -> None:
        group = await patiently(self._access, lambda: self._joined(handler), timeout_s=self._start_timeout_s)
        self._groups[handler.group] = group
        try:
            await group.run(self._stopping)
            await group.end(grace_s=None)
        finally:
            await group.close()
            self._groups.pop(handler.group, None)

    async def _joined(self, handler: Handler) -> "_Group":
        consumer = AIOKafkaConsumer(
            **self._access.options(), group_id=handler.group, auto_offset_reset="earliest",
            enable_auto_commit=False,  # the offset moves only after the database
            partition_assignment_strategy=(RangePartitionAssignor,),  # a domain's topics go to the same member
            session_timeout_ms=int(SESSION_S * 1000), heartbeat_interval_ms=int(SESSION_S * 1000 / 5),
            max_poll_interval_ms=300_000, max_partition_fetch_bytes=BATCH_BYTES,
            metadata_max_age_ms=int(METADATA_S * 1000),
        )  # fmt: skip
        group = _Group(consumer, handler, self._delivery, self._access)
        consumer.subscribe([topic.value for topic in sorted(handler.topics)], listener=group)
        try:
            await consumer.start()
        except BaseException:
            await quietly(consumer.stop())
            raise
        return group


class _Partition:
    """One partition's events, one after the other; `next_offset` is what may be committed."""

    def __init__(self) -> None:
        self.queue: deque[Any] = deque()
        self.arrived = asyncio.Event()
        self.stopping = False
        self.next_offset: int | None = None
        self.committed: int | None = None
        self.task: asyncio.Task[None] | None = None

    def ask_to_stop(self) -> None:
        self.stopping = True
        self.arrived.set()

    async def work(self, take: Callable[[Any], Awaitable[None]]) -> None:
        while not self.stopping:
            if not self.queue:
                self.arrived.clear()
                await self.arrived.wait()
                continue
            await take(self.queue[0])
            self.next_offset = self.queue.popleft().offset + 1


class _Group(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One handler's membership in its consumer group.

    The poll loop only hands records over, so a slow handler never costs us the membership.
    """

    def __init__(self, consumer: Any, handler: Handler, delivery: Delivery, access: KafkaAccess) -> None:
        self._consumer = consumer
        self._handler = handler
        self._delivery = delivery
        self._access = access
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._seen_s = time.monotonic()
        self._committed_s = 0.0

    @property
    def away_s(self) -> float:
        """For how long the broker has not answered."""
        return time.monotonic() - self._seen_s

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping`. Raises BrokerAwayError or DatabaseAwayError when either stays away for too long."""
        side = [asyncio.create_task(work) for work in (self._watch(), self._replay())]
        stop = asyncio.create_task(stopping.wait())
        try:
            while not stopping.is_set():
                poll = asyncio.create_task(
                    self._consumer.getmany(timeout_ms=int(POLL_S * 1000), max_records=POLL_RECORDS)
                )
                workers = [partition.task for partition in self._partitions.values() if partition.task is not None]
                await asyncio.wait({poll, stop, *side, *workers}, return_when=asyncio.FIRST_COMPLETED)
                for task in (*side, *workers):
                    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                        poll.cancel()
                        raise error
                if stop.done():
                    poll.cancel()
                    return
                await self._take(poll)
        finally:
            for each in (*side, stop):
                each.cancel()
            await asyncio.gather(*side, stop, return_exceptions=True)

    async def _take(self, poll: asyncio.Task[Any]) -> None:
        try:
            batches = await poll
        except KafkaError as error:
            log.warning("poll failed, will be tried again", group=self._handler.group, error=repr(error))
            await asyncio.sleep(BROKER_RETRY_S)
            return
        for tp, records in batches.items():
            if (partition := self._partitions.get(tp)) is not None:
                partition.queue.extend(records)
                partition.arrived.set()
        assigned, paused = self._consumer.assignment(), self._consumer.paused()
        for tp, partition in self._partitions.items():
            if tp in assigned and len(partition.queue) >= QUEUE_RECORDS and tp not in paused:
                self._consumer.pause(tp)
            elif tp in assigned and len(partition.queue) < QUEUE_RECORDS // 2 and tp in paused:
                self._consumer.resume(tp)
        if time.monotonic() - self._committed_s >= COMMIT_EVERY_S:
            await self._commit()
            self._report()

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Let the events at hand end within REVOKE_GRACE_S, cut off the rest, commit what is done."""
        await self._end(revoked, grace_s=REVOKE_GRACE_S)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        for tp in sorted(assigned):
            partition = self._partitions.setdefault(tp, _Partition())
            if partition.task is None:
                partition.task = asyncio.create_task(partition.work(self._deliver), name=f"{tp.topic}/{tp.partition}")
        log.info("partitions assigned", group=self._handler.group, partitions=len(assigned))

    async def end(self, *, grace_s: float | None) -> None:
        """Let the events at hand end within `grace_s` (None: until the caller has enough), take no others."""
        await self._end(set(self._partitions), grace_s=grace_s)

    async def close(self) -> None:
        """End at once, commit what is done, leave the group."""
        await self._end(set(self._partitions), grace_s=0)
        await quietly(self._consumer.stop())

    async def _end(self, gone: set[TopicPartition], *, grace_s: float | None) -> None:
        ending = {tp: self._partitions[tp] for tp in sorted(gone) if tp in self._partitions}
        for partition in ending.values():
            partition.ask_to_stop()
        tasks = [partition.task for partition in ending.values() if partition.task is not None]
        try:
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=grace_s)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)
            await self._commit()
        finally:
            for task in tasks:
                task.cancel()
            for tp in ending:
                self._partitions.pop(tp, None)

    async def _deliver(self, record: Any) -> None:
        try:
            event = from_kafka(record.key, record.value, record.headers)
        except PermanentError as error:
            await self._delivery.refuse(self._handler, _unreadable(record), error)
            return
        await self._delivery.deliver(self._handler, event)

    async def _commit(self) -> None:
        self._committed_s = time.monotonic()
        done = {
            tp: partition
            for tp, partition in self._partitions.items()
            if partition.next_offset is not None and partition.next_offset != partition.committed
        }
        if not done:
            return
        offsets = {tp: partition.next_offset for tp, partition in done.items()}
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), CALL_MAX_S)
        except (CommitFailedError, IllegalStateError) as error:  # another has the partition: it gets the events again
            log.info("offsets not committed: the group has changed", group=self._handler.group, error=str(error))
            return
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("offsets not committed, will be tried again", group=self._handler.group, error=repr(error))
            return
        for tp, partition in done.items():
            partition.committed = offsets[tp]

    def _report(self) -> None:
        behind: dict[str, int] = {topic.value: 0 for topic in self._handler.topics}
        for tp, partition in self._partitions.items():
            end = self._consumer.highwater(tp) if tp in self._consumer.assignment() else None
            if end is not None and partition.next_offset is not None:
                behind[tp.topic] += max(0, end - partition.next_offset)
            else:
                behind[tp.topic] += len(partition.queue)
        for topic, count in behind.items():
            LAG.labels(self._handler.group, topic).set(count)

    async def _watch(self) -> None:
        """Look whether the broker is there; the library itself would wait for it without end or word."""
        while True:
            try:
                await asyncio.wait_for(self._consumer.topics(), CALL_MAX_S)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("the broker does not answer", group=self._handler.group, away_s=round(self.away_s))
                if self.away_s > BROKER_AWAY_MAX_S:
                    raise self._access.away(error, tried_s=BROKER_AWAY_MAX_S) from error
            else:
                self._seen_s = time.monotonic()
            await asyncio.sleep(BROKER_LOOK_S)

    async def _replay(self) -> None:
        while True:
            try:
                await self._delivery.replay(self._handler)
            except DatabaseAwayError as error:
                log.info("no look at the dead letters: the database is away", error=str(error))
            await asyncio.sleep(1.0)


def _unreadable(record: Any) -> Event:
    return Event(
        id=f"{record.topic}/{record.partition}/{record.offset}"[-64:], type="restow.unreadable", source="kafka",
        domain=(record.key or b"").decode(errors="replace")[:255], subject="",
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        data={"value": (record.value or b"")[:10_000].decode(errors="replace")},
        correlation=f"{record.topic}/{record.partition}/{record.offset}"[-64:],
    )  # fmt: skip

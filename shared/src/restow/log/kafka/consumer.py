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

from restow.clock import SystemClock
from restow.database.engine import DatabaseAwayError
from restow.database.patience import Patience
from restow.errors import PermanentError
from restow.log.delivery import REPLAY_POLL_S, Delivery
from restow.log.envelope import from_kafka
from restow.log.kafka.access import (
    BATCH_BYTES,
    BROKER_RETRY_S,
    CALL_MAX_S,
    METADATA_S,
    BrokerAwayError,
    BrokerRefusesError,
    KafkaAccess,
    at_once,
    attempt,
    quietly,
)
from restow.log.kafka.groups import take_over
from restow.log.port import Handler
from restow.messages.events import Event
from restow.metrics import LAG

FRESH_AFTER_S = 600.0  # a client whose broker was away for so long is replaced: it may have lost more than it knows
REFUSED_MAX_S = 60.0  # our user may be made just now; after that a person is needed
JOIN_MAX_S = 120.0  # to join a group is to wait for all its members
BROKER_LOOK_S = 5.0
COMMIT_EVERY_S = 0.5
COMMIT_MAX_S = 5.0  # what is not committed comes again, and the inbox knows it
LAST_WORD_S = 1.0  # to a broker that is away
POLL_S = 0.2
POLL_RECORDS = 200
POLL_BROKEN_MAX_S = 60.0  # one that goes wrong for so long does not mend by itself: the client is replaced
QUEUE_RECORDS = 200  # a partition with more than this waiting is paused; it holds at most POLL_RECORDS more
REVOKE_GRACE_S = 12.0  # a solve may end before its partition goes; the group waits for it
SESSION_S = 15.0

log = structlog.get_logger(__name__)


class KafkaLog:
    """Brings events to handlers: one consumer group each, one task for each partition that it is given.

    `ready` is awaited before a group is joined. The broker may be away for as long as it is, at the start as well.
    """

    def __init__(
        self, access: KafkaAccess, delivery: Delivery, *, ready: Callable[[], Awaitable[None]] = at_once,
        refused_max_s: float = REFUSED_MAX_S, fresh_after_s: float = FRESH_AFTER_S,
    ) -> None:  # fmt: skip
        self._access = access
        self._delivery = delivery
        self._ready = ready
        self._refused_max_s = refused_max_s
        self._fresh_after_s = fresh_after_s
        self._met = False
        self._sights: dict[str, _Sight] = {}

    def drain(self) -> None:
        self._delivery.stopping.set()

    @property
    def away_s(self) -> float:
        """For how long the broker has not answered; 0 while it does."""
        return max((sight.away_s for sight in self._sights.values()), default=0.0)

    async def check(self) -> None:
        """Raises BrokerAwayError until the broker has answered once, and while any group has lost it."""
        where = f"RESTOW_KAFKA_BOOTSTRAP={self._access.bootstrap}"
        if not self._met:
            raise BrokerAwayError(f"{where}: waiting for the broker and our topics")
        for name, sight in sorted(self._sights.items()):
            if sight.away_s > 2 * BROKER_LOOK_S:
                raise BrokerAwayError(f"{where}: group {name} has not seen the broker for {sight.away_s:.0f} s")

    async def run(self, handler: Handler) -> None:
        """Raises BrokerRefusesError when the broker refuses us for longer than we are patient."""
        sight = self._sights[handler.group] = _Sight()
        patience = Patience("the broker", SystemClock(), BROKER_RETRY_S)  # it lives in the machine's time
        refused_since: float | None = None
        while not self._stopping.is_set():
            try:
                group = await self._join(handler, sight)
                if group is None:
                    return
                sight.saw()
                patience.over()
                refused_since = None
                await self._work(group)
            except BrokerAwayError as error:
                sight.lost()
                await patience.pause(error, group=handler.group)
            except BrokerRefusesError as error:
                sight.lost()
                refused_since = refused_since or time.monotonic()
                if time.monotonic() - refused_since >= self._refused_max_s:
                    raise
                await patience.pause(error, group=handler.group)

    @property
    def _stopping(self) -> asyncio.Event:
        return self._delivery.stopping

    async def _work(self, group: "_Group") -> None:
        try:
            await group.run(self._stopping, fresh_after_s=self._fresh_after_s)
            await group.end(grace_s=None)
        except DatabaseAwayError as error:  # only when we are stopping: what is left comes again
            log.info("the database is away: the rest waits for the next start", error=str(error))
        finally:
            await group.close()

    async def _join(self, handler: Handler, sight: "_Sight") -> "_Group | None":
        """A member of the handler's group; None: we were asked to stop. Raises BrokerAwayError, BrokerRefusesError.

        The library would wait without end for a broker that goes in the middle of it.
        """
        joining = asyncio.create_task(attempt(self._access, lambda: self._joined(handler, sight), limit_s=JOIN_MAX_S))
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not joining.done() and not stop.done():
                await asyncio.wait({joining, stop}, timeout=BROKER_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if not joining.done() and (error := await self._access.why_no_connection()) is not None:
                    raise await self._access.failure(error)
            if joining.cancelled():  # by the library, not by us
                raise BrokerAwayError(f"group {handler.group} was not joined: the client gave up")
            return joining.result() if joining.done() else None
        finally:
            for task in (joining, stop):
                task.cancel()
            await asyncio.gather(joining, stop, return_exceptions=True)

    async def _joined(self, handler: Handler, sight: "_Sight") -> "_Group":
        await self._ready()
        self._met = True
        topics = [self._access.topic(topic) for topic in sorted(handler.topics)]
        await take_over(self._access, handler.group, topics)
        consumer = AIOKafkaConsumer(
            **self._access.options(), group_id=self._access.group(handler.group), auto_offset_reset="earliest",
            enable_auto_commit=False,  # the offset moves only after the database
            partition_assignment_strategy=(RangePartitionAssignor,),  # a domain's topics go to the same member
            session_timeout_ms=int(SESSION_S * 1000), heartbeat_interval_ms=int(SESSION_S * 1000 / 5),
            max_poll_interval_ms=300_000, max_partition_fetch_bytes=BATCH_BYTES,
            metadata_max_age_ms=int(METADATA_S * 1000),
        )  # fmt: skip
        group = _Group(consumer, handler, self._delivery, self._access, sight)
        consumer.subscribe(topics, listener=group)
        try:
            await consumer.start()
        except BaseException:
            await _closed(consumer)
            raise
        return group


class _Sight:
    """Whether a group sees the broker."""

    def __init__(self) -> None:
        self._lost_s: float | None = None

    @property
    def away_s(self) -> float:
        return 0.0 if self._lost_s is None else time.monotonic() - self._lost_s

    def saw(self) -> None:
        self._lost_s = None

    def lost(self) -> None:
        if self._lost_s is None:
            self._lost_s = time.monotonic()


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

    def __init__(self, consumer: Any, handler: Handler, delivery: Delivery, access: KafkaAccess, sight: _Sight) -> None:
        self._consumer = consumer
        self._handler = handler
        self._delivery = delivery
        self._access = access
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._sight = sight
        self._polled_s = time.monotonic()
        self._committed_s = 0.0

    async def run(self, stopping: asyncio.Event, *, fresh_after_s: float) -> None:
        """Until `stopping`. Raises BrokerAwayError when the broker is away for longer than `fresh_after_s`."""
        side = [asyncio.create_task(work) for work in (self._watch(fresh_after_s), self._replay())]
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
            if time.monotonic() - self._polled_s > POLL_BROKEN_MAX_S:
                raise BrokerAwayError(f"group {self._handler.group} hears nothing any more: {error!r}") from error
            await asyncio.sleep(BROKER_RETRY_S)
            return
        self._polled_s = time.monotonic()
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
        await _closed(self._consumer, limit_s=LAST_WORD_S if self._sight.away_s else CALL_MAX_S)

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
                await asyncio.gather(*tasks, return_exceptions=True)
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
        if not done or self._sight.away_s:
            return  # a broker that is away takes no offsets: the events come again, and the inbox knows them
        offsets = {tp: partition.next_offset for tp, partition in done.items()}
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), COMMIT_MAX_S)
        except (CommitFailedError, IllegalStateError) as error:  # another has the partition: it gets the events again
            log.info("offsets not committed: the group has changed", group=self._handler.group, error=str(error))
            return
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("offsets not committed, will be tried again", group=self._handler.group, error=repr(error))
            return
        for tp, partition in done.items():
            partition.committed = offsets[tp]

    def _report(self) -> None:
        names = {self._access.topic(topic): topic for topic in self._handler.topics}
        behind = dict.fromkeys(names, 0)
        for tp, partition in self._partitions.items():
            end = self._consumer.highwater(tp) if tp in self._consumer.assignment() else None
            if end is not None and partition.next_offset is not None:
                behind[tp.topic] += max(0, end - partition.next_offset)
            else:
                behind[tp.topic] += len(partition.queue)
        for name, count in behind.items():
            LAG.labels(self._handler.group, names[name].value).set(count)

    async def _watch(self, fresh_after_s: float) -> None:
        """Look whether the broker is there; the library itself would wait for it without end or word."""
        patience = Patience("the broker", SystemClock(), BROKER_LOOK_S)
        while True:
            try:
                await asyncio.wait_for(self._consumer.topics(), CALL_MAX_S)
            except (KafkaError, OSError, TimeoutError) as error:
                self._sight.lost()
                if self._sight.away_s > fresh_after_s:
                    raise BrokerAwayError(str(await self._access.failure(error))) from error
                await patience.pause(error, group=self._handler.group)
            else:
                self._sight.saw()
                patience.over()
                await asyncio.sleep(BROKER_LOOK_S)

    async def _replay(self) -> None:
        patience = Patience("the database", SystemClock(), REPLAY_POLL_S)
        while True:
            try:
                await self._delivery.replay(self._handler)
            except DatabaseAwayError as error:
                await patience.pause(error, group=self._handler.group, so="no look at the dead letters")
            else:
                patience.over()
                await asyncio.sleep(REPLAY_POLL_S)


async def _closed(consumer: Any, *, limit_s: float = CALL_MAX_S) -> None:
    await quietly(consumer.stop(), limit_s=limit_s)
    await quietly(consumer._client.close(), limit_s=limit_s)  # noqa: SLF001  (left open where the other did not come to its end)


def _unreadable(record: Any) -> Event:
    return Event(
        id=f"{record.topic}/{record.partition}/{record.offset}"[-64:], type="restow.unreadable", source="kafka",
        domain=(record.key or b"").decode(errors="replace")[:255], subject="",
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        data={"value": (record.value or b"")[:10_000].decode(errors="replace")},
        correlation=f"{record.topic}/{record.partition}/{record.offset}"[-64:],
    )  # fmt: skip

"""Kafka behind the log's port: who it is, what is published, what is consumed. The only importer of aiokafka.

Offsets move after the database. A consumer group's assignment is a hint and never a guard.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.helpers import create_ssl_context
from aiokafka.partitioner import DefaultPartitioner

from restow.database.engine import DatabaseAwayError
from restow.errors import PermanentError, TransientError
from restow.log.delivery import Delivery
from restow.log.envelope import from_kafka, to_kafka
from restow.log.port import Handler
from restow.messages.events import Event, Topic
from restow.runtime.metrics import LAG

BROKER_AWAY_MAX_S = 600.0  # then the process gives up and its supervisor starts a new one
BROKER_LOOK_S = 5.0
BROKER_RETRY_S = 2.0
CALL_MAX_S = 10.0  # commits and looks at the broker
COMMIT_EVERY_S = 0.5
POLL_S = 0.2
POLL_RECORDS = 200
QUEUE_RECORDS = 200  # a partition with more than this waiting is paused; it holds at most POLL_RECORDS more
REVOKE_GRACE_S = 12.0  # a solve may end before its partition goes; the group waits for it
SESSION_S = 15.0
METADATA_S = 30.0
BATCH_BYTES = 8 * 2**20
TOPIC_EXISTS = 36  # Kafka's error code

log = structlog.get_logger(__name__)
T = TypeVar("T")


class BrokerAwayError(TransientError):
    """The broker does not answer, or refuses us; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Where the broker is and how we show who we are."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def options(self) -> dict[str, Any]:
        """What every client of aiokafka takes."""
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = create_ssl_context(
                cafile=self.ca_file, certfile=self.cert_file, keyfile=self.key_file
            )
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def away(self, error: BaseException, *, tried_s: float | None = None) -> BrokerAwayError:
        """The error that tells a person what to look at."""
        how = self.security_protocol + (f" with {self.sasl_mechanism}" if "SASL" in self.security_protocol else "")
        tried = "" if tried_s is None else f", tried for {tried_s:g} s"
        return BrokerAwayError(
            f"RESTOW_KAFKA_BOOTSTRAP={self.bootstrap}: no broker to work with ({how}{tried}): "
            f"{type(error).__name__}: {error}"
        )


async def patiently(access: KafkaAccess, work: Callable[[], Awaitable[T]], *, timeout_s: float) -> T:
    """Try until it works. Raises BrokerAwayError after `timeout_s`."""
    began = time.monotonic()  # the broker lives in the machine's time, whatever clock Restow runs on
    while True:
        left_s = timeout_s - (time.monotonic() - began)
        try:
            return await asyncio.wait_for(work(), max(left_s, 1.0))
        except (KafkaError, OSError, TimeoutError) as error:
            if left_s <= BROKER_RETRY_S:
                raise access.away(error, tried_s=timeout_s) from error
            log.info("the broker does not answer yet", bootstrap=access.bootstrap, error=str(error))
            await asyncio.sleep(BROKER_RETRY_S)


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


class KafkaPublisher:
    """Publishes events in order: those of one partition go in one batch at a time, acknowledged by all replicas."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._producer: Any = None

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all are acknowledged. Raises BrokerAwayError: then some may be there, in order."""
        try:
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
            raise self._access.away(error) from error

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _quietly(producer.stop())

    async def _start(self) -> Any:
        producer = AIOKafkaProducer(
            **self._access.options(), enable_idempotence=True, acks="all", compression_type="gzip",
            max_batch_size=BATCH_BYTES, max_request_size=BATCH_BYTES, metadata_max_age_ms=int(METADATA_S * 1000),
            request_timeout_ms=30_000,
        )  # fmt: skip
        try:
            await producer.start()
        except BaseException:
            await _quietly(producer.stop())
            raise
        self._producer = producer
        return producer

    async def _partition(self, producer: Any, event: Event) -> TopicPartition:
        partitions = sorted(await producer.partitions_for(event.topic.value))
        return TopicPartition(event.topic.value, DefaultPartitioner()(event.domain.encode(), partitions, partitions))

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
            await _quietly(consumer.stop())
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
        await _quietly(self._consumer.stop())

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
    from datetime import UTC, datetime

    return Event(
        id=f"{record.topic}/{record.partition}/{record.offset}"[-64:], type="restow.unreadable", source="kafka",
        domain=(record.key or b"").decode(errors="replace")[:255], subject="",
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        data={"value": (record.value or b"")[:10_000].decode(errors="replace")},
        correlation=f"{record.topic}/{record.partition}/{record.offset}"[-64:],
    )  # fmt: skip


async def _quietly(stopping: Awaitable[None]) -> None:
    """A client that cannot say goodbye is gone all the same."""
    try:
        await asyncio.wait_for(stopping, CALL_MAX_S)
    except (KafkaError, OSError, TimeoutError) as error:
        log.info("a Kafka client did not close in good order", error=repr(error))

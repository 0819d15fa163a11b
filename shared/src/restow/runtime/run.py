"""A process from its settings to its end: database, log, cloud, services, health, signals, drain."""

import asyncio
import os
import platform
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from restow.clock import Clock, SystemClock
from restow.cloud.port import CloudPort, Clouds
from restow.database.engine import Database, DatabaseAwayError, DatabaseRefusesError
from restow.database.patience import Patience
from restow.database.schema import check_current
from restow.database.tables import EventRow, LeaseRow
from restow.errors import NotFoundError, RestowError, TransientError
from restow.ids import DomainName
from restow.log.delivery import Delivery
from restow.log.port import Consumer
from restow.metrics import BROKER_AWAY
from restow.runtime.blocking import ThreadBlocking
from restow.runtime.health import Check, HttpServer, health_app
from restow.runtime.installation import Installation
from restow.runtime.service import Context, Loop
from restow.runtime.settings import Settings, unknown_variables
from restow.tracing import start_tracing

E = TypeVar("E", bound=RestowError)

DATABASE_RETRY_S = 1.0
SETTLE_S = 5.0  # at the end: for the last events to reach the broker

log = structlog.get_logger(__name__)


def random_id() -> str:
    """A new uuid4 from the machine's randomness; only what starts outside the log is named so."""
    return str(UUID(bytes=os.urandom(16), version=4))


def instance_name() -> str:
    """Unique to this process: host, process id, and chance for containers that all have process 1."""
    return f"{platform.node()[:80] or 'host'}-{os.getpid()}-{os.urandom(3).hex()}"


@dataclass(frozen=True, slots=True)
class ChosenClouds:
    """Of all domains of a cloud, those that RESTOW_DOMAINS names."""

    clouds: Clouds
    names: tuple[DomainName, ...]

    def domains(self) -> tuple[DomainName, ...]:
        return self.names

    def port(self, domain: DomainName) -> CloudPort:
        if domain not in self.names:
            raise NotFoundError(f"domain {domain} is not one of ours: RESTOW_DOMAINS={','.join(self.names)}")
        return self.clouds.port(domain)

    async def close(self) -> None:
        await self.clouds.close()


@dataclass(slots=True)
class Log:
    """How this process hears the log, and what it runs for it."""

    consumer: Consumer | None = None  # None: the embedded log
    loops: tuple[Loop, ...] = ()
    checks: tuple[Check, ...] = ()  # not those of a process that faces people: it serves them from the database
    settle: Callable[[], Awaitable[object]] | None = None


@dataclass(slots=True)
class Process:
    """One process of Restow; `run` is its whole life. `on_ready` gets the address that it listens on."""

    settings: Settings
    clock: Clock
    database: Database
    clouds: Clouds
    environment: Mapping[str, str]
    names: Sequence[str] | None = None
    instance: str = field(default_factory=instance_name)
    on_ready: Callable[[str], None] | None = None
    leaving: bool = False
    waits_for: str = "the database"

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, then drained. Database and broker may be away for as long as they are.

        Raises LoopDiedError when a part ends by itself, DatabaseRefusesError, SchemaError, BadInputError for a
        wrong setting.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        warn_of_unknown(self.environment)
        blocking = ThreadBlocking(self.settings.blocking_threads)
        stop_tracing = self._tracing()
        server = HttpServer(self._waiting_app(), host=self.settings.http_host, port=self.settings.http_port)
        started = asyncio.create_task(self._start(blocking, server))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({started, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                return
            installation = started.result()
            try:
                waiting = asyncio.create_task(installation.wait())
                await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    waiting.result()
                waiting.cancel()
                await self._take_leave(server)
                log.info("stopping: events at hand are brought to their end", instance=self.instance)
            finally:
                await installation.stop(drain_s=self.settings.drain_timeout_s)
        finally:
            started.cancel()
            stopping.cancel()
            await asyncio.gather(started, stopping, return_exceptions=True)
            await server.stop()
            blocking.close()
            await self.clouds.close()
            await self.database.close()
            if stop_tracing is not None:
                await asyncio.to_thread(stop_tracing)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _take_leave(self, server: HttpServer) -> None:
        """Say at /readyz that we go, and serve on until load balancers have noticed and clients hold no connection."""
        self.leaving = True
        server.keep_no_connections()
        await asyncio.sleep(self.settings.stop_delay_s)

    async def _check_staying(self) -> None:
        if self.leaving:
            raise TransientError("this process is stopping")

    async def _check_started(self) -> None:
        raise TransientError(f"starting: waiting for {self.waits_for}")

    def _waiting_app(self) -> Any:
        """What answers until there is more to say: a probe must see that we live, and a person what we wait for."""
        return health_app(lambda: (("process", self._check_started),), starting=True)

    async def _start(self, blocking: ThreadBlocking, server: HttpServer) -> Installation:
        await server.start()
        await self._wait_for_database()
        heard = self._log()
        context = Context(
            clock=self.clock, database=self.database, clouds=self.clouds, blocking=blocking, instance=self.instance,
            new_id=random_id, environment=dict(self.environment),
        )  # fmt: skip
        own: tuple[Check, ...] = (
            ("database", self.database.ping), ("schema", lambda: check_current(self.database)),
            ("process", self._check_staying),
        )  # fmt: skip
        installation = Installation(
            context, names=self.names, consumer=heard.consumer, loops=heard.loops, checks=own, settle=heard.settle
        )
        await installation.start()
        server.serve(self._app(installation, heard.checks))
        log.info("ready", services=list(installation.names), url=server.url, instance=self.instance)
        if self.on_ready is not None:
            self.on_ready(server.url)
        return installation

    async def _wait_for_database(self) -> None:
        """Raises SchemaError, and DatabaseRefusesError after as long as our user may take to be made."""
        patience = Patience("the database", SystemClock(), DATABASE_RETRY_S)  # it lives in the machine's time
        limit_s = self.settings.start_timeout_s
        while True:
            try:
                await self.database.ping()
                return await check_current(self.database)
            except (DatabaseAwayError, DatabaseRefusesError) as error:
                told = _named(self.database, error)
                if isinstance(error, DatabaseRefusesError) and patience.away_s >= limit_s:
                    raise told from error
                self.waits_for = str(told)
                await patience.pause(told)

    def _app(self, installation: Installation, of_the_log: Sequence[Check]) -> Any:
        app = installation.app
        if app is None:
            return health_app(lambda: (*installation.checks(), *of_the_log))
        app.state.checks = list(installation.checks())
        return app

    def _log(self) -> Log:
        if not self.settings.kafka_bootstrap:
            return Log()
        from restow.log.kafka import KafkaLog, KafkaPublisher, Topics
        from restow.log.relay import Relay, settled

        access = kafka_access(self.settings)
        topics = Topics(access, topic_settings(self.settings), create=self.settings.kafka_create_topics)
        kafka = KafkaLog(
            access, Delivery(self.database, self.clock), ready=topics.there, refused_max_s=self.settings.start_timeout_s
        )
        BROKER_AWAY.set_function(lambda: kafka.away_s)
        publisher = KafkaPublisher(access, ready=topics.there)
        relay = Relay.of(self.database, self.clock, publisher, holder=self.instance)
        return Log(
            consumer=kafka, loops=(Loop("relay", relay.run),), checks=(("broker", kafka.check),),
            settle=lambda: settled(self.database, timeout_s=SETTLE_S),
        )  # fmt: skip

    def _tracing(self) -> Callable[[], None] | None:
        if not self.settings.otlp_endpoint:
            return None
        name = "restow" if self.names is None else "restow-" + "-".join(self.names)
        return start_tracing(service=name, instance=self.instance, endpoint=self.settings.otlp_endpoint)


async def wait_for_database(database: Database, *, timeout_s: float) -> None:
    """Raises DatabaseAwayError or DatabaseRefusesError, which name the variable and what was tried."""
    waited_s = 0.0
    while True:
        try:
            return await database.ping()
        except (DatabaseAwayError, DatabaseRefusesError) as error:
            if waited_s >= timeout_s:
                raise _named(database, error, tried_s=timeout_s) from error
            if not waited_s:
                log.info("waiting for the database", error=str(error))
        await asyncio.sleep(DATABASE_RETRY_S)
        waited_s += DATABASE_RETRY_S


def _named(database: Database, error: E, *, tried_s: float | None = None) -> E:
    """The same error with what to look at."""
    where = make_url(database.url).render_as_string(hide_password=True)
    tried = "" if tried_s is None else f" (tried for {tried_s:g} s)"
    return type(error)(f"RESTOW_DATABASE_URL={where}{tried}: {error}")


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """A warning and no error: a newer version may know them, and this be the one to go back to."""
    for name, closest in unknown_variables(environment).items():
        meant = {"closest": closest} if closest else {}
        log.warning("no setting has this name, it does nothing", variable=name, **meant)


async def first_start(database: Database, clock: Clock, data_dir: Path) -> None:
    """Let every installed service prepare an installation of its own: the api makes the first key."""
    for point in sorted(entry_points(group="restow.first_start"), key=lambda point: point.name):
        await point.load()(database, clock, data_dir, random_id)


async def latest_time(database: Database) -> datetime | None:
    """The newest time on record, or None: a clock that ran fast must not go back behind it."""
    async with database.reading() as session:
        newest: list[datetime | None] = [
            (await session.execute(select(func.max(column)))).scalar_one()
            for column in (EventRow.time, LeaseRow.expires_at)
        ]
    return max((time for time in newest if time is not None), default=None)


def lease_times(speed: float) -> dict[str, str]:
    """How long leases last on a clock that runs `speed` times as fast: the machine's time to renew must not shrink."""
    executor_s, detector_s = (min(3600.0, seconds * max(1.0, speed)) for seconds in (10.0, 60.0))
    return {"RESTOW_EXECUTOR_LEASE_TTL_S": str(executor_s), "RESTOW_DETECTOR_LEASE_S": str(detector_s)}


def kafka_access(settings: Settings) -> Any:
    """The KafkaAccess of these settings."""
    from restow.log.kafka import KafkaAccess

    def text(file: Path | None) -> str | None:
        return None if file is None else str(file)

    return KafkaAccess(
        settings.kafka_bootstrap, security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism, username=settings.kafka_username, password=settings.password(),
        ca_file=text(settings.kafka_ca_file), cert_file=text(settings.kafka_cert_file),
        key_file=text(settings.kafka_key_file), topic_prefix=settings.kafka_topic_prefix,
        group_prefix=settings.kafka_group_prefix,
    )  # fmt: skip


def topic_settings(settings: Settings) -> Any:
    """The TopicSettings of these settings."""
    from restow.log.kafka import TopicSettings
    from restow.messages.events import Topic

    return TopicSettings(
        partitions=settings.kafka_partitions, replication=settings.kafka_replication,
        retention_h={
            Topic.TELEMETRY: settings.kafka_telemetry_hours, Topic.COMMANDS: settings.kafka_commands_hours,
            Topic.HEALING: settings.kafka_healing_hours, Topic.DEAD: settings.kafka_dead_hours,
        },
    )  # fmt: skip


async def run_services(names: Iterable[str], settings: Settings, environment: Mapping[str, str]) -> None:
    """The life of a container: these services, on the database, broker and cloud that the settings name."""
    from restow.cloud.connect import connect

    clock = SystemClock()
    clouds: Clouds = connect(settings.cloud, clock=clock)
    if settings.domain_names():
        clouds = ChosenClouds(clouds, tuple(DomainName(name) for name in settings.domain_names()))
    database = Database(settings.database())
    await Process(settings, clock, database, clouds, environment, names=tuple(names)).run()

"""The api alone over a cloud that stands still: what the tests of the front door speak to."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from sqlalchemy import select

import restow_api.service
from restow.cloud.model import Cloud
from restow.cloud.port import FAULTS
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow, Row
from restow.errors import NotFoundError
from restow.ids import DomainName, HostName
from restow.log.delivery import Delivery
from restow.messages.events import Event, Message, effect_of, first_event
from restow.runtime.service import Context, Service
from restow_api import keys
from support.builders import NOON, a_cloud, a_host, a_server

T = TypeVar("T")


class StillClock:
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")


@dataclass
class StillPort:
    """A cloud that only answers; `away` makes every read fail with it."""

    cloud: Cloud
    away: Exception | None = None
    reads: int = 0

    @property
    def domain(self) -> DomainName:
        return self.cloud.domain

    async def read(self) -> Cloud:
        self.reads += 1
        if self.away is not None:
            raise self.away
        return self.cloud

    async def close(self) -> None: ...


@dataclass
class TroubledPort(StillPort):
    """One that takes faults, as the simulated cloud does."""

    faults: list[tuple[str, str | None]] = field(default_factory=list)

    async def inject(self, kind: str, host: HostName) -> None:
        assert kind in FAULTS
        self.faults.append((kind, host))

    async def clear_faults(self, host: HostName | None = None) -> None:
        self.faults.append(("clear", host))


@dataclass
class StillClouds:
    ports: tuple[StillPort, ...]

    def domains(self) -> tuple[DomainName, ...]:
        return tuple(port.domain for port in self.ports)

    def port(self, domain: DomainName) -> StillPort:
        for port in self.ports:
            if port.domain == domain:
                return port
        raise NotFoundError(f"no domain {domain}")

    async def close(self) -> None: ...


async def in_place(work: Callable[[], T]) -> T:
    return work()


def small_cloud(domain: str = "region-one") -> Cloud:
    return a_cloud(
        [a_host("host-1"), a_host("host-2"), a_host("host-3", zone="az2")],
        [a_server(f"s{n}", on=f"host-{1 + n % 2}", name=f"web-{n}", project=f"p{n % 2}") for n in range(1, 8)],
        domain=domain,
    )


@dataclass
class FrontDoor:
    """`client(role)` speaks as a holder of that role; `tell` writes to the log and lets the views see it.

    `clock` is the cloud's, which may run faster; `wall` is that of the people.
    """

    service: Service
    context: Context
    clock: StillClock
    wall: StillClock
    ports: tuple[StillPort, ...]
    keys: dict[str, str]
    seen: int = 0

    @property
    def app(self) -> Any:
        return self.service.app

    @property
    def database(self) -> Database:
        return self.context.database

    @asynccontextmanager
    async def client(self, role: str | None = "admin", **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
        if role is not None:
            headers["Authorization"] = f"Bearer {self.keys[role]}"
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://door", headers=headers) as client:
            yield client

    async def log(self, *, type: str | None = None) -> list[Event]:
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
            return [event_of(row) for row in rows if type in (None, row.type)]

    async def tell(self, *events: Event) -> None:
        async with self.database.writing() as transaction:
            transaction.emit(*events)
        await self.settle()

    async def settle(self) -> None:
        """The handler has seen the whole log."""
        delivery = Delivery(self.database, self.clock)
        for event in await self.log():
            for handler in self.service.handlers:
                if event.topic in handler.topics:
                    await delivery.deliver(handler, event)

    def first(self, type: str, message: Message, *, subject: str, story: str | None = None, **other: Any) -> Event:
        event_id = other.pop("id", None) or self.context.new_id()
        return first_event(type, message, id=event_id, source="restow/test", domain=other.pop("domain", "region-one"),
                           subject=subject, time=self.clock.now(), correlation=story or event_id, **other)  # fmt: skip

    def effect(self, cause: Event, type: str, message: Message, **other: Any) -> Event:
        return effect_of(cause, type, message, source="restow/test", subject=other.pop("subject", cause.subject),
                         time=self.clock.now(), **other)  # fmt: skip


@asynccontextmanager
async def a_front_door(
    folder: Path, *, clouds: tuple[StillPort, ...] | None = None, **settings: str
) -> AsyncIterator[FrontDoor]:
    """`settings` are RESTOW_… variables without their prefix, in lower case."""
    numbers = itertools.count(1)
    ports = clouds or (TroubledPort(small_cloud()),)
    database = Database(f"sqlite:///{folder}/t.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    clock = StillClock()
    environment = {f"RESTOW_{name.upper()}": value for name, value in settings.items()}
    context = Context(
        clock, database, StillClouds(ports), in_place, "test-1", lambda: f"id-{next(numbers)}", environment
    )
    made = {}
    async with database.writing() as transaction:
        for role in keys.Role:
            _, made[role.value] = await keys.make_key(transaction, clock, name=f"the-{role}", role=role, by="test")
    service, wall = restow_api.service.build(context), StillClock()
    service.app.state.front.wall = wall
    try:
        yield FrontDoor(service, context, clock, wall, ports, made)
    finally:
        await database.close()

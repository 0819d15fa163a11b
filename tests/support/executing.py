"""A bench for the executor: a simulated cloud, a journal in SQLite, virtual time, and executors that can be killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from restow.clock import ScaledClock
from restow.cloud.model import Cloud
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds, SimulationOptions
from restow.database.documents import put_document
from restow.database.engine import Database, Transaction, event_of
from restow.database.tables import EventRow, Row
from restow.ids import HostName, ServerId, id_of_effect
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.messages.events import Event, HostMaintenance, PlanOrder, PlanState, PolicyPut, first_event
from restow.messages.plan import Action, Edge, Outcome, Plan, Step
from restow.messages.request import AnyRequest, parse_request
from restow.runtime.service import Context
from restow_executor.service import build
from support.builders import NOON

DOMAIN = "region-one"
ENDS = frozenset(f"restow.plan.{state}" for state in ("finished", "failed", "stale", "cancelled"))


class Killed(BaseException):
    """The process is gone, here and now."""


class MortalDatabase(Database):
    """A database whose process dies before or after its n-th write, if it is told to, and then does nothing more.

    `die_at`: or at the write that tells of a change of a step: ("before" or "after", the step, "started" or "ended").
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, inline=True)
        self.writes = 0
        self.die_before: int | None = None
        self.die_after: int | None = None
        self.die_at: tuple[str, str, str] | None = None
        self.dead = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        if not self.dead:
            self.writes += 1
        if self.dead or self.die_before == self.writes:
            self.dead = True
            raise Killed
        number = self.writes
        async with super().writing() as transaction:
            yield transaction
            told = {(when, *told_of_step(event)) for event in transaction.events for when in ("before", "after")}
            if self.die_at in told and self.die_at[0] == "before":
                self.dead = True
                raise Killed
        if self.die_after == number or self.die_at in told:
            self.dead = True
            raise Killed


def told_of_step(event: Event) -> tuple[str, str]:
    """The step and whether it has started or ended; two empty words for any other event."""
    if not event.type.startswith("restow.step."):
        return "", ""
    return event.data["step"], "started" if event.type.endswith(".started") else "ended"


async def in_place(work: Callable[[], Any]) -> Any:
    return work()


def step(id: str, action: Action | str, *, after: Iterable[str] = (), **other: Any) -> Step:
    names = {"source": "from", "target": "to"}
    edges = [Edge(step=one, because="it must be over").dump() for one in after]
    fields = {names.get(key, key): value for key, value in other.items()}
    return Step.model_validate_json(json.dumps({"id": id, "action": str(action), "waits_for": edges, **fields}))


def move(id: str, server: str, source: str, target: str, *, after: Iterable[str] = ()) -> Step:
    return step(id, "live-migrate", server=server, source=source, target=target, after=after, end_s=4.0)


def rescue(host: str, servers: Iterable[tuple[str, str]]) -> tuple[Step, ...]:
    """Disable and fence `host`, then evacuate each (server, target)."""
    first = (step("off", "disable-host", host=host), step("fence", "fence", host=host))
    return first + tuple(
        step(f"e-{server}", "evacuate", server=server, source=host, target=target, after=("off", "fence"))
        for server, target in servers
    )


async def put_approved(
    transaction: Transaction, plan: str, steps: Iterable[Step], *, id: str, at: datetime, planned_at: datetime,
    domain: str = DOMAIN, request: dict[str, Any] | None = None, incident: str | None = None,
) -> None:  # fmt: skip
    """A plan of these steps, approved: its documents and the word of it."""
    asked: AnyRequest = parse_request(request or {"goal": "evacuate", "hosts": ["h1"], "mode": "auto"})
    cloud = json.dumps({"taken_at": planned_at.isoformat()}).encode()
    snapshot = await put_document(transaction, cloud, kind="restow.cloud/1", at=at)
    body = Plan(
        id=plan, outcome=Outcome.PLAN, request=asked, domain=domain, snapshot=snapshot, seed=1, engine="test",
        steps=tuple(steps),
    )  # fmt: skip
    digest = await put_document(transaction, json.dumps(body.dump()).encode(), kind="restow.plan/1", at=at)
    message = PlanState(
        plan=plan, by="anna", document=digest, incident=incident, goal=asked.goal, mode=asked.mode.value
    )
    transaction.emit(
        first_event(
            "restow.plan.approved", message, id=id, source="test", domain=domain, subject=plan, time=at,
            correlation=incident or plan,
        )
    )  # fmt: skip


@dataclass
class Executor:
    """One process: its handler and its loop."""

    tasks: list[asyncio.Task[None]]
    database: MortalDatabase

    async def kill(self) -> None:
        """As kill -9 does: nothing more is written."""
        self.database.dead = True
        await self.stop()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    @property
    def gone(self) -> bool:
        return any(task.done() for task in self.tasks)


@dataclass
class Bench:
    """`port` is the cloud as executors see it; `cloud` as it is."""

    path: Path
    cloud: SimulatedCloud
    clock: ScaledClock
    port: Any = None
    databases: list[Database] = field(default_factory=list)
    numbers: int = 0
    started: list[Executor] = field(default_factory=list)

    @classmethod
    async def set_up(cls, path: Path, cloud: Cloud, **options: Any) -> "Bench":
        clock = ScaledClock(NOON)
        clock.now()
        simulated = SimulatedCloud(cloud, clock, seed=1, options=SimulationOptions(**options))
        bench = cls(path, simulated, clock, port=simulated)
        database = bench.a_database()
        async with database.engine.begin() as connection:
            await connection.run_sync(Row.metadata.create_all)
        return bench

    async def tear_down(self) -> None:
        for database in self.databases:
            await database.close()

    def a_database(self) -> MortalDatabase:
        database = MortalDatabase(f"sqlite:///{self.path}/executor.db")
        self.databases.append(database)
        return database

    @property
    def database(self) -> Database:
        return self.databases[0]

    @property
    def mouth(self) -> Database:
        """Where things are said: in the process of a living executor, so that it wakes at once."""
        living = [one.database for one in self.started if not one.database.dead]
        return living[0] if living else self.database

    def start(self, name: str = "one", *, port: Any = None, clouds: Any = None, listens: bool = True) -> Executor:
        """Another executor process on the same database."""
        database = self.a_database()
        clouds = clouds or SimulatedClouds({self.cloud.domain: port or self.port})
        context = Context(
            clock=self.clock, database=database, clouds=clouds, blocking=in_place, instance=name,
            new_id=lambda: "unused",
        )  # fmt: skip
        service = build(context)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one.run()) for one in service.loops]
        if listens:
            log = EmbeddedLog(database, Delivery(database, self.clock))
            tasks += [loop.create_task(log.run(handler)) for handler in service.handlers]
        self.started.append(Executor(tasks, database))
        return self.started[-1]

    # --- saying things ---------------------------------------------------------------------

    async def approve(
        self, plan: str, steps: Iterable[Step], *, request: dict[str, Any] | None = None, incident: str | None = None,
        planned_at: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC), domain: str = DOMAIN,
    ) -> None:  # fmt: skip
        self.numbers += 1
        number = id_of_effect("bench", str(self.numbers))
        async with self.mouth.writing() as transaction:
            await put_approved(
                transaction, plan, steps, id=number, at=self.clock.now(), planned_at=planned_at, incident=incident,
                request=request, domain=domain,
            )  # fmt: skip

    async def approve_unseen(self, plan: str, steps: Iterable[Step], **more: Any) -> None:
        """Approved by another process: not through the database of an executor that may be about to die."""
        living, self.started = self.started, []
        await self.approve(plan, steps, **more)
        self.started = living

    async def order(self, verb: str, plan: str, *, by: str = "berta", why: str = "because") -> None:
        message = PlanOrder(plan=plan, by=by, why=why)
        await self._say(self._event(f"restow.command.plan.{verb}", message, plan, correlation=plan))

    async def maintenance(self, host: str, *, on: bool) -> None:
        message = HostMaintenance(host=host, on=on, by="anna", reason="new kernel")
        await self._say(self._event("restow.command.host.maintenance", message, host, correlation=f"m-{host}"))

    async def put_policy(self, document: dict[str, Any]) -> None:
        message = PolicyPut(document={"format": "restow.policy/1", **document}, by="anna")
        await self._say(self._event("restow.command.policies.put", message, "policy", correlation="policy"))

    def _event(self, event_type: str, message: Any, subject: str, *, correlation: str) -> Event:
        self.numbers += 1
        return first_event(
            event_type, message, id=id_of_effect("bench", str(self.numbers)), source="test", domain=DOMAIN,
            subject=subject, time=self.clock.now(), correlation=correlation,
        )  # fmt: skip

    async def _say(self, event: Event) -> None:
        async with self.mouth.writing() as transaction:
            transaction.emit(event)

    # --- looking ---------------------------------------------------------------------------

    async def events(self, prefix: str = "restow.") -> list[Event]:
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
            return [event_of(row) for row in rows if row.type.startswith(prefix)]

    async def types(self, prefix: str = "restow.") -> list[str]:
        return [event.type.removeprefix("restow.") for event in await self.events(prefix)]

    async def end_of(self, plan: str, *, within_s: float = 7200.0) -> Event:
        """The event that ends this plan."""
        event = await self.heard(lambda one: one.type in ENDS and one.subject == plan, within_s=within_s)
        assert event.source == "restow/executor"
        return event

    async def heard(self, wanted: Callable[[Event], bool], *, within_s: float = 7200.0) -> Event:
        until = self.clock.now().timestamp() + within_s
        while self.clock.now().timestamp() <= until:
            for event in await self.events():
                if wanted(event):
                    return event
            self.raise_broken()
            await self.clock.sleep(0.5)
        raise AssertionError(f"not heard of within {within_s} s: {await self.types()}")

    def raise_broken(self) -> None:
        """An executor that died of a bug fails the test at once."""
        for one in self.started:
            for task in one.tasks:
                if task.done() and not task.cancelled() and not one.database.dead:
                    task.result()

    def calls(self, *methods: str) -> list[tuple[str, ...]]:
        return [(call.method, *call.args) for call in self.cloud.calls if not methods or call.method in methods]

    async def where(self, server: str) -> str | None:
        return (await self.cloud.server(ServerId(server))).host


@asynccontextmanager
async def a_bench(path: Path, cloud: Cloud, **options: Any) -> AsyncIterator[Bench]:
    bench = await Bench.set_up(path, cloud, **options)
    try:
        yield bench
    finally:
        await bench.tear_down()


def host(name: str) -> HostName:
    return HostName(name)

"""`restow simulate plan`: a plan carried out on the simulated cloud that its snapshot describes, told step by step.

The executor does it, as it would on a real cloud: it looks before each step and believes nothing. Time is virtual, so
hours pass in seconds. Nobody plans here: a world that is not as planned ends the plan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select

from restow.clock import ScaledClock
from restow.cloud.model import Cloud
from restow.cloud.simulated.cloud import SimulatedCloud, SimulatedClouds
from restow.cloud.snapshot import dump_cloud
from restow.database.documents import pack, put_document
from restow.database.engine import Database, event_of
from restow.database.schema import load_rows
from restow.database.tables import EventRow, Row
from restow.ids import DomainName, id_of_effect
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.messages.events import Event, PlanState, first_event
from restow.messages.plan import Plan
from restow.runtime.blocking import InPlaceBlocking
from restow.runtime.installation import Installation
from restow.runtime.service import Context
from restow.simulation.day import IDLE_S, QUIET
from restow.simulation.demo import sentence
from restow.simulation.virtual_loop import run_virtual
from restow.simulation.witness import ENDS, Verdict, Witness, installed_referee

BY = "simulate"
LOOK_EVERY_S = 1.0
PATIENCE_S = 24 * 3600.0  # on top of ten times what the plan predicts: then it is stuck, and that is the answer
PHYSICS = 3  # promises that the physics alone can judge: one place, every rule, nothing without a fence


@dataclass(frozen=True, slots=True)
class Played:
    """How the plan ended, after how long, and whether the promises held on the way."""

    state: str
    why: str
    seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def well(self) -> bool:
        return self.state == "finished" and all(verdict.held for verdict in self.verdicts)


def play_plan(cloud: Cloud, plan: Plan, *, seed: int, tell: Callable[[str], None]) -> Played:
    """Play the plan from its first step to its end. Deterministic in its arguments; leaves nothing behind."""
    with TemporaryDirectory(prefix="restow-play-") as folder:
        return run_virtual(_Stage(cloud, plan, Path(folder), seed=seed, tell=tell).play())


class _Stage:
    def __init__(self, cloud: Cloud, plan: Plan, folder: Path, *, seed: int, tell: Callable[[str], None]) -> None:
        self.given, self.plan, self.tell = cloud, plan, tell
        self.domain = DomainName(cloud.domain)
        self.clock = ScaledClock(cloud.taken_at)
        self.database = Database(f"sqlite:///{folder}/play.db", inline=True)
        self.cloud = SimulatedCloud(cloud, self.clock, seed=seed)
        self._told = 0

    async def play(self) -> Played:
        load_rows()
        async with self.database.engine.begin() as connection:
            await connection.run_sync(Row.metadata.create_all)
        context = Context(
            clock=self.clock, database=self.database, clouds=SimulatedClouds({self.domain: self.cloud}),
            blocking=InPlaceBlocking(), instance="play", new_id=lambda: "unused", environment=QUIET,
        )  # fmt: skip
        log = EmbeddedLog(self.database, Delivery(self.database, self.clock), wait_s=IDLE_S)
        installation = Installation(context, names=("executor",), consumer=log)
        await installation.start()
        await self._approve()
        state, why = await self._end()
        witness = Witness({self.domain: self.cloud}, self.database, installed_referee())
        verdicts = (await witness.judge(settled=False))[:PHYSICS]
        await installation.stop()
        await self.database.close()
        return Played(state, why, self._seconds(), verdicts)

    async def _approve(self) -> None:
        now = self.clock.now()
        body = self.plan.model_dump_json(by_alias=True).encode()
        async with self.database.writing() as transaction:
            document = await put_document(transaction, body, kind="restow.plan/1", at=now)
            await put_document(transaction, pack(dump_cloud(self.given)), kind="restow.cloud/1", at=now)
            message = PlanState(
                plan=self.plan.id, by=BY, document=document, goal=self.plan.request.goal,
                mode=self.plan.request.mode.value,
            )  # fmt: skip
            transaction.emit(
                first_event(
                    "restow.plan.approved", message, id=id_of_effect(self.plan.id, "play"), source=f"restow/{BY}",
                    domain=self.domain, subject=self.plan.id, time=now, correlation=self.plan.id,
                )
            )  # fmt: skip

    async def _end(self) -> tuple[str, str]:
        """Tell what happens until the plan has ended; its state and why."""
        until = self.given.taken_at + timedelta(seconds=PATIENCE_S + 10 * self.plan.makespan_s)
        while self.clock.now() < until:
            for event in await self._new():
                self.tell(f"{(event.time - self.given.taken_at).total_seconds():9.1f} s  {sentence(dict_of(event))}")
                if event.type.removeprefix("restow.plan.") in ENDS:
                    return event.type.removeprefix("restow.plan."), str(event.data.get("why", ""))
            await self.clock.sleep(LOOK_EVERY_S)
        return "under way", f"it has not ended after {self._seconds():,.0f} s"

    async def _new(self) -> list[Event]:
        wanted = select(EventRow).where(EventRow.seq > self._told).order_by(EventRow.seq)
        async with self.database.reading() as session:
            rows = (await session.execute(wanted)).scalars().all()
        self._told = rows[-1].seq if rows else self._told
        return [event_of(row) for row in rows]

    def _seconds(self) -> float:
        return (self.clock.now() - self.given.taken_at).total_seconds()


def dict_of(event: Event) -> dict[str, object]:
    """As the API tells it: what `sentence` reads."""
    return {"type": event.type, "data": dict(event.data)}

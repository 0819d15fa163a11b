"""A simulated day with random faults, the same by its seed: services, cloud, people and trouble in one process.

Runs on a loop with virtual time; everything that happens is drawn from the seed.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Literal

from sqlalchemy import select

from restow.clock import ScaledClock
from restow.cloud.model import Cloud
from restow.cloud.simulated.cloud import SimulatedCloud, SimulatedClouds
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.simulated.options import SimulationOptions
from restow.database.engine import Database, event_of
from restow.database.schema import load_rows
from restow.database.tables import EventRow, Row
from restow.errors import RestowError
from restow.ids import DomainName, HostName, id_of_effect
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.messages.base import Message
from restow.messages.events import HostMaintenance, IncidentOrder, PlanOrder, PlanRequest, PolicyPut, first_event
from restow.messages.request import Limits, Mode, parse_request
from restow.policy import Policy, Thresholds, parse_policy
from restow.runtime.blocking import InPlaceBlocking
from restow.runtime.installation import Installation
from restow.runtime.service import Context
from restow.simulation.virtual_loop import run_virtual
from restow.simulation.witness import ENDS, Verdict, Witness, installed_referee

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
SERVICES = ("detector", "planner", "executor")
POLL_S = 60.0
SETTLE_S = 2 * 3600.0
IDLE_S = 3600.0  # all is in one process and wakes by itself: looking more often only costs time
QUIET = {"RESTOW_EXECUTOR_IDLE_S": str(IDLE_S), "RESTOW_DETECTOR_LEASE_S": "300", "RESTOW_EXECUTOR_LEASE_TTL_S": "60"}
HOST_FAULTS = ("host-crash", "host-hang", "network-loss", "agent-down", "hot-host")
OPEN_STATES = ("requested", "proposed")
ENDING_LOOKS_MAX = 16  # half an hour each: a server that never converges takes that long at every new try


@dataclass(frozen=True, slots=True)
class DayReport:
    """`trace` is the digest of the whole log and of every call to the cloud: the same seed gives the same."""

    seed: int
    verdicts: tuple[Verdict, ...]
    trace: str
    events: int
    calls: int
    incidents: int
    plans: int
    moves: int

    @property
    def held(self) -> bool:
        return all(verdict.held for verdict in self.verdicts)


def play_day(seed: int, *, hours: float = 24.0, replays_max: int = 5, cloud: Cloud | None = None) -> DayReport:
    """Play one day and judge it. Deterministic in its arguments; leaves nothing behind."""
    with TemporaryDirectory(prefix="restow-day-") as folder:
        return run_virtual(_Day(seed, Path(folder), hours=hours, replays_max=replays_max, cloud=cloud).play())


class _Day:
    def __init__(self, seed: int, folder: Path, *, hours: float, replays_max: int, cloud: Cloud | None) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311  (trouble, not secrets)
        self.hours = hours
        self.replays_max = replays_max
        self.clock = ScaledClock(BEGIN)
        self.database = Database(f"sqlite:///{folder}/day.db", inline=True)
        given = cloud or generate_cloud(
            hosts=self.random.randint(5, 12),
            utilisation=self.random.uniform(0.35, 0.8),
            seed=seed,
            domain="day",
            taken_at=BEGIN,
        )
        self.given = replace(given, taken_at=BEGIN)
        self.domain = DomainName(self.given.domain)
        self._ids = 0

    async def play(self) -> DayReport:
        load_rows()
        async with self.database.engine.begin() as connection:
            await connection.run_sync(Row.metadata.create_all)
        options = SimulationOptions(live_migrations_per_source_max=self.random.choice((1, 2)), load_period_s=300.0)
        self.cloud = SimulatedCloud(self.given, self.clock, seed=self.seed, options=options)
        clouds = SimulatedClouds({self.domain: self.cloud})
        context = Context(
            clock=self.clock,
            database=self.database,
            clouds=clouds,
            blocking=InPlaceBlocking(),
            instance="day",
            new_id=self._id,
            environment=QUIET,
        )
        log = EmbeddedLog(self.database, Delivery(self.database, self.clock), wait_s=IDLE_S)
        self.installation = Installation(context, names=SERVICES, consumer=log)
        await self.installation.start()
        await self._command(
            "restow.command.policies.put", "policy", PolicyPut(document=self._policy().dump(), by="day")
        )
        await self._trouble()
        await self._settle()
        witness = Witness({self.domain: self.cloud}, self.database, installed_referee(), self.replays_max)
        verdicts = await witness.judge(settled=True)
        report = await self._report(verdicts)
        await self.installation.stop()
        await self.database.close()
        return report

    def _policy(self) -> Policy:
        mode = self.random.choice(("auto", "propose", "observe"))
        return parse_policy(
            {
                "format": "restow.policy/1",
                "evidence": {
                    "patience_s": 45,
                    "poll_s": POLL_S,
                    "returned_s": 60,
                    "source_silent_s": 120,
                    "read_s": 120,
                },
                "thresholds": {"hot_for_s": 120, "imbalance_for_s": 600, "underused_for_s": 3600},
                "rules": [
                    {"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0},
                    {"incident": "hot-host", "goal": "rebalance", "mode": "auto"},
                    {"incident": "imbalance", "goal": "rebalance", "mode": mode, "cool_down_s": 3600},
                    {"incident": "underused-hosts", "goal": "consolidate", "mode": mode, "cool_down_s": 7200},
                    {"incident": "returned-host", "mode": "observe"},
                ],
            }
        )

    # --- trouble ----------------------------------------------------------------------------

    async def _trouble(self) -> None:
        """Between 8 and 20 things go wrong, or are asked for, at random times of the day."""
        happenings: list[Callable[[], Awaitable[None]]] = [
            self._host_fault, self._host_fault, self._host_fault, self._many_fail, self._maintenance, self._people_ask,
            self._people_ask, self._service_dies, self._answers_lost, self._slow_cloud, self._stale_reads,
            self._bad_migrations, self._fence_fails, self._server_moves_by_hand,
        ]  # fmt: skip
        moments = sorted(self.random.uniform(0, self.hours * 3600) for _ in range(self.random.randint(8, 20)))
        for moment in moments:
            await self._wait_until(moment)
            await self.random.choice(happenings)()
        await self._wait_until(self.hours * 3600)

    async def _host_fault(self) -> None:
        host = self._a_host()
        await self.cloud.inject(self.random.choice(HOST_FAULTS), host)
        if self.random.random() < 0.7:
            await self._pause(600, 5400)
            await self.cloud.clear_faults(host)

    async def _many_fail(self) -> None:
        """More hosts at once than may fail: this must look like the network."""
        names = [host.name for host in self.given.hosts]
        for host in self.random.sample(names, k=max(4, len(names) // 2)):
            await self.cloud.inject("network-loss" if self.random.random() < 0.5 else "host-hang", host)
        await self._pause(300, 1800)
        await self.cloud.clear_faults()

    async def _maintenance(self) -> None:
        host = self._a_host()
        order = HostMaintenance(host=host, on=True, by="ann", reason="kernel update")
        await self._command("restow.command.host.maintenance", host, order)
        await self._pause(1800, 5400)
        await self._command("restow.command.host.maintenance", host, order.model_copy(update={"on": False}))

    async def _people_ask(self) -> None:
        request: dict[str, Any] = self.random.choice(
            (
                {"goal": "rebalance", "threshold": 0.05},
                {"goal": "consolidate"},
                {"goal": "evacuate", "hosts": [self._a_host()]},
                {"goal": "then", "goals": [{"goal": "evacuate", "hosts": [self._a_host()]}, {"goal": "rebalance"}]},
            )
        )
        plan = self._id()
        asked = parse_request({**request, "mode": "propose", "seed": self.random.randint(1, 1000)})
        asked = asked.model_copy(update={"limits": Limits(time_limit_s=5.0), "mode": Mode.PROPOSE})
        await self._command(
            "restow.command.plan.request", plan, PlanRequest(plan=plan, request=asked, requested_by="ann")
        )
        await self._pause(5, 60)
        await self._order(self.random.choice(("approve", "approve", "approve", "reject", "cancel")), plan)
        if self.random.random() < 0.4:
            await self._pause(2, 60)
            await self._order("pause", plan)
            await self._pause(30, 120)
            await self._order(self.random.choice(("resume", "resume", "cancel")), plan)
        if self.random.random() < 0.3:
            await self._pause(300, 1200)
            await self._order("undo", plan)

    async def _service_dies(self) -> None:
        """Killed as by SIGKILL at any point, often in mid-plan, and started again."""
        name = self.random.choice(SERVICES)
        for _ in range(self.random.randint(1, 4)):
            await self._pause(1, 120)
            await self.installation.kill(name)
            await self._pause(1, 60)
            await self.installation.revive(name)

    async def _answers_lost(self) -> None:
        when: Literal["before", "after"] = "before" if self.random.random() < 0.5 else "after"
        self.cloud.trouble.lose_answers(self.random.randint(1, 4), when=when)

    async def _slow_cloud(self) -> None:
        self.cloud.trouble.slow_answers(self.random.uniform(1, 20))
        await self._pause(120, 900)
        self.cloud.trouble.slow_answers(0)

    async def _stale_reads(self) -> None:
        self.cloud.trouble.stale_reads(self.random.uniform(5, 60))
        await self._pause(120, 900)
        self.cloud.trouble.stale_reads(0)

    async def _bad_migrations(self) -> None:
        for server in self.random.sample(sorted(self.cloud.truth()), k=3):
            if self.random.random() < 0.5:
                self.cloud.trouble.never_converges(server)
            else:
                self.cloud.trouble.fails(server, in_error=self.random.random() < 0.3)

    async def _fence_fails(self) -> None:
        host = self._a_host()
        self.cloud.trouble.break_fence(host, how=self.random.choice(("ignored", "error")))
        await self.cloud.inject(self.random.choice(("host-crash", "host-hang")), host)
        await self._pause(900, 3600)
        self.cloud.trouble.mend_fence(host)
        await self.cloud.clear_faults(host)

    async def _server_moves_by_hand(self) -> None:
        """A person migrates a server while plans may be under way."""
        cloud = await self.cloud.read()
        movable = [server for server in cloud.servers if server.host and not server.task and not server.locked]
        server, host = self.random.choice(movable), self._a_host()
        try:
            await self.cloud.live_migrate(server.id, to=host, request_id=f"by-hand-{self._id()}")
        except RestowError:
            return  # refused or lost: that too happens to people

    # --- the end ----------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Trouble ends, people decide what waits for them, and everything must come to an end."""
        self.cloud.trouble.slow_answers(0)
        self.cloud.trouble.stale_reads(0)
        for host in self.given.hosts:
            self.cloud.trouble.mend_fence(host.name)
        await self.cloud.clear_faults()
        calm = Thresholds(hot=2, hot_clear=2, imbalance=2, imbalance_clear=2, underused=0.001, underused_clear=0.001)
        policy = self._policy().model_copy(update={"thresholds": calm})
        await self._command("restow.command.policies.put", "policy", PolicyPut(document=policy.dump(), by="day"))
        await self.clock.sleep(SETTLE_S / 2)
        for plan in await self._undecided():
            await self._order("reject", plan)
        await self.clock.sleep(SETTLE_S / 4)
        for incident in await self._open_incidents():
            order = IncidentOrder(incident=incident, by="ann", why="looked at by a person")
            await self._command("restow.command.incident.close", incident, order)
        for _ in range(ENDING_LOOKS_MAX):
            await self.clock.sleep(SETTLE_S / 4)
            if not await self._under_way():
                return

    async def _undecided(self) -> list[str]:
        return [plan for plan, state in (await self._states()).items() if state in OPEN_STATES]

    async def _under_way(self) -> list[str]:
        return [plan for plan, state in (await self._states()).items() if state not in ENDS]

    async def _states(self) -> dict[str, str]:
        """What was last said of each plan."""
        said = [event for event in await self._events() if event.type.startswith("restow.plan.")]
        return {event.data["plan"]: event.type.split(".")[2] for event in said}

    async def _open_incidents(self) -> list[str]:
        events = await self._events()
        closed = {event.data["id"] for event in events if event.type == "restow.incident.closed"}
        return sorted({event.data["id"] for event in events if event.type == "restow.incident.opened"} - closed)

    async def _report(self, verdicts: tuple[Verdict, ...]) -> DayReport:
        events = await self._events()
        digest = hashlib.sha256()
        for event in events:
            digest.update(json.dumps({**asdict(event), "time": event.time.isoformat()}, sort_keys=True).encode())
        for call in self.cloud.calls:
            digest.update(repr(call).encode())
        kinds = [event.type for event in events]
        return DayReport(
            seed=self.seed,
            verdicts=verdicts,
            trace=digest.hexdigest(),
            events=len(events),
            calls=len(self.cloud.calls),
            incidents=kinds.count("restow.incident.opened"),
            plans=kinds.count("restow.plan.proposed"),
            moves=len(self.cloud.attempts()),
        )

    # --- small parts ------------------------------------------------------------------------

    def _a_host(self) -> HostName:
        return self.random.choice(self.given.hosts).name

    def _id(self) -> str:
        self._ids += 1
        return id_of_effect(f"day-{self.seed}", str(self._ids))

    async def _pause(self, least_s: float, most_s: float) -> None:
        await self.clock.sleep(self.random.uniform(least_s, most_s))

    async def _wait_until(self, second: float) -> None:
        await self.clock.sleep(max(0.0, second - (self.clock.now() - BEGIN).total_seconds()))

    async def _order(self, verb: str, plan: str) -> None:
        await self._command(f"restow.command.plan.{verb}", plan, PlanOrder(plan=plan, by="bob", why="as the day went"))

    async def _command(self, event_type: str, subject: str, message: Message) -> None:
        event = first_event(
            event_type, message, id=self._id(), source="restow/day", domain=self.domain, subject=subject,
            time=self.clock.now(), correlation=subject,
        )  # fmt: skip
        async with self.database.writing() as transaction:
            transaction.emit(event)

    async def _events(self) -> list[Any]:
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars().all()
        return [event_of(row) for row in rows]

"""The detector as a service: SQLite, the embedded log and the simulated cloud, on time that jumps."""

import asyncio
import time
from datetime import timedelta

from prometheus_client import REGISTRY
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, update

from restow.clock import ScaledClock
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds
from restow.database.engine import event_of
from restow.database.tables import EventRow, LeaseRow, Row
from restow.errors import TransientError
from restow.ids import HostName
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.messages.events import PlanProposed, PlanState, Signal, effect_of, first_event
from restow.runtime.service import Context
from restow.simulation.virtual_loop import run_virtual
from restow_detector.service import build
from restow_detector.store import DetectorStateRow, HostHealthRow, IncidentRow
from support.away import FickleDatabase
from support.builders import NOON, a_cloud, a_host, a_server

DOMAIN = "region-one"
POLICY = """
format: restow.policy/1
thresholds: {hot: 1.9, hot_clear: 1.9, imbalance: 2.0, imbalance_clear: 2.0, underused: 0.0001, underused_clear: 0.0001}
rules:
- {incident: failed-host, goal: recover, mode: auto, cool_down_s: 0}
- {incident: returned-host}
"""


async def in_place(work):
    return work()


class Bench:
    """One cloud, one database, and as many detectors as the test starts."""

    def __init__(self, tmp_path, *, hosts=8, servers=16, cloud=SimulatedCloud):
        self.clock = ScaledClock(NOON)
        self.clock.now()
        (tmp_path / "policy.yaml").write_text(POLICY)
        self.environment = {"RESTOW_POLICY_FILE": str(tmp_path / "policy.yaml")}
        on = [a_server(f"s{n}", on=f"h{n % hosts}") for n in range(servers)]
        self.cloud = cloud(a_cloud([a_host(f"h{n}") for n in range(hosts)], on), self.clock)
        self.database = FickleDatabase(f"sqlite:///{tmp_path}/detector.db", inline=True)
        self.tasks = {}

    async def prepare(self):
        async with self.database.engine.begin() as connection:
            await connection.run_sync(Row.metadata.create_all)

    def start(self, name):
        clouds = SimulatedClouds({DOMAIN: self.cloud})
        service = build(
            Context(clock=self.clock, database=self.database, clouds=clouds, blocking=in_place, instance=name,
                    new_id=lambda: "unused", environment=self.environment)
        )  # fmt: skip
        log = EmbeddedLog(self.database, Delivery(self.database, self.clock))
        tasks = [asyncio.create_task(loop.run()) for loop in service.loops]
        tasks += [asyncio.create_task(log.run(handler)) for handler in service.handlers]
        self.tasks[name] = tasks

    async def kill(self, name):
        for task in self.tasks[name]:
            task.cancel()
        await asyncio.gather(*self.tasks.pop(name), return_exceptions=True)

    async def end(self):
        for name in list(self.tasks):
            await self.kill(name)
        await self.database.close()

    async def told(self, event_type):
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
            return [event_of(row) for row in rows if row.type == event_type]

    async def rows(self, row):
        async with self.database.reading() as session:
            return list((await session.execute(select(row))).scalars())

    async def say(self, *events):
        async with self.database.writing() as transaction:
            transaction.emit(*events)


def played(tmp_path, story, **options):
    async def play():
        bench = Bench(tmp_path, **options)
        await bench.prepare()
        try:
            return await story(bench)
        finally:
            await bench.end()

    return run_virtual(play())


def test_a_crash_becomes_an_incident_a_request_and_at_the_plans_end_an_outcome(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(60)
        await bench.cloud.inject("host-crash", HostName("h3"))
        crashed = bench.clock.now()
        await asyncio.sleep(60)
        (opened,), (asked,) = (
            await bench.told("restow.incident.opened"),
            await bench.told("restow.command.plan.request"),
        )
        assert 30 <= (opened.time - crashed).total_seconds() <= 45
        assert opened.data["hosts"] == ["h3"]
        assert sorted(opened.data["servers"]) == ["s11", "s3"]
        assert asked.data["request"]["hosts"] == ["h3"]
        plan = PlanProposed(
            plan=asked.subject, outcome="plan", mode="auto", document="sha256:1", snapshot="sha256:2", goal="recover",
            steps=4, moved_mib=0, makespan_s=9.0, blockers=0, incident=opened.subject,
        )  # fmt: skip
        end = PlanState(plan=asked.subject, by="executor", incident=opened.subject, counts={"finished": 4})
        for event_type, message in (("restow.plan.proposed", plan), ("restow.plan.finished", end)):
            await bench.say(
                effect_of(asked, event_type, message, source="test", subject=asked.subject, time=bench.clock.now())
            )
        await asyncio.sleep(600)
        (closed,) = await bench.told("restow.incident.closed")
        assert closed.data["outcome"] == "healed"
        assert len(await bench.told("restow.incident.opened")) == 1
        (row,) = await bench.rows(IncidentRow)
        assert (row.state, row.outcome) == ("closed", "healed")
        (health,) = await bench.rows(HostHealthRow)
        assert (health.host, health.health) == ("h3", "failed")
        await bench.cloud.clear_faults(HostName("h3"))
        await asyncio.sleep(400)
        (returned,) = await bench.told("restow.host.returned")
        assert returned.subject == "h3"
        assert not await bench.rows(HostHealthRow)

    played(tmp_path, story)


def test_an_agent_that_is_down_and_a_network_that_is_lost_never_lead_to_recovery(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        await bench.cloud.inject("agent-down", HostName("h1"))
        await bench.cloud.inject("network-loss", HostName("h2"))
        await asyncio.sleep(900)
        assert not await bench.told("restow.command.plan.request")
        assert not await bench.told("restow.incident.opened")
        refusals = await bench.told("restow.refusal")
        assert sorted(one.subject for one in refusals if one.data["guard"] == "quorum") == ["h1", "h2"]

    played(tmp_path, story)


def test_killed_in_the_middle_and_started_again_it_goes_on_where_it_was(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(20)
        await bench.kill("one")
        bench.start("one")
        await asyncio.sleep(30)
        assert len(await bench.told("restow.incident.opened")) == 1
        await bench.kill("one")
        bench.start("one")
        await asyncio.sleep(600)
        assert len(await bench.told("restow.incident.opened")) == 1
        assert len(await bench.told("restow.command.plan.request")) == 1

    played(tmp_path, story)


def test_of_two_detectors_one_looks_and_the_other_takes_over(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(1)
        bench.start("two")
        await asyncio.sleep(60)
        (lease,) = await bench.rows(LeaseRow)
        assert (lease.name, lease.holder) == (f"detector/{DOMAIN}", "one")
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(20)
        await bench.kill("one")
        await asyncio.sleep(180)
        (lease,) = await bench.rows(LeaseRow)
        assert (lease.holder, lease.epoch) == ("two", 2)
        assert len(await bench.told("restow.incident.opened")) == 1
        assert len(await bench.told("restow.command.plan.request")) == 1

    played(tmp_path, story)


class DeafCloud(SimulatedCloud):
    """A simulated cloud whose API can go away."""

    deaf = False

    async def heartbeats(self):
        if self.deaf:
            raise TransientError("connection refused")
        return await super().heartbeats()


def test_a_cloud_that_does_not_answer_is_no_news_about_its_hosts(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        bench.cloud.deaf = True
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(600)
        (refusal,) = await bench.told("restow.refusal")
        assert refusal.data["guard"] == "cloud-unreachable"
        assert "connection refused" in refusal.data["why"]
        bench.cloud.deaf = False
        back = bench.clock.now()
        await asyncio.sleep(60)
        (opened,) = await bench.told("restow.incident.opened")
        assert (opened.time - back).total_seconds() >= 30

    played(tmp_path, story, cloud=DeafCloud)


def gauge(name):
    return REGISTRY.get_sample_value(name, {"domain": DOMAIN})


def test_a_detector_that_starts_in_an_outage_tells_that_it_is_blind_and_that_it_looks(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        assert gauge("restow_cloud_unreachable") == 0
        bench.cloud.deaf = True
        await asyncio.sleep(30)
        assert gauge("restow_cloud_unreachable") == 1
        await bench.kill("one")
        assert gauge("restow_cloud_unreachable") is None
        bench.start("one")
        await asyncio.sleep(30)
        assert gauge("restow_cloud_unreachable") == 1
        assert 0 <= bench.clock.now().timestamp() - gauge("restow_looked_at_timestamp_seconds") <= 10
        bench.cloud.deaf = False
        await asyncio.sleep(30)
        assert gauge("restow_cloud_unreachable") == 0

    played(tmp_path, story, cloud=DeafCloud)


def test_a_detector_that_loses_its_domain_tells_of_it_no_more(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        assert gauge("restow_looked_at_timestamp_seconds") is not None
        until = bench.clock.now() + timedelta(hours=1)
        async with bench.database.writing() as transaction:
            await transaction.session.execute(update(LeaseRow).values(holder="two", epoch=2, expires_at=until))
        await asyncio.sleep(60)
        assert gauge("restow_cloud_unreachable") is None
        assert gauge("restow_looked_at_timestamp_seconds") is None

    played(tmp_path, story)


def test_a_database_that_is_away_for_hours_ends_no_detector_and_shows_in_the_time_of_its_last_look(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(60)
        bench.database.away = True
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(3 * 3600)
        assert bench.clock.now().timestamp() - gauge("restow_looked_at_timestamp_seconds") > 10_000
        assert not any(task.done() for task in bench.tasks["one"])
        bench.database.away = False
        await asyncio.sleep(60)
        assert len(await bench.told("restow.incident.opened")) == 1
        assert bench.clock.now().timestamp() - gauge("restow_looked_at_timestamp_seconds") <= 10

    played(tmp_path, story)


def test_a_signal_from_the_log_is_heard_once_however_often_it_comes(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(10)
        said = Signal(source="alertmanager", kind="disk-failing", host="h3", observed_at=bench.clock.now())
        event = first_event("restow.signal", said, id="x1", source="restow/api", domain="*", subject="h3",
                            time=bench.clock.now(), correlation="x1")  # fmt: skip
        await bench.say(event)
        await asyncio.sleep(5)
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(60)
        (opened,) = await bench.told("restow.incident.opened")
        assert opened.data["explains"] == ["disk-failing of host h3 (says alertmanager)"]

    played(tmp_path, story)


def test_a_quiet_time_writes_nothing_but_the_lease(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(60)
        (before,) = await bench.rows(DetectorStateRow) or [None]
        written = []
        sqlalchemy_event.listen(
            bench.database.engine.sync_engine, "before_cursor_execute",
            lambda _c, _cursor, statement, *_: written.append(statement)
            if statement.startswith(("INSERT", "UPDATE", "DELETE")) and " lease" not in statement else None,
        )  # fmt: skip
        await asyncio.sleep(900)
        assert not written
        (after,) = await bench.rows(DetectorStateRow) or [None]
        assert (before and before.version) == (after and after.version)

    played(tmp_path, story)


def test_from_complete_evidence_to_the_request_takes_no_time_worth_speaking_of(tmp_path):
    async def story(bench):
        bench.start("one")
        await asyncio.sleep(30)
        await bench.cloud.inject("host-crash", HostName("h3"))
        await asyncio.sleep(26)
        started = time.perf_counter()
        while not (asked := await bench.told("restow.command.plan.request")):
            started = time.perf_counter() if not await bench.rows(IncidentRow) else started
            await asyncio.sleep(1)
        assert asked[0].data["request"]["hosts"] == ["h3"]
        return time.perf_counter() - started

    assert played(tmp_path, story, hosts=1000, servers=5000) < 2.0

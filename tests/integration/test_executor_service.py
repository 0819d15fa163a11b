"""The executor service on a SQLite file with its own threads, the system's event loop, and a faster clock."""

import asyncio
import time

import pytest
from sqlalchemy import select

from restow.clock import ScaledClock, SystemClock
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow, LeaseRow, Row
from restow.errors import BadInputError
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.runtime.service import Context
from restow_executor.service import build
from support.builders import NOON, a_cloud, a_host, a_server
from support.executing import DOMAIN, Bench, Executor, in_place, move, step

SPEED = 20.0


def a_context(database, cloud, clock, *, environment=None):
    clouds = SimulatedClouds({cloud.domain: cloud})
    return Context(
        clock=clock, database=database, clouds=clouds, blocking=in_place, instance="one", new_id=lambda: "unused",
        environment=environment or {},
    )  # fmt: skip


async def given_back(database, clock):
    async with database.reading() as session:
        leases = (await session.execute(select(LeaseRow))).scalars().all()
    assert [lease.name for lease in leases] == [f"executor/{DOMAIN}"]
    return all(lease.expires_at <= clock.now() for lease in leases)


async def test_a_plan_is_carried_out_on_real_threads_and_the_first_call_comes_at_once(tmp_path):
    clock = ScaledClock(NOON, speed=SPEED)
    clock.now()
    servers = [a_server(f"s{n}", on="h1") for n in range(4)]
    cloud = SimulatedCloud(a_cloud([a_host("h1"), a_host("h2"), a_host("h3")], servers), clock)
    database = Database(f"sqlite:///{tmp_path}/executor.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    service = build(a_context(database, cloud, clock, environment={"RESTOW_EXECUTOR_LEASE_TTL_S": "600"}))
    log = EmbeddedLog(database, Delivery(database, SystemClock()))
    tasks = [asyncio.create_task(loop.run()) for loop in service.loops]
    tasks += [asyncio.create_task(log.run(handler)) for handler in service.handlers]
    bench = Bench(tmp_path, cloud, clock, port=cloud, databases=[database])
    bench.started.append(Executor(tasks, database))
    database.dead = False
    for _, check in service.checks:
        await check()
    await asyncio.sleep(0.3)  # the loops are idle, as they are most of the time
    began = time.monotonic()
    await bench.approve(
        "p1",
        [step("d", "disable-host", host="h1"), *(move(f"m{n}", f"s{n}", "h1", "h2", after=["d"]) for n in range(4))],
    )
    while not cloud.calls:
        await asyncio.sleep(0.001)
    assert time.monotonic() - began < 1.0  # a generous bound for a busy machine; some 30 ms on an idle one
    end = await bench.end_of("p1", within_s=1200.0)
    assert end.type == "restow.plan.finished"
    assert end.data["counts"] == {"finished": 5}
    assert not cloud.violations()
    async with asyncio.timeout(10.0):  # a third of the term: the lease is given back, it does not run out
        while not await given_back(database, clock):
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with database.reading() as session:
        kinds = [
            event_of(row).type for row in (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
        ]
    assert kinds.count("restow.step.finished") == 5
    await database.close()


def test_a_wrong_setting_names_its_variable():
    cloud = SimulatedCloud(a_cloud([a_host("h1")]), SystemClock())
    context = a_context(None, cloud, SystemClock(), environment={"RESTOW_EXECUTOR_LEASE_TTL_S": "soon"})
    with pytest.raises(BadInputError, match="RESTOW_EXECUTOR_LEASE_TTL_S"):
        build(context)

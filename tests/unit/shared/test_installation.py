import asyncio

import pytest
from sqlalchemy import select

from restow import __version__
from restow.clock import SystemClock
from restow.database.engine import Database
from restow.database.leases import Leases
from restow.database.tables import LeaseRow, Row
from restow.errors import BadInputError
from restow.metrics import exposition
from restow.runtime.blocking import InPlaceBlocking
from restow.runtime.health import failures
from restow.runtime.installation import Installation, LoopDiedError
from restow.runtime.service import Context, Loop, Service
from support.logs import EFFECTS, Recorder, _metadata, an_event


@pytest.fixture
async def context(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/t.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
        await connection.run_sync(_metadata.create_all)
    yield Context(
        clock=SystemClock(), database=database, clouds=None, blocking=InPlaceBlocking(), instance="here",
        new_id=lambda: "id",
    )  # fmt: skip
    await database.close()


async def for_ever():
    await asyncio.Event().wait()


async def effects(database):
    async with database.reading() as session:
        return [row.event for row in await session.execute(select(EFFECTS))]


async def append(database, number):
    async with database.writing() as transaction:
        transaction.emit(an_event(number, domain="d"))


async def test_stopping_lets_the_event_at_hand_end_and_gives_the_leases_back(context):
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_):
        reached.set()
        await go_on.wait()

    def build(given):
        handler = Recorder(group="g", prefix="d", before=slow)
        return Service("one", handlers=(handler,), loops=(Loop("idle", for_ever),))

    installation = Installation(context, builders={"one": build})
    await installation.start()
    leases = Leases(context.database, context.clock, holder="here", ttl_s=60)
    part = Leases(context.database, context.clock, holder="here/part", ttl_s=60)
    other = Leases(context.database, context.clock, holder="here-too", ttl_s=60)
    await leases.acquire("mine")
    await part.acquire("of my part")
    await other.acquire("of another")
    await append(context.database, 1)
    await append(context.database, 2)
    await reached.wait()
    stopping = asyncio.create_task(installation.stop())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert await effects(context.database) == ["d-0001"]
    now = context.clock.now()
    async with context.database.reading() as session:
        held = {row.name for row in (await session.execute(select(LeaseRow))).scalars() if row.expires_at > now}
    assert held == {"of another"}


async def test_a_handler_that_does_not_end_in_time_is_cut_off_and_its_event_comes_again(context):
    reached = asyncio.Event()

    async def hang(_):
        reached.set()
        await asyncio.Event().wait()

    def hanging(given):
        return Service("one", handlers=(Recorder(group="g", prefix="d", before=hang),))

    installation = Installation(context, builders={"one": hanging})
    await installation.start()
    await append(context.database, 1)
    await reached.wait()
    await installation.stop(drain_s=0.05)
    assert await effects(context.database) == []

    done = asyncio.Event()

    async def tell(_):
        done.set()

    def quick(given):
        return Service("one", handlers=(Recorder(group="g", prefix="d", before=tell),))

    installation = Installation(context, builders={"one": quick})
    await installation.start()
    await done.wait()
    await installation.stop()
    assert await effects(context.database) == ["d-0001"]


@pytest.mark.parametrize("how", ["raises", "returns", "is cancelled"])
async def test_a_loop_that_ends_by_itself_is_named_and_the_process_is_not_ready(context, how):
    async def end():
        if how == "raises":
            raise OSError("the disk is full")
        if how == "is cancelled":  # a library may do that to its caller
            raise asyncio.CancelledError

    installation = Installation(context, builders={"one": lambda _: Service("one", loops=(Loop("sweeper", end),))})
    await installation.start()
    said = {"raises": "OSError: the disk", "returns": "without an error", "is cancelled": "CancelledError: by nobody"}
    with pytest.raises(LoopDiedError, match=f"one: sweeper ended: {said[how]}"):
        await asyncio.wait_for(installation.wait(), 5)
    assert "one: sweeper ended" in (await failures(installation.checks()))["consumers and loops"]
    await installation.stop()


async def test_checks_say_what_is_not_ready_by_name_and_service(context):
    async def broken():
        raise RuntimeError("the cloud does not answer")

    service = Service("one", checks=(("cloud", broken),))
    installation = Installation(context, builders={"one": lambda _: service})
    await installation.start()
    assert await failures(installation.checks()) == {"one: cloud": "RuntimeError: the cloud does not answer"}
    await installation.stop()


async def test_a_killed_service_comes_back_under_another_name(context):
    seen = []

    def build(given):
        seen.append(given.instance)
        return Service("one", loops=(Loop("idle", for_ever),))

    installation = Installation(context, builders={"one": build})
    await installation.start()
    await installation.kill("one")
    await installation.revive("one")
    await installation.stop()
    assert seen == ["here", "here/one-1"]


async def test_what_a_service_counts_is_told_before_it_happens_and_the_service_with_its_version(context):
    def build(given):
        return Service("one", handlers=(Recorder(group="of-the-metrics", prefix="d"),))

    installation = Installation(context, builders={"one": build})
    await installation.start()
    told = exposition().decode()
    await installation.stop()
    assert 'restow_dead_letters_total{group="of-the-metrics"} 0.0' in told
    assert 'restow_event_retries_total{group="of-the-metrics"} 0.0' in told
    assert f'restow_service_info{{service="one",version="{__version__}"}} 1.0' in told


def test_a_service_that_is_not_installed_is_refused_with_those_that_are(context):
    with pytest.raises(BadInputError, match=r"got 'cook', expected one of .*executor"):
        Installation(context, names=("cook",))

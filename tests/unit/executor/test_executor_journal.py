"""The journal lets one process write a step, once, while its run is running and the lease is its own."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from restow.cloud.permission import act_only_while
from restow.database.leases import LeaseLostError, Leases
from restow.policy import DEFAULT_POLICY
from restow.simulation.virtual_loop import run_virtual
from restow_executor.carry import Carrier
from restow_executor.journal import Journal, MovedOnError, locked_run, open_run, set_state
from restow_executor.progress import RunState, StepState
from restow_executor.records import Cause, RunRecord
from restow_executor.room import Claims
from restow_executor.session import Session
from support.builders import a_cloud, a_host, a_server
from support.executing import a_bench, move

RUN = RunRecord(
    id="p1", kind="plan", domain="region-one", state=RunState.RUNNING, cause=Cause("c", "p1"), subject="p1",
    created_at=a_cloud([]).taken_at,
)  # fmt: skip


def journalled(path, story):
    async def whole():
        async with a_bench(path, a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")])) as bench:
            leases = Leases(bench.database, bench.clock, holder="one", ttl_s=10.0)
            journal = Journal(bench.database, leases)
            async with bench.database.writing() as transaction:
                assert await open_run(transaction, RUN, [move("m1", "s1", "h1", "h2")])
                assert not await open_run(transaction, RUN, [move("m1", "s1", "h1", "h2")])
            lease = await leases.acquire("executor/region-one")
            (waiting,) = await journal.steps("p1")
            begun = replace(waiting, state=StepState.STARTED, asked=("r1",), started_at=bench.clock.now())
            await story(bench, journal, lease, waiting, begun)

    run_virtual(whole())


def test_a_step_is_begun_once(tmp_path):
    async def story(bench, journal, lease, waiting, begun):
        await journal.keep_step(lease, begun, was=waiting, events=())
        assert await journal.steps("p1") == (begun,)
        with pytest.raises(LeaseLostError, match="written by another"):
            await journal.keep_step(lease, begun, was=waiting, events=())
        again = replace(begun, asked=("r1", "r2"))
        await journal.keep_step(lease, again, was=begun, events=())
        with pytest.raises(LeaseLostError, match="written by another"):
            await journal.keep_step(lease, replace(begun, asked=("r1", "r3")), was=begun, events=())

    journalled(tmp_path, story)


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLING, RunState.RETIRING])
def test_no_step_is_begun_once_its_run_was_stopped(tmp_path, state):
    async def story(bench, journal, lease, waiting, begun):
        async with bench.database.writing() as transaction:
            assert await locked_run(transaction, "p1") is not None
            await set_state(transaction, "p1", state, why="x")
        with pytest.raises(MovedOnError):
            await journal.keep_step(lease, begun, was=waiting, events=())
        assert await journal.steps("p1") == (waiting,)

    journalled(tmp_path, story)


def test_what_runs_may_still_be_written_to_its_end_after_its_run_was_stopped(tmp_path):
    async def story(bench, journal, lease, waiting, begun):
        await journal.keep_step(lease, begun, was=waiting, events=())
        async with bench.database.writing() as transaction:
            await set_state(transaction, "p1", RunState.PAUSED, why="x")
        await journal.keep_step(lease, replace(begun, state=StepState.FINISHED), was=begun, events=())

    journalled(tmp_path, story)


def test_whoever_lost_the_lease_writes_nothing_more(tmp_path):
    async def story(bench, journal, lease, waiting, begun):
        await bench.clock.sleep(11)
        other = Leases(bench.database, bench.clock, holder="two", ttl_s=10.0)
        assert await other.acquire(lease.name) is not None
        with pytest.raises(LeaseLostError):
            await journal.keep_step(lease, begun, was=waiting, events=())
        ended = replace(RUN, state=RunState.FINISHED)
        with pytest.raises(LeaseLostError):
            await journal.move_run(lease, ended, was=RunState.RUNNING, at=bench.clock.now())
        assert await journal.steps("p1") == (waiting,)

    journalled(tmp_path, story)


def test_a_run_is_moved_only_from_the_state_that_was_seen(tmp_path):
    async def story(bench, journal, lease, waiting, begun):
        ended = replace(RUN, state=RunState.FINISHED)
        assert not await journal.move_run(lease, ended, was=RunState.PAUSED, at=bench.clock.now())
        assert await journal.move_run(lease, ended, was=RunState.RUNNING, at=bench.clock.now())
        assert await journal.unfinished("region-one") == ()

    journalled(tmp_path, story)


def test_no_call_is_made_where_the_lease_may_have_run_out_since_the_intention_was_written(tmp_path):
    async def story(bench, journal, lease, waiting, begun):
        session = Session(
            domain="region-one", journal=journal, leases=Leases(bench.database, bench.clock, holder="one", ttl_s=10.0),
            lease=lease, ttl_s=10.0, port=bench.cloud, clock=bench.clock, wake=asyncio.Event(),
            renewed_at=bench.clock.now() - timedelta(seconds=9),
        )  # fmt: skip
        carrier = Carrier(
            journal=journal, lease=lease, port=bench.cloud, clock=bench.clock, policy=DEFAULT_POLICY, run=RUN,
            record=waiting, cloud=bench.cloud.read, fenced=lambda _host: False, lost=lambda _host: False,
            claims=Claims(), keep=lambda _record: None,
        )  # fmt: skip
        act_only_while(session.fresh)
        with pytest.raises(LeaseLostError, match="not renewed in time"):
            await carrier.carry()
        assert bench.calls() == []
        assert (await journal.steps("p1"))[0].state is StepState.STARTED

    journalled(tmp_path, story)

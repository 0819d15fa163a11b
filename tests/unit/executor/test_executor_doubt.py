"""What must not happen in doubt: acting without the lease, ending what others began, waiting in vain."""

import asyncio
from dataclasses import replace

import pytest

from restow.cloud.model import ServerState
from restow.cloud.permission import ask_permission
from restow.cloud.simulated import SimulatedClouds
from restow.database.leases import LeaseLostError
from restow.errors import TransientError
from restow.ids import DomainName, HostName, ServerId
from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_host, a_server
from support.executing import DOMAIN, a_bench, host, move, rescue, step

RECOVER = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}


def a_small_cloud(**changes):
    s1 = replace(a_server("s1", on="h1"), **changes)
    return a_cloud([a_host(f"h{n}") for n in range(1, 5)], [s1, a_server("s2", on="h2"), a_server("s4", on="h4")])


class Slow:
    """A port whose evacuations look for a while in a thread that nobody can stop, as an adapter's does."""

    def __init__(self, cloud, *, before_the_call):
        self._cloud, self._before = cloud, before_the_call
        self.outcomes = []

    def __getattr__(self, name):
        return getattr(self._cloud, name)

    async def evacuate(self, server, *, to, request_id):
        async def in_a_thread():
            await self._before()
            try:
                await self._cloud.evacuate(server, to=to, request_id=request_id)
            except LeaseLostError as refused:
                self.outcomes.append(refused)
            else:
                self.outcomes.append("taken")

        await asyncio.shield(asyncio.get_running_loop().create_task(in_a_thread()))


def test_what_a_thread_is_about_to_send_when_the_process_stops_is_not_sent(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)

            async def look():
                await bench.clock.sleep(15)

            port = Slow(bench.cloud, before_the_call=look)
            one = bench.start(port=port)
            await bench.approve("p1", rescue("h1", [("s1", "h3")]), request=RECOVER)
            await bench.heard(lambda event: event.data.get("action") == "evacuate")
            await bench.clock.sleep(2)
            await one.stop()
            await bench.clock.sleep(60)
            (refused,) = port.outcomes
            assert "given back" in str(refused)
            assert bench.calls("evacuate") == []
            two = bench.start("two")
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert len(bench.calls("evacuate")) == 1
            await two.stop()

    run_virtual(story())


def test_a_person_at_a_prompt_needs_no_lease():
    ask_permission()


def test_a_host_is_not_declared_down_by_an_executor_whose_lease_may_have_run_out(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud(), power_off_s=30.0) as bench:
            await bench.cloud.inject("host-hang", host("h1"))
            await bench.clock.sleep(120)
            one = bench.start()
            await bench.approve("p1", rescue("h1", [("s1", "h3")]), request=RECOVER)
            await bench.heard(lambda event: event.data.get("action") == "fence")
            await bench.clock.sleep(2)

            async def away(_name):
                raise TransientError("the database is away")

            for task in asyncio.all_tasks():
                frame = task.get_coro().cr_frame
                if frame is not None and "_keep_lease" in task.get_coro().__qualname__:
                    frame.f_locals["self"].leases.acquire = away
            await bench.clock.sleep(120)
            assert bench.calls("force_down") == []
            await one.kill()

    run_virtual(story())


def test_a_migration_that_somebody_else_asked_for_is_never_aborted(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            bench.cloud.trouble.slow_answers(5.0, ["live_migrate"])
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 60.0}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            await bench.heard(lambda event: event.type == "restow.step.started")
            bench.cloud.trouble.slow_answers(0.0, ["live_migrate"])
            await bench.cloud.live_migrate(ServerId("s1"), to=HostName("h3"), request_id="by hand")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "somebody else moves s1 to h3" in end.data["why"]
            assert bench.calls("abort_migration") == []
            await one.stop()

    run_virtual(story())


@pytest.mark.parametrize(("lost", "asked"), [(1, 2), (3, 4)])
def test_an_abort_that_is_not_taken_is_asked_for_again(tmp_path, lost, asked):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 60.0}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            await bench.heard(lambda event: event.type == "restow.step.started")
            bench.cloud.trouble.lose_answers(lost, when="before", methods=["abort_migration"])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "aborted" in end.data["why"]
            assert len(bench.calls("abort_migration")) == asked
            await one.stop()

    run_virtual(story())


def test_a_migration_that_stands_still_is_given_up_before_its_time_is_used_up(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 3600.0, "migration_stalled_s": 100.0}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert (end.time - bench.cloud.calls[0].at).total_seconds() < 300
            await one.stop()

    run_virtual(story())


def test_the_time_in_the_clouds_own_queue_is_not_the_moves_own(tmp_path):
    async def story():
        servers = [a_server(f"s{n}", on="h1", memory_mib=20_000, dirty_mib_s=0.0) for n in range(3)]
        hosts = [a_host("h1", memory_mib=65_536, link_mbps=1000), a_host("h2", memory_mib=65_536, link_mbps=1000)]
        async with a_bench(tmp_path, a_cloud(hosts, servers)) as bench:
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 300.0}})
            steps = [move(f"m{n}", f"s{n}", "h1", "h2") for n in range(3)]
            request = {"goal": "evacuate", "hosts": ["h1"], "mode": "auto", "limits": {"per_host": 3}}
            await bench.approve("p1", steps, request=request)
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished"
            assert (end.time - bench.cloud.calls[0].at).total_seconds() > 400  # one after the other, 170 s each
            assert bench.calls("abort_migration") == []
            await one.stop()

    run_virtual(story())


def test_a_move_away_from_a_host_that_dies_holds_nothing_back(tmp_path):
    async def story():
        cloud = a_small_cloud(demand={"vcpu": 1, "memory_mib": 8192})
        cloud = replace(cloud, servers=(*cloud.servers, a_server("s3", on="h1")))
        async with a_bench(tmp_path, cloud) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            await bench.heard(lambda event: event.type == "restow.step.started")
            await bench.clock.sleep(10)
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)
            asked_at = bench.clock.now()
            await bench.approve("r1", rescue("h1", [("s3", "h3")]), request=RECOVER, incident="i1")
            end = await bench.end_of("r1")
            assert end.type == "restow.plan.finished"
            assert (end.time - asked_at).total_seconds() < 60
            stale = await bench.end_of("p1")
            assert "died and was fenced while s1 was moved" in str([e.data for e in await bench.events("restow.step.")])
            assert stale.type == "restow.plan.stale"
            assert bench.calls("evacuate") == [("evacuate", "s3", "h3")]
            await one.stop()

    run_virtual(story())


def test_a_second_failed_host_is_fenced_at_once_and_recovered_although_the_first_recovery_hangs(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud(), evacuate_s=3000.0) as bench:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.cloud.inject("host-crash", host("h4"))
            await bench.clock.sleep(120)
            one = bench.start()
            await bench.approve("r1", rescue("h1", [("s1", "h3")]), request=RECOVER, incident="i1")
            await bench.heard(lambda event: event.data.get("action") == "evacuate")
            asked_at = bench.clock.now()
            other = {"goal": "recover", "hosts": ["h4"], "mode": "auto"}
            await bench.approve("r2", rescue("h4", [("s4", "h2")]), request=other, incident="i2", planned_at=asked_at)
            fenced = await bench.heard(lambda event: event.type == "restow.host.fenced" and event.subject == "h4")
            assert (fenced.time - asked_at).total_seconds() < 60
            begun = await bench.heard(lambda event: event.data.get("server") == "s4")
            assert 250 < (begun.time - asked_at).total_seconds() < 400
            assert not bench.cloud.violations()
            await one.stop()

    run_virtual(story())


def test_a_credential_that_is_refused_for_a_moment_makes_no_plan_stale(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.refuse_reads(8)
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert bench.cloud.trouble.refused == 0
            await one.stop()

    run_virtual(story())


def test_a_host_is_not_powered_off_while_a_server_is_on_its_way_to_it(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud(demand={"vcpu": 1, "memory_mib": 4096})) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            await bench.cloud.live_migrate(ServerId("s1"), to=HostName("h3"), request_id="by hand")
            await bench.clock.sleep(10)
            await bench.cloud.disable(host("h3"), reason="empty")
            one = bench.start()
            await bench.approve("p1", [step("x", "power-off", host="h3")])
            end = await bench.end_of("p1")
            assert "one end of a move of s1" in end.data["why"]
            assert bench.calls("power") == []
            await one.stop()

    run_virtual(story())


def test_a_server_in_error_on_its_target_is_no_plan_that_went_well(tmp_path):
    async def story():
        cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h2", state=ServerState.ERROR)])
        async with a_bench(tmp_path, cloud) as bench:
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.failed"
            assert "openstack server set --state active s1" in end.data["why"]
            await one.stop()

    run_virtual(story())


class Odd:
    """A cloud whose answers make no sense: a fault that nobody foresaw."""

    domain = DomainName("elsewhere")

    def __getattr__(self, name):
        async def fault(*_args, **_named):
            raise KeyError(name)

        return fault


def test_a_fault_in_one_domain_leaves_the_others_alone(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            clouds = SimulatedClouds({DomainName(DOMAIN): bench.cloud, Odd.domain: Odd()})
            one = bench.start(clouds=clouds)
            await bench.approve("p0", [step("x", "disable-host", host="h1")], domain="elsewhere")
            await bench.clock.sleep(30)
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            await one.stop()

    run_virtual(story())

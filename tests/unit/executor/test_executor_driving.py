"""The executor as a whole, on a simulated cloud and virtual time: plans, failures, orders, limits."""

import asyncio

from restow.errors import LostAnswerError
from restow.ids import ServerId
from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_host, a_server
from support.executing import a_bench, host, move, rescue, step


def a_small_cloud():
    return a_cloud(
        [a_host("h1"), a_host("h2"), a_host("h3")],
        [a_server("s1", on="h1"), a_server("s2", on="h1"), a_server("s3", on="h2")],
    )


def test_an_approved_plan_is_carried_out_step_by_step_and_says_so(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            steps = [
                step("s0", "disable-host", host="h1"),
                move("m1", "s1", "h1", "h2", after=["s0"]),
                move("m2", "s2", "h1", "h3", after=["s0"]),
            ]
            await bench.approve("p1", steps)
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished"
            assert end.data["counts"] == {"finished": 3}
            assert end.correlation == "p1"
            assert await bench.where("s1") == "h2"
            assert await bench.where("s2") == "h3"
            assert not bench.cloud.violations()
            assert bench.calls()[0][0] == "disable"
            types = await bench.types("restow.")
            assert types[:4] == ["plan.approved", "plan.started", "step.started", "step.finished"]
            assert "host.disabled" in types
            assert types.count("step.finished") == 3
            await one.stop()

    run_virtual(story())


def test_nothing_is_evacuated_before_the_host_is_off_and_everything_after(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)
            one = bench.start()
            request = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}
            await bench.approve("p1", rescue("h1", [("s1", "h2"), ("s2", "h3")]), request=request, incident="i1")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished", end.data
            assert end.data["incident"] == "i1"
            methods = [call[0] for call in bench.calls()]
            assert methods.index("force_down") < methods.index("evacuate")
            assert methods.count("evacuate") == 2
            assert await bench.where("s1") == "h2"
            assert not bench.cloud.violations()
            assert "host.fenced" in await bench.types()
            await one.stop()

    run_virtual(story())


def test_a_server_that_was_evacuated_moves_on_while_its_old_host_is_still_down(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)
            one = bench.start()
            request = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}
            await bench.approve("p1", rescue("h1", [("s1", "h2"), ("s2", "h3")]), request=request, incident="i1")
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            await bench.approve("p2", [move("m1", "s1", "h2", "h3")], planned_at=bench.clock.now())
            end = await bench.end_of("p2")
            assert end.type == "restow.plan.finished", end.data
            assert sorted(await bench.cloud.allocations(ServerId("s1"))) == [
                "h1",
                "h3",
            ]  # until h1's nova-compute starts
            await one.stop()

    run_virtual(story())


def test_a_fence_that_fails_means_no_evacuation_ever(tmp_path):
    async def story(how):
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.cloud.inject("host-hang", host("h1"))
            bench.cloud.trouble.break_fence(host("h1"), how=how)
            await bench.clock.sleep(120)
            one = bench.start()
            request = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}
            await bench.approve("p1", rescue("h1", [("s1", "h2")]), request=request, incident="i1")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.failed"
            assert "power-off of h1 was not confirmed: nothing was evacuated" in end.data["why"]
            assert bench.calls("evacuate", "force_down") == []
            refusals = await bench.events("restow.refusal")
            assert [one.data["guard"] for one in refusals] == ["fence"]
            assert len(bench.calls("power")) <= 3
            await one.stop()

    for how in ("ignored", "error"):
        (tmp_path / "executor.db").unlink(missing_ok=True)
        run_virtual(story(how))


def test_a_host_that_lives_again_is_not_fenced(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.clock.sleep(120)
            one = bench.start()
            request = {"goal": "recover", "hosts": ["h1"], "mode": "auto"}
            await bench.approve("p1", rescue("h1", [("s1", "h2")]), request=request, incident="i1")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "lives by" in end.data["why"]
            assert bench.calls("power", "evacuate", "force_down") == []
            await one.stop()

    run_virtual(story())


def test_the_answer_to_a_migration_that_is_lost_is_looked_for_not_asked_again(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.lose_answers(1, when="after", methods=["live_migrate"])
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert len(bench.calls("live_migrate")) == 1
            await one.stop()

    run_virtual(story())


def test_a_request_that_was_lost_on_its_way_is_made_again_under_another_id(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.lose_answers(1, when="before", methods=["live_migrate"])
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            ids = [call.request_id for call in bench.cloud.calls if call.method == "live_migrate"]
            assert len(ids) == len(set(ids)) == 2
            assert len(await bench.cloud.migrations(ServerId("s1"))) == 1
            await one.stop()

    run_virtual(story())


def test_the_first_call_follows_the_approval_within_milliseconds(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.clock.sleep(33.3)
            approved_at = bench.clock.now()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            await bench.end_of("p1")
            assert (bench.cloud.calls[0].at - approved_at).total_seconds() < 0.01
            await one.stop()

    run_virtual(story())


def test_the_same_story_twice_is_the_same_to_the_last_event(tmp_path):
    async def story(path):
        path.mkdir()
        async with a_bench(path, a_small_cloud()) as bench:
            bench.cloud.trouble.lose_answers(1, when="after", methods=["live_migrate"])
            one = bench.start()
            await bench.approve(
                "p1", [move("m1", "s1", "h1", "h2"), move("m2", "s2", "h1", "h3"), move("m3", "s3", "h2", "h3")]
            )
            await bench.end_of("p1")
            await one.stop()
            return await bench.events(), bench.cloud.calls

    first, second = run_virtual(story(tmp_path / "a")), run_virtual(story(tmp_path / "b"))
    assert first == second


class TakesItsTime:
    """A cloud that takes a move only some seconds after the answer to it was lost."""

    def __init__(self, cloud, clock, *, late_s):
        self._cloud = cloud
        self._clock = clock
        self._late_s = late_s
        self.tasks = []

    def __getattr__(self, name):
        return getattr(self._cloud, name)

    async def live_migrate(self, server, *, to, request_id):
        async def later():
            await self._clock.sleep(self._late_s)
            await self._cloud.live_migrate(server, to=to, request_id=request_id)

        self.tasks.append(asyncio.get_running_loop().create_task(later()))
        raise LostAnswerError("no answer")


def test_a_request_that_the_cloud_takes_late_is_waited_for_and_not_made_again(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            port = TakesItsTime(bench.cloud, bench.clock, late_s=10.0)
            one = bench.start(port=port)
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert len(port.tasks) == 1
            assert len(bench.calls("live_migrate")) == 1
            await one.stop()

    run_virtual(story())

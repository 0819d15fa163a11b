"""The world changes under a plan, moves fail: the plan is stale, the rest is planned again, and bounded."""

from dataclasses import replace

import pytest

from restow.ids import HostName, ServerId
from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_group, a_host, a_server
from support.executing import a_bench, host, move, step


def a_small_cloud():
    return a_cloud(
        [a_host("h1"), a_host("h2", vcpu=4), a_host("h3")],
        [a_server("s1", on="h1"), a_server("s2", on="h1"), a_server("s3", on="h2")],
    )


async def moved_by_hand(bench):
    await bench.cloud.live_migrate(ServerId("s2"), to=HostName("h3"), request_id="by hand")


async def deleted(bench):
    bench.cloud.remove_server(ServerId("s2"))


async def target_disabled(bench):
    await bench.cloud.disable(host("h2"), reason="by hand")


async def target_filled(bench):
    bench.cloud.add_server(a_server("intruder", on="h2", vcpu=2))


async def target_crashed(bench):
    await bench.cloud.inject("host-crash", host("h2"))
    await bench.clock.sleep(70)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (moved_by_hand, "somebody moved it"),
        (deleted, "gone"),
        (target_disabled, "h2 is disabled"),
        (target_filled, "h2 lacks 1 vcpu"),
        (target_crashed, "h2 is powered off"),
    ],
)
def test_a_changed_world_makes_the_plan_stale_and_asks_for_another(tmp_path, change, told):
    async def story():
        cloud = a_small_cloud()
        servers = tuple(
            replace(one, demand={"vcpu": 2, "memory_mib": 512}) if one.id == "s2" else one for one in cloud.servers
        )
        async with a_bench(tmp_path, replace(cloud, servers=servers)) as bench:
            one = bench.start()
            bench.cloud.trouble.slow_answers(30.0, ["live_migrate"])
            await bench.approve("p1", [move("m1", "s1", "h1", "h3"), move("m2", "s2", "h1", "h2", after=["m1"])])
            await bench.heard(lambda event: event.type == "restow.step.started")
            bench.cloud.trouble.slow_answers(0.0, ["live_migrate"])
            await change(bench)
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert told in end.data["why"]
            requests = await bench.events("restow.command.plan.request")
            assert len(requests) == 1
            data = requests[0].data
            assert data["plan"] == end.data["replaced_by"]
            assert (data["replaces"], data["attempt"], data["approved_by"]) == ("p1", 2, "anna")
            assert requests[0].correlation == "p1"
            assert [call for call in bench.calls("live_migrate") if call[2] == "h2"] == []
            assert not bench.cloud.violations()
            await one.stop()

    run_virtual(story())


def test_a_plan_whose_servers_have_moved_already_is_stale_before_it_begins(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", [step("d", "disable-host", host="h1"), move("m1", "s1", "h3", "h2", after=["d"])])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert bench.calls() == []
            assert "plan.started" not in await bench.types()
            await one.stop()

    run_virtual(story())


def test_a_plan_that_waited_too_long_for_its_approval_is_made_again(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.clock.sleep(5 * 3600)
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h3")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "hours ago" in end.data["why"]
            await one.stop()

    run_virtual(story())


def test_a_move_that_fails_is_tried_elsewhere_and_what_does_not_wait_for_it_goes_on(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.fails(ServerId("s1"), why="the copy failed")
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2"), move("m2", "s2", "h1", "h3")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "the copy failed" in end.data["why"]
            assert end.data["counts"] == {"finished": 1, "missed": 1}
            request = (await bench.events("restow.command.plan.request"))[0]
            assert request.data["request"]["avoid"] == [{"server": "s1", "host": "h2"}]
            await one.stop()

    run_virtual(story())


def test_a_migration_that_does_not_converge_is_aborted_and_tried_elsewhere(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 300.0}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "aborted" in end.data["why"]
            assert 300 <= (end.time - bench.cloud.calls[0].at).total_seconds() < 320
            assert bench.calls() == [("live_migrate", "s1", "h2"), ("abort_migration", "s1")]
            assert await bench.where("s1") == "h1"
            await one.stop()

    run_virtual(story())


def test_a_migration_that_does_not_converge_is_brought_to_its_end_where_the_policy_says_so(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            bench.cloud.trouble.never_converges(ServerId("s1"))
            one = bench.start()
            await bench.put_policy({"execution": {"migration_timeout_s": 300.0, "overdue": "force-complete"}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished"
            assert bench.calls() == [("live_migrate", "s1", "h2"), ("force_complete", "s1")]
            assert await bench.where("s1") == "h2"
            await one.stop()

    run_virtual(story())


def test_a_credential_that_is_withdrawn_in_mid_move_stops_nothing_and_repeats_nothing(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            while not bench.calls():
                await bench.clock.sleep(0.1)
            bench.cloud.trouble.refuse_reads(20)
            end = await bench.end_of("p1")
            assert bench.cloud.trouble.refused == 0
            assert end.type == "restow.plan.finished"
            assert bench.calls() == [("live_migrate", "s1", "h2")]
            await one.stop()

    run_virtual(story())


def test_before_it_is_planned_again_what_others_do_to_its_servers_may_end(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            bench.cloud.trouble.slow_answers(5.0, ["live_migrate"])
            await bench.approve("p1", [move("m1", "s1", "h1", "h3"), move("m2", "s2", "h1", "h2", after=["m1"])])
            await bench.clock.sleep(2)
            bench.cloud.remove_server(ServerId("s1"))
            bench.cloud.trouble.slow_answers(0.0, ["live_migrate"])
            bench.cloud.trouble.never_converges(ServerId("s2"))
            await bench.cloud.live_migrate(ServerId("s2"), to=HostName("h3"), request_id="by hand")
            await bench.clock.sleep(60)
            assert await bench.events("restow.plan.stale") == []
            by_hand = (await bench.cloud.migrations(ServerId("s2")))[-1]
            await bench.cloud.force_complete(ServerId("s2"), migration=by_hand.id)
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert (end.time - (await bench.cloud.migrations(ServerId("s2")))[-1].started_at).total_seconds() < 70
            await one.stop()

    run_virtual(story())


def test_others_are_waited_for_for_a_bounded_time(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            bench.cloud.trouble.slow_answers(5.0, ["live_migrate"])
            await bench.approve("p1", [move("m1", "s1", "h1", "h3"), move("m2", "s2", "h1", "h2", after=["m1"])])
            await bench.clock.sleep(2)
            bench.cloud.remove_server(ServerId("s1"))
            bench.cloud.trouble.slow_answers(0.0, ["live_migrate"])
            bench.cloud.trouble.never_converges(ServerId("s2"))
            await bench.cloud.live_migrate(ServerId("s2"), to=HostName("h3"), request_id="by hand")
            began = bench.clock.now()
            end = await bench.end_of("p1")
            assert 120 <= (end.time - began).total_seconds() < 140
            await one.stop()

    run_virtual(story())


def test_planning_again_has_an_end(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.put_policy({"execution": {"replans_max": 2}})
            await bench.cloud.disable(host("h2"), reason="by hand")
            plan, ends = "p1", []
            for _ in range(3):
                await bench.approve(plan, [move("m1", "s1", "h1", "h2")])
                end = await bench.end_of(plan)
                ends.append(end.type.removeprefix("restow.plan."))
                plan = end.data["replaced_by"] or ""
            assert ends == ["stale", "stale", "failed"]
            assert "a person must look" in end.data["why"]
            await one.stop()

    run_virtual(story())


def test_a_plan_that_waited_behind_another_is_made_again_in_its_turn_and_that_counts_as_no_attempt(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.put_policy({"execution": {"replans_max": 0}})
            await bench.approve("p1", [move("m1", "s1", "h1", "h3")])
            await bench.approve("p2", [move("m1", "s2", "h1", "h3")])
            await bench.approve("p3", [move("m1", "s3", "h2", "h1")])
            first, second = await bench.end_of("p1"), await bench.end_of("p2")
            assert first.type == "restow.plan.finished"
            assert second.type == "restow.plan.stale"
            assert "other plans have moved servers" in second.data["why"]
            request = (await bench.events("restow.command.plan.request"))[0].data
            assert (request["replaces"], request["attempt"]) == ("p2", 1)
            await bench.clock.sleep(5)  # p3 does not go first meanwhile: it was behind p2
            again = [move("m1", "s2", "h1", "h3")]
            await bench.approve(request["plan"], again, planned_at=bench.clock.now())
            assert (await bench.end_of(request["plan"])).type == "restow.plan.finished"
            assert (await bench.end_of("p3")).type == "restow.plan.stale"
            begun = [event.subject for event in await bench.events("restow.plan.started")]
            assert begun == ["p1", request["plan"]]
            await one.stop()

    run_virtual(story())


def test_the_line_waits_for_a_plan_that_is_made_again_but_not_for_ever(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h3")])
            await bench.approve("p2", [move("m1", "s2", "h1", "h3")])
            await bench.approve("p3", [move("m1", "s3", "h2", "h1")])
            second, third = await bench.end_of("p2"), await bench.end_of("p3")
            assert 10 <= (third.time - second.time).total_seconds() < 13
            await one.stop()

    run_virtual(story())


def test_what_is_done_already_is_skipped_and_the_end_says_so(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", [move("m1", "s3", "h1", "h2"), move("m2", "s2", "h1", "h3", after=["m1"])])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished"
            assert end.data["counts"] == {"finished": 1, "skipped": 1}
            assert "1 of them before" in end.data["why"]
            assert bench.calls() == [("live_migrate", "s2", "h3")]
            assert (await bench.types()).count("step.skipped") == 1
            await one.stop()

    run_virtual(story())


def test_a_foreign_task_is_waited_for_but_not_for_ever(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            bench.cloud.trouble.never_converges(ServerId("s1"))
            await bench.cloud.live_migrate(ServerId("s1"), to=HostName("h3"), request_id="by hand")
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "task under way" in end.data["why"]
            assert len(bench.calls("live_migrate")) == 1
            await one.stop()

    run_virtual(story())


def test_members_that_are_kept_apart_are_not_brought_together_by_a_changed_world(tmp_path):
    async def story():
        cloud = a_small_cloud()
        cloud = replace(cloud, groups=(a_group("g1", "anti-affinity", ["s1", "s3"]),))
        async with a_bench(tmp_path, cloud) as bench:
            one = bench.start()
            await bench.approve("p1", [move("m1", "s1", "h1", "h2")])
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "kept apart" in end.data["why"]
            assert bench.calls() == []
            await one.stop()

    run_virtual(story())

"""Orders of people: pause, resume, cancel (early too), undo, maintenance; recoveries that come first; two executors."""

from collections import Counter

from restow.ids import ServerId, id_of_effect
from restow.simulation.virtual_loop import run_virtual
from support.builders import a_cloud, a_host, a_server
from support.executing import a_bench, host, move, rescue, step


def a_small_cloud():
    return a_cloud(
        [a_host("h1"), a_host("h2"), a_host("h3")], [a_server("s1", on="h1", memory_mib=8192), a_server("s2", on="h1")]
    )


def two_moves():
    return [move("m1", "s1", "h1", "h2"), move("m2", "s2", "h1", "h3", after=["m1"])]


def test_a_paused_plan_ends_what_runs_and_goes_on_when_resumed(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", two_moves())
            await bench.heard(lambda event: event.type == "restow.step.started")
            await bench.order("pause", "p1")
            await bench.clock.sleep(300)
            assert await bench.where("s1") == "h2"
            assert await bench.where("s2") == "h1"
            paused = (await bench.events("restow.plan.paused"))[0]
            assert (paused.data["by"], paused.data["why"], paused.correlation) == ("berta", "because", "p1")
            await bench.order("resume", "p1")
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert await bench.where("s2") == "h3"
            types = await bench.types("restow.plan.")
            assert types == ["plan.approved", "plan.started", "plan.paused", "plan.resumed", "plan.finished"]
            await one.stop()

    run_virtual(story())


def test_a_cancelled_plan_ends_what_runs_and_starts_nothing_more(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", two_moves())
            await bench.heard(lambda event: event.type == "restow.step.started")
            await bench.order("cancel", "p1")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.cancelled"
            assert (end.data["by"], end.data["counts"]) == ("berta", {"finished": 1, "not-started": 1})
            assert await bench.where("s1") == "h2"
            assert await bench.where("s2") == "h1"
            await bench.order("cancel", "p1")
            await bench.order("pause", "p1")
            refusal = await bench.heard(lambda event: event.type == "restow.refusal")
            assert refusal.data["guard"] == "plan-state"
            await one.stop()

    run_virtual(story())


def test_a_cancel_that_comes_before_the_approval_is_remembered(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.order("cancel", "p1")
            await bench.clock.sleep(5)
            await bench.approve("p1", two_moves())
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.cancelled"
            assert end.data["by"] == "berta"
            assert bench.calls() == []
            await one.stop()

    run_virtual(story())


def test_undo_enables_the_host_again_and_asks_for_the_way_back(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            steps = [step("d", "disable-host", host="h1"), move("m1", "s1", "h1", "h2", after=["d"])]
            await bench.approve("p1", [*steps, move("m2", "s1", "h2", "h3", after=["m1"])])
            await bench.end_of("p1")
            await bench.order("undo", "p1")
            asked = await bench.heard(lambda event: event.type == "restow.command.plan.request")
            assert asked.data["plan"] == id_of_effect("p1", "undo")
            assert asked.data["approved_by"] == "berta"
            assert asked.data["request"]["goal"] == "reach"
            assert asked.data["request"]["targets"] == {"s1": "h1"}
            assert (await bench.cloud.host(host("h1"))).enabled
            assert "host.enabled" in await bench.types()
            await bench.order("undo", "p1")
            await bench.clock.sleep(60)
            assert len(await bench.events("restow.command.plan.request")) == 1
            await one.stop()

    run_virtual(story())


def test_undo_of_a_running_plan_cancels_it_first(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.approve("p1", two_moves())
            await bench.heard(lambda event: event.type == "restow.step.started")
            await bench.order("undo", "p1")
            assert (await bench.end_of("p1")).type == "restow.plan.cancelled"
            asked = await bench.heard(lambda event: event.type == "restow.command.plan.request")
            assert asked.data["request"]["targets"] == {"s1": "h1"}
            await one.stop()

    run_virtual(story())


def test_undo_of_what_moved_nothing_is_refused(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.order("undo", "never-heard-of")
            await bench.approve("p1", [])
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            await bench.order("undo", "p1")
            await bench.clock.sleep(10)
            assert len(await bench.events("restow.refusal")) == 2
            await one.stop()

    run_virtual(story())


def test_maintenance_disables_the_host_and_enables_it_afterwards(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.maintenance("h1", on=True)
            await bench.maintenance("h1", on=False)
            enabled = await bench.heard(lambda event: event.type == "restow.host.enabled")
            assert (enabled.subject, enabled.data["by"]) == ("h1", "anna")
            assert [call[0] for call in bench.calls()] == ["disable", "enable"]
            assert await bench.types("restow.plan.") == []
            assert await bench.types("restow.step.") == []
            await bench.maintenance("nowhere", on=True)
            refusal = await bench.heard(lambda event: event.type == "restow.refusal")
            assert "nowhere is gone" in refusal.data["why"]
            await one.stop()

    run_virtual(story())


def test_a_recovery_comes_first_and_the_other_plan_is_made_again_afterwards(tmp_path):
    async def story():
        servers = [a_server(f"s{n}", on="h1", memory_mib=2048) for n in range(4)] + [a_server("v", on="h4")]
        cloud = a_cloud([a_host(name) for name in ("h1", "h2", "h3", "h4")], servers)
        async with a_bench(tmp_path, cloud) as bench:
            one = bench.start()
            await bench.approve("p1", [move(f"m{n}", f"s{n}", "h1", "h2") for n in range(4)])
            await bench.heard(lambda event: event.type == "restow.step.started")
            await bench.cloud.inject("host-crash", host("h4"))
            request = {"goal": "recover", "hosts": ["h4"], "mode": "auto"}
            bench.cloud.trouble.never_converges(ServerId("s1"))
            await bench.clock.sleep(70)
            await bench.approve("r1", rescue("h4", [("v", "h3")]), request=request, incident="i1")
            await bench.heard(lambda event: event.type == "restow.host.fenced")
            moving = (await bench.cloud.migrations(ServerId("s1")))[-1]
            await bench.cloud.abort_migration(ServerId("s1"), migration=moving.id)
            assert (await bench.end_of("r1")).type == "restow.plan.finished"
            end = await bench.end_of("p1")
            events = await bench.events()
            assert end.type == "restow.plan.stale"
            assert "recovery" in end.data["why"]
            evacuation = next(e for e in events if e.type == "restow.step.started" and e.data["action"] == "evacuate")
            assert events.index(end) <= events.index(evacuation) or end.time <= evacuation.time
            assert await bench.where("v") == "h3"
            assert not bench.cloud.violations()
            await one.stop()

    run_virtual(story())


def test_two_executors_of_one_domain_do_no_step_twice(tmp_path):
    async def story():
        servers = [a_server(f"s{n}", on="h1") for n in range(6)]
        cloud = a_cloud([a_host("h1"), a_host("h2"), a_host("h3")], servers)
        async with a_bench(tmp_path, cloud) as bench:
            one, two = bench.start("one"), bench.start("two")
            await bench.approve("p1", [move(f"m{n}", f"s{n}", "h1", f"h{2 + n % 2}") for n in range(6)])
            await bench.heard(lambda event: event.type == "restow.step.finished")
            await one.kill()
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert max(Counter(bench.calls("live_migrate")).values()) == 1
            told = Counter((e.type, e.data.get("step")) for e in await bench.events("restow.step."))
            assert max(told.values()) == 1
            assert not bench.cloud.violations()
            await two.stop()

    run_virtual(story())


def test_an_executor_that_shuts_down_hands_over_at_once(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start("one")
            await bench.approve("p1", two_moves())
            await bench.heard(lambda event: event.type == "restow.step.started")
            await one.stop()
            one.database.dead = True
            stopped_at = bench.clock.now()
            two = bench.start("two")
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.finished"
            assert len(bench.calls("live_migrate")) == 2
            assert (end.time - stopped_at).total_seconds() < 30
            await two.stop()

    run_virtual(story())


def test_moves_stay_within_the_limits_all_the_time(tmp_path):
    async def story():
        servers = [a_server(f"s{n}", on="h1") for n in range(9)]
        cloud = a_cloud([a_host(f"h{n}") for n in range(1, 5)], servers)
        async with a_bench(tmp_path, cloud, live_migrations_per_source_max=10) as bench:
            one = bench.start()
            request = {"goal": "evacuate", "hosts": ["h1"], "mode": "auto", "limits": {"per_host": 3}}
            await bench.approve(
                "p1", [move(f"m{n}", f"s{n}", "h1", f"h{2 + n % 3}") for n in range(9)], request=request
            )
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            running, most = 0, 0
            for event in await bench.events("restow.step."):
                running += 1 if event.type == "restow.step.started" else -1
                most = max(most, running)
            assert most == 3
            await one.stop()

    run_virtual(story())


def test_a_policy_that_cannot_be_read_changes_nothing_and_holds_nothing_up(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            one = bench.start()
            await bench.put_policy({"execution": {"replans_max": -1}})
            await bench.approve("p1", two_moves())
            assert (await bench.end_of("p1")).type == "restow.plan.finished"
            assert await bench.types("restow.dead") == []
            await one.stop()

    run_virtual(story())

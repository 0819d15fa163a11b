"""Each action on the simulated cloud: done, done already, no longer true; and the reasons that are told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from restow.cloud.model import HostState, Move, Power, ServerState
from restow.cloud.port import Heartbeat
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow.policy import Evidence
from restow.simulation.virtual_loop import run_virtual
from restow_executor.actions import ACTION_BY_NAME, ACTIONS
from restow_executor.actions.fence import why_not_dead
from support.builders import NOON, a_cloud, a_host, a_server
from support.executing import a_bench, host, move, rescue, step


def a_small_cloud(**changes):
    s1 = replace(a_server("s1", on="h1"), **changes)
    return a_cloud([a_host("h1"), a_host("h2")], [s1, a_server("new", on=None), a_server("s2", on="h2")])


def carried_out(path, steps, *, cloud=None, before=None, crash=None, goal="evacuate"):
    """How a plan of these steps ends, what the cloud was asked, and the events of its steps."""

    async def story():
        async with a_bench(path, cloud or a_small_cloud()) as bench:
            if crash is not None:
                await bench.cloud.inject("host-crash", host(crash))
                await bench.clock.sleep(120)
            if before is not None:
                await before(bench)
            bench.cloud.calls.clear()
            one = bench.start()
            request = {"goal": goal, "hosts": ["h1"], "mode": "auto"}
            await bench.approve("p1", steps, request=request)
            end = await bench.end_of("p1")
            told = [
                e.type.removeprefix("restow.") for e in await bench.events() if e.type.split(".")[1] in ("host", "step")
            ]
            truth = {name: sorted(hosts) for name, hosts in bench.cloud.truth().items()}
            seen = await bench.cloud.read()
            assert not bench.cloud.violations()
            await one.stop()
            return end, [call for call in bench.calls() if call[0] != "confirm_cold_migration"], told, truth, seen

    return run_virtual(story())


def test_every_action_of_the_formats_has_its_file_here():
    assert {action.name for action in ACTIONS} == set(Action) == set(ACTION_BY_NAME)


STEPS = {
    "live-migrate": step("x", "live-migrate", server="s1", source="h1", target="h2"),
    "cold-migrate": step("x", "cold-migrate", server="s1", source="h1", target="h2"),
    "start": step("x", "start", server="new", target="h2"),
    "stop": step("x", "stop", server="s1", source="h1"),
    "shelve": step("x", "shelve", server="s1", source="h1"),
    "disable-host": step("x", "disable-host", host="h1"),
    "power-on": step("x", "power-on", host="h1"),
    "enable-host": step("x", "enable-host", host="h1"),
}


@pytest.mark.parametrize(
    ("action", "asked", "truth"),
    [
        ("live-migrate", ("live_migrate", "s1", "h2"), {"s1": ["h2"]}),
        ("cold-migrate", ("cold_migrate", "s1", "h2"), {"s1": ["h2"]}),
        ("start", ("start", "new", "h2"), {"new": ["h2"]}),
        ("stop", ("stop", "s1"), {"s1": []}),
        ("shelve", ("shelve", "s1"), {"s1": []}),
        ("disable-host", ("disable", "h1"), {}),
    ],
)
def test_an_action_asks_once_and_is_done_when_it_is_seen_to_be_done(tmp_path, action, asked, truth):
    end, calls, told, really, _ = carried_out(tmp_path, [STEPS[action]])
    assert end.type == "restow.plan.finished"
    assert [call[: len(asked)] for call in calls] == [asked]
    assert told[:2] == ["step.started", "step.finished"]
    assert {name: really[name] for name in truth} == truth


@pytest.mark.parametrize(
    ("when", "action"),
    [("before", name) for name in ("cold-migrate", "start", "stop", "shelve", "disable-host")]
    + [("after", name) for name in ("cold-migrate", "start", "stop", "shelve", "disable-host")],
)
def test_an_action_whose_answer_is_lost_still_ends_well(tmp_path, action, when):
    async def lose(bench):
        bench.cloud.trouble.lose_answers(1, when=when)

    end, calls, _, _, _ = carried_out(tmp_path, [STEPS[action]], before=lose)
    assert end.type == "restow.plan.finished"
    assert len(calls) == (2 if when == "before" else 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_evacuation_whose_answer_is_lost_is_never_under_way_twice(tmp_path, when):
    async def lose(bench):
        bench.cloud.trouble.lose_answers(1, when=when, methods=["evacuate"])

    end, calls, _, truth, _ = carried_out(
        tmp_path, rescue("h1", [("s1", "h2")]), crash="h1", before=lose, goal="recover"
    )
    assert end.type == "restow.plan.finished"
    assert len([call for call in calls if call[0] == "evacuate"]) == (2 if when == "before" else 1)
    assert truth["s1"] == ["h2"]


async def _stopped(bench):
    await bench.cloud.stop(ServerId("s1"), request_id="x")
    await bench.clock.sleep(30)


async def _shelved(bench):
    await bench.cloud.shelve(ServerId("s1"), request_id="x")
    await bench.clock.sleep(30)


async def _started(bench):
    await bench.cloud.start(ServerId("new"), on=HostName("h2"), request_id="x")
    await bench.clock.sleep(30)


async def _moved(bench):
    await bench.cloud.live_migrate(ServerId("s1"), to=HostName("h2"), request_id="x")
    await bench.clock.sleep(60)


async def _disabled(bench):
    await bench.cloud.disable(host("h1"), reason="x")


async def _nothing(bench):
    pass


@pytest.mark.parametrize(
    ("action", "before"),
    [
        ("live-migrate", _moved),
        ("cold-migrate", _moved),
        ("start", _started),
        ("stop", _stopped),
        ("shelve", _shelved),
        ("disable-host", _disabled),
        ("enable-host", _nothing),
        ("power-on", _nothing),
    ],
)
def test_what_is_done_already_is_skipped_without_a_call(tmp_path, action, before):
    end, calls, told, _, _ = carried_out(tmp_path, [STEPS[action]], before=before)
    assert end.type == "restow.plan.finished"
    assert calls == []
    assert told == ["step.skipped"]


@pytest.mark.parametrize(
    ("action", "changes", "why"),
    [
        ("live-migrate", {"locked": True}, "locked"),
        ("live-migrate", {"state": ServerState.STOPPED}, "stopped"),
        ("live-migrate", {"move": Move.COLD}, "no longer be moved live"),
        ("cold-migrate", {"move": Move.NONE}, "no longer be moved"),
        ("cold-migrate", {"state": ServerState.ERROR}, "error"),
        ("stop", {"locked": True}, "locked"),
        ("stop", {"state": ServerState.ERROR}, "error"),
        ("stop", {"host": HostName("h2")}, "not on h1"),
        ("shelve", {"locked": True}, "locked"),
        ("shelve", {"host": HostName("h2")}, "where this plan does not know it"),
    ],
)
def test_what_is_no_longer_true_is_told_and_nothing_is_asked(tmp_path, action, changes, why):
    end, calls, _, _, _ = carried_out(tmp_path, [STEPS[action]], cloud=a_small_cloud(**changes))
    assert end.type == "restow.plan.stale"
    assert calls == []
    if changes.get("host") is None:
        assert why in end.data["why"]


def test_a_live_migration_from_a_dead_host_is_not_tried(tmp_path):
    end, calls, _, _, _ = carried_out(tmp_path, [STEPS["live-migrate"]], crash="h1")
    assert end.type == "restow.plan.stale"
    assert calls == []


def test_an_emptied_host_is_powered_off_and_a_host_with_servers_is_not(tmp_path):
    steps = [
        step("d", "disable-host", host="h1"),
        move("m", "s1", "h1", "h2", after=["d"]),
        step("p", "power-off", host="h1", after=["m"]),
    ]
    (tmp_path / "a").mkdir()
    end, calls, told, _, _ = carried_out(tmp_path / "a", steps)
    assert end.type == "restow.plan.finished"
    assert ("power", "h1", "off") in calls
    assert "host.powered-off" in told
    (tmp_path / "b").mkdir()
    end, calls, _, _, _ = carried_out(tmp_path / "b", [steps[0], step("p", "power-off", host="h1", after=["d"])])
    assert end.type == "restow.plan.stale"
    assert "not empty" in end.data["why"]
    assert [call[0] for call in calls] == ["disable"]


def test_a_host_that_takes_servers_is_never_powered_off(tmp_path):
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s2", on="h2")])
    end, calls, _, _, _ = carried_out(tmp_path, [step("p", "power-off", host="h1")], cloud=cloud)
    assert end.type == "restow.plan.stale"
    assert "enabled" in end.data["why"]
    assert calls == []


def test_a_host_is_powered_on_and_waited_for_and_then_enabled(tmp_path):
    async def off(bench):
        await bench.cloud.disable(host("h1"), reason="x")
        await bench.cloud.power(host("h1"), on=False)
        await bench.clock.sleep(120)

    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s2", on="h2")])
    steps = [step("on", "power-on", host="h1"), step("e", "enable-host", host="h1", after=["on"])]
    end, _, told, _, seen = carried_out(tmp_path, steps, cloud=cloud, before=off)
    assert end.type == "restow.plan.finished"
    assert told[-1] == "host.enabled"
    assert "host.powered-on" in told
    assert seen.host_by_name["h1"].takes_servers


def test_a_fenced_host_that_does_not_live_stays_out_of_service(tmp_path):
    async def fenced(bench):
        await bench.cloud.power(host("h1"), on=False)
        await bench.cloud.force_down(host("h1"), down=True)
        await bench.clock.sleep(30)

    end, calls, _, _, _ = carried_out(tmp_path, [STEPS["enable-host"]], before=fenced)
    assert end.type == "restow.plan.failed"
    assert "stays out of service" in end.data["why"]
    assert calls == []


def test_a_fenced_host_that_lives_again_is_declared_up_and_enabled(tmp_path):
    async def back(bench):
        await bench.cloud.disable(host("h1"), reason="x")
        await bench.cloud.power(host("h1"), on=False)
        await bench.cloud.force_down(host("h1"), down=True)
        await bench.clock.sleep(30)
        await bench.cloud.power(host("h1"), on=True)
        await bench.clock.sleep(300)

    end, calls, _, _, seen = carried_out(tmp_path, [STEPS["enable-host"]], before=back)
    assert end.type == "restow.plan.finished", end.data
    assert [call[0] for call in calls][:2] == ["force_down", "enable"]
    assert seen.host_by_name["h1"].takes_servers


def test_an_evacuation_without_a_fence_in_its_plan_is_refused(tmp_path):
    alone = [step("e", "evacuate", server="s1", source="h1", target="h2")]
    end, calls, _, _, _ = carried_out(tmp_path, alone, crash="h1", goal="recover")
    assert end.type == "restow.plan.failed"
    assert "not fenced" in end.data["why"]
    assert calls == []


def test_a_host_that_is_powered_on_after_its_fence_stops_the_evacuations(tmp_path):
    async def story():
        async with a_bench(tmp_path, a_small_cloud()) as bench:
            await bench.cloud.inject("host-crash", host("h1"))
            await bench.clock.sleep(120)
            one = bench.start()
            steps = rescue("h1", [("s1", "h2")])
            steps = (*steps[:2], step("wait", "stop", server="s2", source="h2"), *steps[2:])
            edges = step("x", "stop", server="s", source="h", after=["wait"]).waits_for
            last = steps[-1].model_copy(update={"waits_for": (*steps[-1].waits_for, *edges)})
            await bench.approve("p1", (*steps[:-1], last), request={"goal": "recover", "hosts": ["h1"], "mode": "auto"})
            await bench.heard(lambda event: event.type == "restow.host.fenced")
            await bench.cloud.power(host("h1"), on=True)
            end = await bench.end_of("p1")
            assert end.type == "restow.plan.stale"
            assert "powered on again" in end.data["why"]
            assert bench.calls("evacuate") == []
            assert [e.data["guard"] for e in await bench.events("restow.refusal")] == ["fence"]
            await one.stop()

    run_virtual(story())


def word(source, *, alive, age_s=0.0):
    return Heartbeat(source, HostName("h1"), alive, NOON - timedelta(seconds=age_s))


@pytest.mark.parametrize(
    ("words", "state", "speaks_against"),
    [
        ([word("a", alive=False), word("b", alive=False)], HostState.UP, False),
        ([word("a", alive=False), word("b", alive=False), word("c", alive=True)], HostState.UP, False),
        ([word("a", alive=False), word("b", alive=True)], HostState.DOWN, True),
        ([word("a", alive=True), word("b", alive=True)], HostState.DOWN, True),
        ([word("a", alive=False), word("power", alive=True)], HostState.DOWN, False),
        ([word("a", alive=True, age_s=90.0), word("b", alive=False)], HostState.DOWN, False),
        ([], HostState.UP, True),
        ([], HostState.DOWN, False),
    ],
)
def test_a_host_is_fenced_only_where_nothing_fresh_speaks_against_it(words, state, speaks_against):
    seen = replace(a_host("h1"), state=state, power=Power.ON)
    assert (why_not_dead(seen, words, evidence=Evidence(), now=NOON) is not None) is speaks_against

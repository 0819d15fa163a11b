"""Ordering: swaps, chains, deadlocks, groups, fences, and what waits for what."""

from typing import Any

from restow.cloud.changes import changed
from restow.cloud.model import AtMostPer, Cloud, Host, HostState, Move, Server, SpreadOver
from restow.messages.plan import Action, Outcome, Plan, Purpose
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.builders import a_cloud, a_group, a_host, a_server


def host(name: str, memory: int = 4000, **other: Any) -> Host:
    return a_host(name, vcpu=64, memory_mib=memory, **other)


def server(name: str, on: str | None, memory: int, **other: Any) -> Server:
    return a_server(name, on=on, memory_mib=memory, **other)


def reach(cloud: Cloud, **targets: str | None) -> Plan:
    return asked(cloud, goal="reach", targets=targets)


def asked(cloud: Cloud, **request: Any) -> Plan:
    plan = plan_for(cloud, parse_request(request), plan_id="p")
    assert check(cloud, plan) == ()
    assert all(replay_random(cloud, plan, seed) == () for seed in range(50))
    return plan


def test_a_swap_parks_one_server_once_and_marks_it() -> None:
    cloud = a_cloud([host("h1"), host("h2"), host("h3")], [server("a", "h1", 3000), server("b", "h2", 3000)])
    plan = reach(cloud, a="h2", b="h1")
    assert [step.purpose for step in plan.steps].count(Purpose.PARKING) == 1
    assert plan.moved_mib == 9000


def test_a_swap_without_any_room_is_proven_impossible_and_names_both() -> None:
    cloud = a_cloud([host("h1"), host("h2")], [server("a", "h1", 3000), server("b", "h2", 3000)])
    plan = reach(cloud, a="h2", b="h1")
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert {one.server for one in plan.blockers} == {"a", "b"}


def test_one_empty_host_more_turns_the_deadlock_into_three_steps() -> None:
    from restow.messages.request import Changes

    cloud = a_cloud([host("h1"), host("h2")], [server("a", "h1", 3000), server("b", "h2", 3000)])
    more = Changes(add_hosts=({"name": "h9", "capacity": {"vcpu": 64, "memory_mib": 4000}},))
    assert len(reach(changed(cloud, more), a="h2", b="h1").steps) == 3


def test_a_chain_waits_link_by_link_and_says_for_what() -> None:
    cloud = a_cloud(
        [host("h1"), host("h2"), host("h3"), host("h4")],
        [server("a", "h1", 3000), server("b", "h2", 3000), server("c", "h3", 3000)],
    )
    plan = reach(cloud, a="h2", b="h3", c="h4")
    step = {one.server: one for one in plan.steps}
    assert [edge.step for edge in step["a"].waits_for] == [step["b"].id]
    assert [edge.step for edge in step["b"].waits_for] == [step["c"].id]
    assert step["a"].waits_for[0].because == "h2 lacks 2000 memory_mib until b has left it"
    assert step["c"].end_s <= step["b"].start_s


def test_moves_that_do_not_need_each_other_do_not_wait() -> None:
    cloud = a_cloud([host("h1"), host("h2")], [server("a", "h1", 500), server("b", "h2", 500)])
    assert all(step.waits_for == () for step in reach(cloud, a="h2", b="h1").steps)


def test_a_server_that_stays_makes_room_and_returns() -> None:
    cloud = a_cloud(
        [host("h1"), host("h2"), host("h3", 500)],
        [server("a", "h1", 3800), server("b", "h2", 3800), server("small", "h3", 400), server("c", "h3", 100)],
    )
    plan = reach(cloud, a=None, b="h1")
    assert [step.action for step in plan.steps] == [Action.SHELVE, Action.LIVE_MIGRATE]
    assert plan.steps[1].waits_for[0].step == plan.steps[0].id


def test_a_server_is_started_last_once_there_is_room() -> None:
    cloud = a_cloud([host("h1"), host("h2")], [server("new", None, 3000), server("a", "h1", 3000)])
    plan = reach(cloud, new="h1", a="h2")
    assert [step.action for step in plan.steps] == [Action.LIVE_MIGRATE, Action.START]
    assert [edge.step for edge in plan.steps[1].waits_for] == [plan.steps[0].id]


def test_anti_affinity_holds_at_both_ends_of_every_move() -> None:
    cloud = a_cloud(
        [host("h1"), host("h2"), host("h3")],
        [server("a", "h1", 100), server("b", "h2", 100)],
        groups=[a_group("g", "anti-affinity", ["a", "b"])],
    )
    plan = reach(cloud, a="h2", b="h1")
    assert len(plan.steps) == 3  # one of them has to step aside
    assert "anti-affinity g" in {edge.because.split(":")[0] for step in plan.steps for edge in step.waits_for}


def test_at_most_per_zone_counts_a_move_within_the_zone_once() -> None:
    cloud = a_cloud(
        [host("h1", zone="z1"), host("h2", zone="z1")],
        [server("a", "h1", 100)],
        rules=[AtMostPer(("a",), "zone", 1)],  # type: ignore[arg-type]
    )
    assert len(reach(cloud, a="h2").steps) == 1


def test_servers_that_must_be_spread_move_one_at_a_time() -> None:
    cloud = a_cloud(
        [host("h1", rack="r1"), host("h2", rack="r2"), host("h3", rack="r3")],
        [server("a", "h1", 100), server("b", "h2", 100), server("c", "h3", 100)],
        rules=[SpreadOver(("a", "b", "c"), "rack", 2)],  # type: ignore[arg-type]
    )
    plan = reach(cloud, a="h2", b="h1", c="h1")
    assert plan.outcome is Outcome.PLAN
    assert any("one at a time" in edge.because for step in plan.steps for edge in step.waits_for)


def test_a_host_that_is_overfull_at_the_start_never_gets_worse() -> None:
    cloud = a_cloud(
        [host("h1", 1000), host("h2")], [server("a", "h1", 900), server("b", "h1", 900), server("c", "h2", 100)]
    )
    plan = reach(cloud, a="h2", c="h1")
    arrival = next(step for step in plan.steps if step.server == "c")
    assert arrival.waits_for[0].because == "h1 lacks 900 memory_mib until a has left it"


def test_nothing_is_rebuilt_before_its_host_is_fenced() -> None:
    cloud = a_cloud(
        [host("dead", state=HostState.DOWN), host("h2"), host("h3")],
        [server("low", "dead", 100, priority=1), server("high", "dead", 100, priority=9), server("x", "h2", 100)],
    )
    plan = asked(cloud, goal="recover", hosts=["dead"])
    fence = next(step for step in plan.steps if step.action is Action.FENCE)
    rebuilt = [step for step in plan.steps if step.action is Action.EVACUATE]
    assert [step.server for step in rebuilt] == ["high", "low"]
    assert all(
        edge.because == "dead must be proven dead and fenced before its servers run elsewhere"
        for step in rebuilt
        for edge in step.waits_for
        if edge.step == fence.id
    )
    assert all(fence.id in {edge.step for edge in step.waits_for} for step in rebuilt)
    assert plan.moved_mib == 0


def test_an_emptied_host_is_disabled_before_anything_leaves_it() -> None:
    cloud = a_cloud([host("h1"), host("h2")], [server("a", "h1", 100), server("b", "h1", 200)])
    plan = asked(cloud, goal="evacuate", hosts=["h1"])
    assert plan.steps[0].action is Action.DISABLE_HOST
    assert all([edge.step for edge in step.waits_for] == [plan.steps[0].id] for step in plan.steps[1:])
    assert plan.emptied_hosts == ("h1",)


def test_a_server_that_would_be_interrupted_is_not_moved_only_to_make_room() -> None:
    cloud = a_cloud(
        [host("h1"), host("h2"), host("h3", 400)],
        [server("a", "h1", 3700), server("b", "h2", 3000), server("cold", "h2", 400, move=Move.COLD)],
    )
    plan = reach(cloud, a="h2", b="h1")
    assert plan.outcome is not Outcome.PLAN
    assert plan.steps == ()


def test_limits_per_host_and_in_total_stretch_the_schedule() -> None:
    servers = [server(f"s{index}", "h1", 1000) for index in range(4)]
    cloud = a_cloud([host("h1"), host("h2", 9000)], servers)
    targets = {one.id: "h2" for one in servers}
    wide = asked(cloud, goal="reach", targets=targets, limits={"per_host": 4})
    narrow = asked(cloud, goal="reach", targets=targets, limits={"per_host": 4, "total": 1})
    assert narrow.makespan_s > 3.5 * wide.makespan_s
    assert len({step.start_s for step in wide.steps}) == 1


def test_a_plan_always_says_what_it_does_not_know() -> None:
    cloud = a_cloud([host("h1", link_mbps=None), host("h2")], [server("a", "h1", 100, dirty_mib_s=None)])
    notes = reach(cloud, a="h2").not_modelled
    assert any("dirty rate of 1 servers" in note for note in notes)
    assert any("link bandwidth of 1 hosts" in note for note in notes)


def test_a_host_that_was_empty_before_is_closed_before_it_is_powered_off() -> None:
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")])
    plan = plan_for(cloud, parse_request({"goal": "consolidate", "power_off": True}), plan_id="p")
    steps = {step.action: step for step in plan.steps if step.host == "h2"}
    assert [edge.step for edge in steps["power-off"].waits_for] == [steps["disable-host"].id]

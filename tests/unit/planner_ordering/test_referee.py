"""The referee: planted faults are found, and its highest loads are those that the slow and obvious way finds."""

from random import Random
from typing import Any

import pytest

from restow.cloud.model import Among, Cloud, HostState, Licence, RuleSpec, SpreadOver, TogetherIn
from restow.ids import ServerId
from restow.messages.plan import Action, Edge, Plan, Step
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from restow_planner.referee.closure import highest
from support.builders import a_cloud, a_group, a_host, a_server


def chain() -> tuple[Cloud, Plan]:
    cloud = a_cloud(
        [a_host(f"h{index}", memory_mib=4000) for index in range(1, 5)],
        [a_server(name, on=on, memory_mib=3000) for name, on in (("a", "h1"), ("b", "h2"), ("c", "h3"))],
    )
    request = parse_request({"goal": "reach", "targets": {"a": "h2", "b": "h3", "c": "h4"}})
    return cloud, plan_for(cloud, request, plan_id="p")


def altered(plan: Plan, server: str, /, **update: Any) -> Plan:
    steps = tuple(step.model_copy(update=update) if step.server == server else step for step in plan.steps)
    return plan.model_copy(update={"steps": steps})


def by_hand(cloud: Cloud, *steps: Step) -> Plan:
    """A plan with these steps one after the other only where they say so."""
    targets = {step.server: step.target for step in steps if step.server}
    _, plan = chain()
    request = parse_request({"goal": "reach", "targets": targets})
    return plan.model_copy(
        update={"request": request, "steps": steps, "makespan_s": 0.0, "moved_mib": 0, "blockers": ()}
    )


def move(id: str, server: str, source: str, target: str, *after: str, action: Action = Action.LIVE_MIGRATE) -> Step:
    waits = tuple(Edge(step=one, because="-") for one in after)
    return Step(id=id, action=action, server=server, source=source, target=target, waits_for=waits)


def kinds(cloud: Cloud, plan: Plan) -> set[str]:
    return {finding.kind for finding in check(cloud, plan)}


def test_a_good_plan_has_no_findings() -> None:
    assert check(*chain()) == ()


def test_an_edge_less_is_found_and_the_random_replay_agrees() -> None:
    cloud, plan = chain()
    bad = altered(plan, "a", waits_for=(), start_s=0.0)
    assert "rule" in kinds(cloud, bad)
    assert any(replay_random(cloud, bad, seed) for seed in range(50))


@pytest.mark.parametrize(
    ("update", "kind"),
    [
        ({"target": "h1"}, "step"),
        ({"target": "nowhere"}, "step"),
        ({"source": "h2"}, "step"),
        ({"server": "nobody"}, "step"),
        ({"waits_for": (Edge(step="s99", because="-"),)}, "format"),
        ({"start_s": 0.0}, "schedule"),
        ({"target": "h3"}, "rule"),
        ({"moved_mib": 1}, "format"),
        ({"action": Action.EVACUATE}, "order"),
    ],
)
def test_a_planted_fault_is_found(update: dict[str, Any], kind: str) -> None:
    cloud, plan = chain()
    assert kind in kinds(cloud, altered(plan, "a", **update))


def test_steps_that_wait_for_each_other_are_found() -> None:
    cloud, plan = chain()
    last = next(step.id for step in plan.steps if step.server == "a")
    assert "format" in kinds(cloud, altered(plan, "c", waits_for=(Edge(step=last, because="-"),)))


def test_two_steps_of_one_server_at_once_are_found() -> None:
    cloud = a_cloud([a_host("h1"), a_host("h2"), a_host("h3")], [a_server("a", on="h1")])
    assert "order" in kinds(cloud, by_hand(cloud, move("s1", "a", "h1", "h2"), move("s2", "a", "h2", "h3")))


def test_a_rebuild_that_does_not_wait_for_the_fence_is_found() -> None:
    cloud = a_cloud([a_host("h1", state=HostState.DOWN), a_host("h2")], [a_server("a", on="h1")])
    fence = Step(id="s1", action=Action.FENCE, host="h1")
    rebuild = move("s2", "a", "h1", "h2", action=Action.EVACUATE)
    assert "order" in kinds(cloud, by_hand(cloud, fence, rebuild))
    assert check(cloud, by_hand(cloud, fence, move("s2", "a", "h1", "h2", "s1", action=Action.EVACUATE))) == ()


def rebuilt_within_its_rack(rule: RuleSpec) -> set[str]:
    """What is found: `a` and `b` ran on a dead host, `a` is rebuilt in its rack, then `b` beside `c` in another."""
    cloud = a_cloud(
        [a_host("h1", state=HostState.DOWN), a_host("h2"), a_host("h3", rack="r2")],
        [a_server("a", on="h1"), a_server("b", on="h1"), a_server("c", on="h3")],
        rules=[rule],
    )
    fence = Step(id="s1", action=Action.FENCE, host="h1")
    first = move("s2", "a", "h1", "h2", "s1", action=Action.EVACUATE)
    return kinds(cloud, by_hand(cloud, fence, first, move("s3", "b", "h1", "h3", "s2", action=Action.EVACUATE)))


def test_who_is_rebuilt_in_the_rack_of_the_dead_host_counts_there_from_then_on() -> None:
    everybody = (ServerId("a"), ServerId("b"), ServerId("c"))
    assert rebuilt_within_its_rack(SpreadOver(everybody, "rack", 2)) == set()
    assert rebuilt_within_its_rack(Licence(everybody, 1, "rack")) == {"rule"}


def test_a_live_migration_from_a_dead_host_is_found() -> None:
    cloud = a_cloud([a_host("h1", state=HostState.DOWN), a_host("h2")], [a_server("a", on="h1")])
    assert "step" in kinds(cloud, by_hand(cloud, move("s1", "a", "h1", "h2")))


def test_an_arrival_on_a_closed_host_and_a_locked_server_are_found() -> None:
    cloud = a_cloud(
        [a_host("h1"), a_host("h2", enabled=False), a_host("h3")],
        [a_server("a", on="h1"), a_server("b", on="h1", locked=True)],
    )
    assert "rule" in kinds(cloud, by_hand(cloud, move("s1", "a", "h1", "h2")))
    assert "rule" in kinds(cloud, by_hand(cloud, move("s1", "b", "h1", "h3")))


def test_a_passing_breach_of_anti_affinity_is_found() -> None:
    cloud = a_cloud(
        [a_host("h1"), a_host("h2"), a_host("h3")], [a_server("a", on="h1"), a_server("b", on="h2")],
        groups=[a_group("g", "anti-affinity", ["a", "b"])],
    )  # fmt: skip
    assert "rule" in kinds(cloud, by_hand(cloud, move("s1", "b", "h2", "h3"), move("s2", "a", "h1", "h2")))
    assert check(cloud, by_hand(cloud, move("s1", "b", "h2", "h3"), move("s2", "a", "h1", "h2", "s1"))) == ()


@pytest.mark.parametrize("rule", ["together", "among"])
def test_servers_that_part_on_the_way_are_found(rule: str) -> None:
    members = ("a", "b")
    spec = {
        "together": TogetherIn(members, "rack"),  # type: ignore[arg-type]
        "among": Among(members, (("h1", "h2"), ("h3", "h4"))),  # type: ignore[arg-type]
    }[rule]
    cloud = a_cloud(
        [a_host("h1", rack="r1"), a_host("h2", rack="r1"), a_host("h3", rack="r2"), a_host("h4", rack="r2")],
        [a_server("a", on="h1"), a_server("b", on="h1")], rules=[spec],
    )  # fmt: skip
    assert "rule" in kinds(cloud, by_hand(cloud, move("s1", "a", "h1", "h3"), move("s2", "b", "h1", "h4", "s1")))
    assert check(cloud, by_hand(cloud, move("s1", "a", "h1", "h2"))) == ()


def test_a_server_left_behind_without_a_word_is_found() -> None:
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("a", on="h1"), a_server("b", on="h1")])
    plan = plan_for(cloud, parse_request({"goal": "evacuate", "hosts": ["h1"]}), plan_id="p")
    steps = tuple(step for step in plan.steps if step.server != "b")
    moved = sum(step.moved_mib for step in steps)
    assert kinds(cloud, plan.model_copy(update={"steps": steps, "moved_mib": moved})) >= {"goal"}


def test_the_minimum_cut_finds_what_enumeration_finds() -> None:
    below = 0
    for seed in range(300):
        dice = Random(seed)
        count = dice.randint(2, 7)
        ancestors = [0] * count
        for step in range(count):
            for before in range(step):
                if dice.random() < 0.35:
                    ancestors[step] |= ancestors[before] | 1 << before
        amount = [dice.randint(1, 9) for _ in range(count)]
        arrives = [dice.random() < 0.5 for _ in range(count)]
        arrivals = [(step, amount[step]) for step in range(count) if arrives[step]]
        departures = [(step, amount[step]) for step in range(count) if not arrives[step]]
        start, most = 20, 0
        for ended in range(1 << count):
            if all(ancestors[step] & ~ended == 0 for step in range(count) if ended >> step & 1):
                started = [step for step in range(count) if ancestors[step] & ~ended == 0 or ended >> step & 1]
                load = start + sum(amount[step] for step in started if arrives[step])
                load -= sum(amount[step] for step in range(count) if ended >> step & 1 and not arrives[step])
                most = max(most, load)
        assert highest(start, arrivals, departures, ancestors)[0] == most, seed
        below += most < start + sum(value for _, value in arrivals)
    assert below > 30  # the cut was needed

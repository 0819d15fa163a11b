"""The cool-down and other pins where one goal follows another: each binds from its goal on, and the referee sees it."""

from dataclasses import replace
from typing import Any

import pytest

from restow.cloud.model import HostState
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.guards.cool_down import with_pins
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_host, a_server

CLOUD = a_cloud(
    [a_host("h1"), a_host("h2"), a_host("h3")],
    [
        a_server("a", on="h1", load={"cpu_cores": 3.0}),
        a_server("b", on="h1", load={"cpu_cores": 2.5}),
        a_server("c", on="h2", load={"cpu_cores": 1.0}),
        a_server("d", on="h2", load={"cpu_cores": 1.0}),
    ],
)
EVACUATE = {"goal": "evacuate", "hosts": ["h1"]}
REBALANCE = {"goal": "rebalance", "threshold": 0.05}


def then(*goals: dict[str, Any], **own: Any) -> Any:
    return parse_request({"goal": "then", "goals": list(goals), **own})


def moves(plan: Plan) -> dict[str | None, str | None]:
    return {step.server: step.target for step in plan.steps if step.server}


def test_a_host_is_emptied_and_the_rest_evened_out_a_short_while_after_its_servers_moved():
    plan = plan_for(CLOUD, with_pins(then(EVACUATE, REBALANCE), ("a", "c")), plan_id="p")
    assert (plan.outcome, plan.blockers) == (Outcome.PLAN, ())
    assert {"a", "b"} <= moves(plan).keys()
    assert "c" not in moves(plan), "it moved a short while ago, and only the optional goal wants it elsewhere"
    assert check(CLOUD, plan) == ()


@pytest.mark.parametrize("loads", [(4.0, 3.5), (1.0, 5.0), (0.5, 0.5)])
def test_whom_an_earlier_goal_moves_a_later_one_that_pins_it_does_not_move_on(loads: tuple[float, float]):
    going = [a_server(name, on="h1", load={"cpu_cores": load}) for name, load in zip("ab", loads, strict=True)]
    cloud = a_cloud(CLOUD.hosts, [*going, *CLOUD.servers[2:]])
    alone = moves(plan_for(cloud, parse_request(EVACUATE), plan_id="p"))
    pinned = moves(plan_for(cloud, then(EVACUATE, {**REBALANCE, "pin": ["a", "b"]}), plan_id="p"))
    assert {one: pinned[one] for one in "ab"} == {one: alone[one] for one in "ab"}


def test_a_host_that_a_later_goal_excludes_may_be_reached_by_an_earlier_one():
    reach = {"goal": "reach", "targets": {"a": "h3"}}
    plan = plan_for(CLOUD, then(reach, {**REBALANCE, "exclude_hosts": ["h3"]}), plan_id="p")
    assert (plan.outcome, moves(plan)["a"]) == (Outcome.PLAN, "h3")
    assert [one for one, target in moves(plan).items() if target == "h3"] == ["a"]


IDLE = {"goal": "evacuate", "hosts": ["h3"]}  # nobody is there: it moves no one


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (then(EVACUATE, REBALANCE, pin=["a"]), "pins"),
        (then({**EVACUATE, "pin": ["a"]}, REBALANCE), "pins"),
        (then({**EVACUATE, "pin": ["a"]}, {**REBALANCE, "pin": ["a"]}), "pins"),
        (then(IDLE, {**REBALANCE, "pin": ["a"]}), "pins"),
        (then({"goal": "reach", "targets": {"d": "h2"}}, {**REBALANCE, "pin": ["a"]}), "pins"),
        (then(EVACUATE, REBALANCE, exclude_hosts=["h2"]), "excludes"),
        (then(IDLE, {**REBALANCE, "exclude_hosts": ["h2"]}), "excludes"),
        (then(EVACUATE, {"goal": "evacuate", "hosts": ["h2"]}), "wants empty"),
        (then(IDLE, {**REBALANCE, "avoid": [{"server": "a", "host": "h2"}]}), "avoids"),
    ],
)
def test_the_referee_still_finds_who_may_not_move_or_arrive(request_: Any, words: str):
    honest = plan_for(CLOUD, parse_request({"goal": "reach", "targets": {"a": "h2"}}), plan_id="p")
    assert moves(honest) == {"a": "h2"}
    found = check(CLOUD, honest.model_copy(update={"request": request_}))
    assert any(words in one.why for one in found), found


@pytest.mark.parametrize(
    "later",
    [
        {"pin": ["a"]},
        {"exclude_hosts": ["h2"]},
        {"avoid": [{"server": "a", "host": "h2"}]},
    ],
)
def test_the_referee_lets_an_earlier_goal_do_what_only_a_later_one_forbids(later: dict[str, Any]):
    honest = plan_for(CLOUD, parse_request({"goal": "reach", "targets": {"a": "h2"}}), plan_id="p")
    asked = then({"goal": "reach", "targets": {"a": "h2"}}, {**REBALANCE, **later})
    assert check(CLOUD, honest.model_copy(update={"request": asked})) == ()


@pytest.mark.parametrize(("state", "told"), [("up", True), ("down", False)])
def test_a_plan_that_recovers_a_host_which_the_cloud_calls_up_is_made_and_says_so(state: str, told: bool):
    hosts = [replace(CLOUD.hosts[0], state=HostState(state)), *CLOUD.hosts[1:]]
    plan = plan_for(
        replace(CLOUD, hosts=tuple(hosts)), parse_request({"goal": "recover", "hosts": ["h1"]}), plan_id="p"
    )
    assert (plan.outcome, {"a", "b"} <= moves(plan).keys()) == (Outcome.PLAN, True)
    assert ("h1 still up" in plan.why and "use evacuate" in plan.why) is told

"""Recover where rules bind servers to each other: what died together is rebuilt together, elsewhere."""

import pytest

from restow.cloud.model import Cloud, Group, GroupPolicy, HostState, RuleSpec, SpreadOver, TogetherIn
from restow.ids import ServerId
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.builders import a_cloud, a_host, a_server

PAIR = (ServerId("a"), ServerId("b"))


def recovered(cloud: Cloud) -> Plan:
    plan = plan_for(cloud, parse_request({"goal": "recover", "hosts": ["dead"]}), plan_id="p")
    assert check(cloud, plan) == ()
    assert all(replay_random(cloud, plan, dice) == () for dice in range(10))
    return plan


@pytest.mark.parametrize(
    ("groups", "rules"),
    [
        ((Group("g", GroupPolicy.AFFINITY, PAIR),), ()),
        ((), (TogetherIn(PAIR, "host"),)),
        ((), (TogetherIn(PAIR, "rack"),)),
    ],
)
def test_servers_that_must_stay_together_are_rebuilt_together(
    groups: tuple[Group, ...], rules: tuple[RuleSpec, ...]
) -> None:
    cloud = a_cloud(
        [
            a_host("dead", state=HostState.DOWN, rack="r0"),
            a_host("tight", memory_mib=1000, rack="r1"),
            a_host("roomy", memory_mib=2000, rack="r2"),
        ],
        [a_server("a", on="dead", memory_mib=800), a_server("b", on="dead", memory_mib=800)],
        groups=groups,
        rules=rules,
    )
    plan = recovered(cloud)
    assert plan.outcome is Outcome.PLAN
    assert {step.server: step.target for step in plan.steps if step.server} == {"a": "roomy", "b": "roomy"}


def test_a_spread_that_the_failure_itself_broke_does_not_stop_the_rebuilding() -> None:
    cloud = a_cloud(
        [a_host("dead", state=HostState.DOWN), a_host("h1"), a_host("h2")],
        [a_server("a", on="dead"), a_server("b", on="h1"), a_server("c", on="h1")],
        rules=(SpreadOver((*PAIR, ServerId("c")), "host", 2),),
    )
    plan = recovered(cloud)
    assert plan.outcome is Outcome.PLAN
    assert {step.server: step.target for step in plan.steps if step.server} == {"a": "h2"}


def test_one_of_a_pair_is_rebuilt_where_there_is_no_room_for_both() -> None:
    cloud = a_cloud(
        [a_host("dead", state=HostState.DOWN), a_host("h1", memory_mib=1000)],
        [a_server("a", on="dead", memory_mib=800), a_server("b", on="dead", memory_mib=800)],
        groups=(Group("g", GroupPolicy.AFFINITY, PAIR),),
    )
    plan = recovered(cloud)
    assert plan.outcome is Outcome.PLAN
    assert len([step for step in plan.steps if step.server]) == 1
    assert len(plan.blockers) == 1

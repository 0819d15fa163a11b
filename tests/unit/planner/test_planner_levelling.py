"""Where moves one by one leave hosts too full, a placement is searched, taken if better, and made again the same."""

from random import Random

import pytest

from restow.cloud.model import Cloud, Isolate
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.goals import levelling, rebalance
from restow_planner.plan import made_again, plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_host, a_server

THRESHOLD = 0.05
SEEDS = (0, 5, 6)
UNREACHABLE = 7
"""A seed whose searched placement no order of moves reaches."""


def a_tight_cloud(seed: int, rules: tuple[object, ...] = ()) -> Cloud:
    """Twenty hosts with hardly a claim left free, a quarter of them with servers that do twice as much."""
    dice = Random(seed)
    hosts = [a_host(f"h{n}", vcpu=64, memory_mib=131_072, physical={"cpu_cores": 32}) for n in range(20)]
    servers = []
    for number in range(20):
        left = 64
        while left >= 4:
            vcpu = min(dice.choice((4, 8, 16, 32)), left - left % 4)
            left -= vcpu
            cores = vcpu * dice.uniform(0.03, 0.3) * (2 if number < 5 else 1)
            servers.append(
                a_server(
                    f"s{len(servers)}", on=f"h{number}", vcpu=vcpu, memory_mib=vcpu * 2048, load={"cpu_cores": cores}
                )
            )
            if dice.random() < 0.06:
                break
    return a_cloud(hosts, servers, rules=list(rules))


def levelled(cloud: Cloud) -> Plan:
    request = {"goal": "rebalance", "threshold": THRESHOLD, "limits": {"time_limit_s": 120}}
    return plan_for(cloud, parse_request(request), plan_id="p")


def too_full(plan: Plan) -> int:
    return sum(blocker.rule == "rebalance" for blocker in plan.blockers)


def test_a_search_leaves_fewer_hosts_too_full_and_breaks_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {seed: levelled(a_tight_cloud(seed)) for seed in SEEDS}
    monkeypatch.setattr(rebalance, "searched", lambda *_: None)
    one_by_one = {seed: levelled(a_tight_cloud(seed)) for seed in SEEDS}
    better = 0
    for seed, plan in plans.items():
        assert plan.outcome is Outcome.PLAN
        assert check(a_tight_cloud(seed), plan) == ()
        before = one_by_one[seed]
        assert too_full(plan) <= too_full(before)
        if any("all hosts at once" in step.why for step in plan.steps):
            better += too_full(plan) < too_full(before) or plan.after["peak_cpu"] < before.after["peak_cpu"]
    assert better > 1, "the search made nothing better"


def test_a_plan_that_was_searched_for_is_made_again_as_it_was() -> None:
    cloud = a_tight_cloud(0)
    plan = levelled(cloud)
    assert any("all hosts at once" in step.why for step in plan.steps)
    assert made_again(cloud, plan) == plan


def test_where_no_order_reaches_what_was_found_the_moves_one_by_one_are_the_plan() -> None:
    plan = levelled(a_tight_cloud(UNREACHABLE))
    assert plan.outcome is Outcome.PLAN
    assert plan.steps
    assert not any("all hosts at once" in step.why for step in plan.steps)


def test_what_the_search_finds_is_not_taken_if_it_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []

    def unlawful(*_: object) -> tuple[str, ...]:
        judged.append(True)
        return ("a rule is broken",)

    monkeypatch.setattr(levelling, "worse", unlawful)
    plan = levelled(a_tight_cloud(0))
    assert judged
    assert not any("all hosts at once" in step.why for step in plan.steps)
    assert plan.steps, "the moves one by one are kept"


def test_rules_that_the_search_does_not_know_are_left_to_moves_one_by_one() -> None:
    cloud = a_tight_cloud(0, rules=(Isolate(servers=("s0",)),))
    plan = levelled(cloud)
    assert check(cloud, plan) == ()
    assert not any("all hosts at once" in step.why for step in plan.steps)

"""The clouds on which Watcher is compared with, and how both ends are judged."""

import json
import statistics

import pytest

from bench.busy import PEAK, busy_cloud
from bench.families.watcher import end_of
from restow.cloud.model import Allow, AtMostPer, Ban, SpreadOver
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from support.builders import a_cloud, a_group, a_host, a_server


def test_busy_clouds_break_no_rule_and_their_load_is_skewed():
    cloud = busy_cloud(hosts=100, servers=1_500, seed=3)
    assert len(cloud.servers) == 1_500
    assert {type(rule) for rule in cloud.rules} == {Allow, AtMostPer, Ban, SpreadOver}
    assert cloud.groups
    start = end_of(cloud, {})
    assert (start.broken, start.overloaded) == (0, 0)
    assert PEAK - 0.05 < start.peak <= PEAK
    assert start.deviation > 0.2
    claims = [cloud.used(host.name)["vcpu"] / host.capacity["vcpu"] for host in cloud.hosts]
    shares = [host.load["cpu_cores"] / host.physical["cpu_cores"] for host in cloud.hosts]
    assert abs(statistics.correlation(claims, shares)) < 0.4  # claims and load differ
    assert busy_cloud(hosts=100, servers=1_500, seed=3) == cloud


def test_an_end_is_judged_by_rules_and_by_real_cores():
    hosts = [a_host("h0"), a_host("h1")]
    servers = [
        a_server("a", on="h0", load={"cpu_cores": 6.0}), a_server("b", on="h1", load={"cpu_cores": 4.0}),
    ]  # fmt: skip
    cloud = a_cloud(hosts, servers, groups=[a_group("g", "anti-affinity", ["a", "b"])])
    apart, together = end_of(cloud, {}), end_of(cloud, {"a": "h1"})
    assert (apart.hosts, apart.peak, apart.deviation, apart.overloaded, apart.broken) == (2, 0.75, 0.125, 0, 0)
    assert (together.hosts, together.peak, together.overloaded, together.broken) == (1, 1.25, 1, 1)


@pytest.mark.parametrize("goal", ["rebalance", "consolidate"])
def test_on_a_busy_cloud_the_goal_is_met_within_rules_and_real_cores(goal):
    cloud = busy_cloud(hosts=60, servers=900, seed=5)
    plan = json.loads(json.dumps(plan_for(cloud, parse_request({"goal": goal}), plan_id="p").dump()))
    moves = {step["server"]: step["to"] for step in plan["steps"] if step.get("server")}
    start, end = end_of(cloud, {}), end_of(cloud, moves)
    assert (end.overloaded, end.broken) == (0, 0)
    if goal == "rebalance":
        assert end.peak < 0.6
        assert end.deviation < 0.04
        assert len(moves) < 1.5 * len(cloud.hosts)
    else:
        assert end.hosts < 0.6 * start.hosts
        assert end.peak <= start.peak

"""Contradictory rules: the two that clash are named, with what to relax."""

import pytest

from restow.cloud.model import Allow, Among, AtMostPer, Ban, Isolate, Licence, NearTo, SpreadOver, TogetherIn
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.rules import hard_primitives
from restow_planner.rules.clashes import clashes
from support.builders import a_cloud, a_group, a_host, a_server

HOSTS = [a_host("h1", rack="r1"), a_host("h2", rack="r1"), a_host("h3", rack="r2"), a_host("h4", rack="r2")]
SERVERS = [a_server("s1", on="h1"), a_server("s2", on="h1"), a_server("s3", on="h2")]
BOTH = ("s1", "s2")


def found(*rules, groups=()):
    cloud = a_cloud(HOSTS, SERVERS, rules=rules, groups=groups)
    return [clash.rules for clash in clashes(cloud, hard_primitives(cloud))]


@pytest.mark.parametrize(
    ("rules", "pair"),
    [
        ((TogetherIn(BOTH, "host"), SpreadOver(BOTH, "host", 2)), ("together 0", "spread 1")),
        ((TogetherIn(BOTH, "rack"), SpreadOver(BOTH, "rack", 2)), ("together 0", "spread 1")),
        ((TogetherIn(BOTH, "rack"), AtMostPer(BOTH, "rack", 1)), ("together 0", "at-most 1")),
        ((Among(BOTH, (("h1",), ("h2",))), AtMostPer(BOTH, "host", 1)), ("among 0", "at-most 1")),
        ((Among(BOTH, (("h1",), ("h2", "h3"))), Allow(("s2",), ("h4",))), ("among 0", "allow 1")),
    ],
)
def test_two_rules_that_no_placement_keeps_are_named(rules, pair):
    assert found(*rules) == [pair]


@pytest.mark.parametrize(
    "rules",
    [
        (TogetherIn(BOTH, "rack"), SpreadOver(BOTH, "host", 2)),
        (TogetherIn(BOTH, "rack"), AtMostPer(BOTH, "host", 1)),
        (TogetherIn(BOTH, "host"), SpreadOver(("s1", "s2", "s3"), "host", 2)),
        (TogetherIn(BOTH, "host"), SpreadOver(BOTH, "host", 2, soft=5.0)),
        (Among(BOTH, (("h1",), ("h2", "h3"))), Allow(("s2",), ("h3", "h4"))),
        (SpreadOver(BOTH, "host", 2), AtMostPer(BOTH, "host", 1)),
    ],
)
def test_rules_that_some_placement_keeps_are_no_clash(rules):
    assert found(*rules) == []


def test_a_group_and_a_rule_may_clash():
    assert found(TogetherIn(BOTH, "host"), groups=[a_group("g", "anti-affinity", list(BOTH))]) == [
        ("together 0", "anti-affinity g")
    ]


def blockers(*rules):
    cloud = a_cloud(HOSTS[:3], SERVERS, rules=rules)
    plan = plan_for(cloud, parse_request({"goal": "evacuate", "hosts": ["h1"]}), plan_id="p")
    return {one.server: one for one in plan.blockers}


def test_host_lists_without_a_host_in_common_are_both_named_and_the_better_one_to_relax():
    one = blockers(Allow(("s1",), ("h1", "h2")), Ban(("s1",), ("h2",)), Ban(("s2",), ("h9",)))["s1"]
    assert one.rule == "allow 0, ban 1"
    assert "allow 0 and ban 1 together leave none" in one.why
    assert "then h3 would suit" in one.relaxation or "then h2 would suit" in one.relaxation


def test_a_rule_that_alone_leaves_no_host_is_named_alone():
    one = blockers(Allow(("s1",), ("h1",)), Ban(("s1",), ("h2",)))["s1"]
    assert one.rule == "allow 0"
    assert "relax allow 0 (then h3 would suit)" in one.relaxation


def test_a_clash_of_two_rules_is_the_reason_that_a_server_cannot_leave():
    one = blockers(TogetherIn(BOTH, "host"), SpreadOver(BOTH, "host", 2))["s1"]
    assert one.rule == "together 0, spread 1"
    assert "contradict each other" in one.why
    assert one.relaxation == "drop together 0 or spread 1, or make one soft"


@pytest.mark.parametrize(
    ("rules", "pair"),
    [
        ((TogetherIn(BOTH, "host"), Isolate(("s1",))), ("together 0", "isolate 1")),
        ((SpreadOver((*BOTH, "s3"), "host", 3), Licence((*BOTH, "s3"), 2)), ("spread 0", "licence 1")),
        ((NearTo(("s1",), ("s2",), "host"), AtMostPer(BOTH, "host", 1)), ("near 0", "at-most 1")),
        ((NearTo(("s1",), ("s2", "s3"), "host"), Isolate(("s1",))), ("near 0", "isolate 1")),
    ],
)
def test_newer_rules_clash_too(rules, pair):
    assert found(*rules) == [pair]


@pytest.mark.parametrize(
    "rules",
    [
        (TogetherIn(BOTH, "rack"), Isolate(("s1",))),
        (TogetherIn(BOTH, "host"), Isolate(BOTH)),
        (SpreadOver(BOTH, "rack", 2), Licence(("s1", "s3"), 1, "rack")),
        (NearTo(("s1",), ("s2", "s3"), "host"), AtMostPer(BOTH, "host", 1)),
        (NearTo(("s1",), ("s2", "s3"), "host"), Isolate(BOTH)),
    ],
)
def test_newer_rules_that_some_placement_keeps_are_no_clash(rules):
    assert found(*rules) == []

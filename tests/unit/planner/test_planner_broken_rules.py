"""Clouds that break a rule before any plan: no plan makes it worse, it is mended where it can be, and always told."""

import pytest

from restow.cloud.model import (
    Allow,
    Among,
    AtMostPer,
    GroupPolicy,
    HostState,
    Licence,
    NearTo,
    SpreadOver,
    TogetherIn,
)
from restow.messages.plan import Action, Outcome
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_group, a_host, a_server
from support.every_order import EveryOrder

PAIR = ("a", "b")


def planned(cloud, goal, **fields):
    plan = plan_for(cloud, parse_request({"goal": goal, **fields}), plan_id="p")
    assert check(cloud, plan) == ()
    return plan


def moved(plan):
    return {step.server: step.target for step in plan.steps if step.server is not None}


def hosts(count, **fields):
    return [a_host(f"h{n}", rack=f"r{n}", **fields) for n in range(count)]


@pytest.mark.parametrize(
    ("groups", "rules", "name"),
    [
        ((a_group("g", GroupPolicy.AFFINITY, PAIR),), (), "affinity g"),
        ((), (TogetherIn(PAIR, "host"),), "together 0"),
        ((), (TogetherIn(PAIR, "rack"),), "together 0"),
        ((), (Licence(PAIR, 1),), "licence 0"),
        ((), (Among(PAIR, (("h0",), ("h1",), ("h2",))),), "among 0"),
    ],
)
def test_servers_that_should_be_together_and_are_not_are_brought_together(groups, rules, name):
    servers = [a_server("a", on="h0"), a_server("b", on="h1"), a_server("c", on="h2")]
    plan = planned(a_cloud(hosts(3), servers, groups=groups, rules=rules), "evacuate", hosts=["h0"])
    assert (plan.outcome, moved(plan)) == (Outcome.PLAN, {"a": "h1"})
    assert f"broken before and mended: {name}" in plan.why


def test_who_cannot_be_brought_to_the_others_goes_where_nothing_is_worse():
    cloud = a_cloud(
        [a_host("h0"), a_host("full", vcpu=1), a_host("h2")],
        [a_server("a", on="h0"), a_server("b", on="full")],
        rules=[TogetherIn(PAIR, "host")],
    )
    plan = planned(cloud, "evacuate", hosts=["h0"])
    assert (plan.outcome, moved(plan)) == (Outcome.PLAN, {"a": "h2"})
    assert "broken before and no worse after: together 0" in plan.why


def test_more_of_them_do_not_come_apart():
    servers = [*(a_server(one, on="h0") for one in "abc"), a_server("d", on="h1"), a_server("x", on="h2", vcpu=16)]
    cloud = a_cloud(hosts(3), servers, rules=[TogetherIn(("a", "b", "c", "d"), "host")])
    plan = planned(cloud, "evacuate", hosts=["h0"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    wanted = frozenset("abc")
    everything = EveryOrder(cloud, wanted, closed=frozenset({"h0"}))
    assert everything.some_order_reaches(lambda places: "h0" not in places) is False


def test_two_broken_rules_that_contradict_each_other_stop_nobody():
    servers = [a_server("a", on="h0"), a_server("b", on="h1"), a_server("c", on="h1")]
    rules = [TogetherIn(("a", "b", "c"), "rack"), AtMostPer(("a", "b", "c"), "rack", 1)]
    plan = planned(a_cloud(hosts(3), servers, rules=rules), "evacuate", hosts=["h0"])
    assert (plan.outcome, moved(plan)) == (Outcome.PLAN, {"a": "h2"})


def test_a_licence_too_many_is_no_reason_to_stay():
    racks = [a_host("h0", rack="r0"), a_host("h1", rack="r1"), a_host("h2", rack="r0")]
    servers = [a_server("a", on="h1"), a_server("b", on="h1"), a_server("c", on="h0")]
    rules = [Licence(("a", "b", "c"), 1, "rack"), Allow(("c",), ("h0", "h2"))]
    plan = planned(a_cloud(racks, servers, rules=rules), "evacuate", hosts=["h0"])
    assert (plan.outcome, moved(plan)) == (Outcome.PLAN, {"c": "h2"})


def test_nobody_comes_to_a_host_that_carries_too_much_even_if_more_leaves_it():
    cloud = a_cloud(
        [a_host("dead", state=HostState.DOWN), a_host("h1", vcpu=8), a_host("h2", vcpu=12)],
        [
            a_server("a", on="dead", vcpu=4),
            a_server("b", on="h1", vcpu=4),
            a_server("c", on="h1", vcpu=4),
            a_server("d", on="h1", vcpu=2),
        ],
        rules=[Licence(PAIR, 1)],
    )
    plan = planned(cloud, "recover", hosts=["dead"])
    assert moved(plan) == {"a": "h1", "c": "h2", "d": "h2"}


# -- spread -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", ["host", "rack"])
def test_servers_that_run_nowhere_are_started_as_far_apart_as_their_spread_asks(over):
    cloud = a_cloud(hosts(4), [a_server(one) for one in PAIR], rules=[SpreadOver(PAIR, over, 2)])
    plan = planned(cloud, "recover", servers=list(PAIR))
    assert len(set(moved(plan).values())) == 2
    assert not plan.blockers


def test_servers_that_died_on_one_host_are_rebuilt_apart():
    dead = a_host("dead", state=HostState.DOWN)
    servers = [a_server(one, on="dead") for one in PAIR]
    plan = planned(a_cloud([dead, *hosts(2)], servers, rules=[SpreadOver(PAIR, "host", 2)]), "recover", hosts=["dead"])
    assert set(moved(plan).values()) == {"h0", "h1"}


def test_a_spread_that_is_too_narrow_may_stay_so_and_is_widened_where_it_can_be():
    servers = [a_server("a", on="h0"), a_server("b", on="h0"), a_server("c", on="h1")]
    rules = [SpreadOver(("a", "b", "c"), "host", 3)]
    plan = planned(a_cloud(hosts(3), servers, rules=rules), "evacuate", hosts=["h1"])
    assert moved(plan) == {"c": "h2"}
    plan = planned(a_cloud(hosts(3), servers, rules=rules), "evacuate", hosts=["h0"])
    assert "h2" in moved(plan).values()


def test_at_the_end_a_rebuilt_server_widens_its_spread_as_it_did_before_it_died():
    cloud = a_cloud(
        [
            a_host("dead", zone="z0", state=HostState.DOWN), a_host("h0", zone="z0", storage=frozenset({"other"})),
            a_host("h1", zone="z1", storage=frozenset({"ceph"})), a_host("h2", zone="z2", storage=frozenset({"ceph"})),
        ],
        [
            a_server("a", on="dead", storage="ceph"), a_server("b", on="h1"),
            a_server("c", on="h2"), a_server("d", on="h2"),
        ],
        rules=[SpreadOver(("a", "b", "c", "d"), "zone", 3)],
    )  # fmt: skip
    plan = planned(cloud, "recover", hosts=["dead"])
    assert plan.outcome is Outcome.PLAN
    assert moved(plan)["a"] in {"h1", "h2"}
    assert "h0" in moved(plan).values()


def test_the_company_that_died_comes_back_to_those_who_wait_for_it():
    cloud = a_cloud(
        [a_host("dead", rack="r0", state=HostState.DOWN), a_host("h0", rack="r0"), a_host("h1", rack="r1", vcpu=2)],
        [a_server("near", on="h0"), a_server("to", on="dead")],
        rules=[NearTo(("near",), ("to",), "rack")],
    )
    assert moved(planned(cloud, "recover", hosts=["dead"])) == {"to": "h0"}


# -- together, dead ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "rules"),
    [
        ((a_group("g", GroupPolicy.AFFINITY, PAIR),), (Allow(PAIR, ("dead", "h2")),)),
        ((a_group("g", GroupPolicy.AFFINITY, PAIR),), (Among(PAIR, (("dead", "h2"), ("h1",))),)),
        ((), (TogetherIn(PAIR, "host"), Allow(("b",), ("h2",)))),
    ],
)
def test_what_died_together_is_rebuilt_together_where_each_of_them_may_be(groups, rules):
    dead = a_host("dead", state=HostState.DOWN)
    servers = [a_server(one, on="dead") for one in PAIR]
    cloud = a_cloud([dead, a_host("h1", vcpu=2), a_host("h2")], servers, groups=groups, rules=rules)
    plan = planned(cloud, "recover", hosts=["dead"])
    assert not plan.blockers
    assert len(set(moved(plan).values())) == 1
    assert all(step.action is Action.EVACUATE for step in plan.steps if step.server)


def test_the_first_of_those_who_belong_together_leaves_room_for_the_others():
    dead = a_host("dead", state=HostState.DOWN)
    several = [a_host(f"tight{n}", vcpu=3) for n in range(200)]
    servers = [a_server(one, on="dead", vcpu=2) for one in "abc"]
    cloud = a_cloud([dead, *several, a_host("wide")], servers, rules=[TogetherIn(("a", "b", "c"), "host")])
    assert set(moved(planned(cloud, "recover", hosts=["dead"])).values()) == {"wide"}


def test_the_dead_host_of_a_group_is_no_home_even_where_the_cloud_still_calls_it_up():
    servers = [a_server(one, on="h0") for one in PAIR]
    plan = planned(a_cloud(hosts(3), servers, rules=[TogetherIn(PAIR, "host")]), "recover", hosts=["h0"])
    assert (plan.outcome, len(set(moved(plan).values()))) == (Outcome.PLAN, 1)


# -- told -------------------------------------------------------------------------------------------------


def test_what_was_broken_is_told_even_where_no_move_comes_near_it():
    servers = [a_server("a", on="h1"), a_server("b", on="h2"), a_server("c", on="h3")]
    cloud = a_cloud(hosts(5), servers, rules=[TogetherIn(PAIR, "host")])
    assert "broken before and no worse after: together 0" in planned(cloud, "evacuate", hosts=["h3"]).why
    assert "broken before and no worse after: together 0" in planned(cloud, "evacuate", hosts=["h4"]).why


@pytest.mark.parametrize(
    ("cloud", "kind"),
    [
        (a_cloud(hosts(2), [a_server("a", on="h0", vcpu=99)]), "capacity"),
        (a_cloud(hosts(2), [a_server("a", on="h0", zone="z9")]), "zone"),
        (a_cloud(hosts(2), [a_server("a", on="h0", requires=frozenset({"T"}))]), "traits"),
        (a_cloud(hosts(2), [a_server("a", on="h0")], rules=[Allow(("a",), ("h1",))]), "allow"),
        (a_cloud(hosts(2), [a_server(o, on="h0") for o in PAIR], rules=[AtMostPer(PAIR, "host", 1)]), "at-most"),
        (a_cloud(hosts(2), [a_server(o, on="h0") for o in PAIR], rules=[SpreadOver(PAIR, "host", 2)]), "spread"),
        (a_cloud(hosts(3), [a_server("a", on="h0"), a_server("b", on="h1")], rules=[Licence(PAIR, 1)]), "licence"),
        (a_cloud(hosts(3), [a_server("a", on="h0"), a_server("b", on="h1")],
                 rules=[NearTo(("a",), ("b",), "host")]), "near"),
    ],
)  # fmt: skip
def test_every_kind_of_broken_rule_is_found(cloud, kind):
    plan = planned(cloud, "evacuate", hosts=[cloud.hosts[-1].name])
    assert f"broken before and no worse after: {kind}" in plan.why or f"broken before and mended: {kind}" in plan.why

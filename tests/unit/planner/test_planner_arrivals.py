"""Which of several hosts takes a server in: real load counts first, then how many come there, then the tightest fit."""

from dataclasses import replace

from restow.cloud.model import HostState, Licence
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.decision import Decision
from restow_planner.partial import without
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_host, a_server


def planned(cloud, goal, **fields):
    plan = plan_for(cloud, parse_request({"goal": goal, **fields}), plan_id="p")
    assert check(cloud, plan) == ()
    return plan


def targets(plan):
    return [step.target for step in plan.steps if step.server is not None]


def test_many_servers_of_a_dead_host_are_spread_over_those_that_are_equally_good():
    dead = a_host("dead", state=HostState.DOWN, vcpu=64)
    others = [a_host(f"h{n}", vcpu=64) for n in range(8)]
    plan = planned(
        a_cloud([dead, *others], [a_server(f"s{n}", on="dead") for n in range(32)]), "recover", hosts=["dead"]
    )
    found = targets(plan)
    assert max(found.count(host) for host in set(found)) == 4
    assert plan.makespan_s < 100


def test_an_empty_host_is_filled_last():
    others = [a_host("empty"), a_host("h1"), a_host("h2")]
    servers = [a_server("x", on="h1"), a_server("y", on="h2"), *(a_server(f"s{n}", on="h0") for n in range(4))]
    assert set(targets(planned(a_cloud([a_host("h0"), *others], servers), "evacuate", hosts=["h0"]))) == {"h1", "h2"}


def test_where_room_is_short_servers_are_packed_tightly():
    others = [a_host("h1", vcpu=4), a_host("h2", vcpu=4)]
    servers = [a_server("big", on="h0", vcpu=4), a_server("s1", on="h0", vcpu=2), a_server("s2", on="h0", vcpu=2)]
    plan = planned(a_cloud([a_host("h0"), *others], servers), "evacuate", hosts=["h0"])
    assert not plan.blockers


def test_a_host_whose_real_cores_are_busy_is_passed_over_while_another_is_free():
    servers = [
        a_server("x", on="h0", vcpu=2, load={"cpu_cores": 2.0}),
        a_server("busy", on="h1", vcpu=8, load={"cpu_cores": 7.5}),
    ]
    assert targets(planned(a_cloud([a_host(f"h{n}") for n in range(3)], servers), "evacuate", hosts=["h0"])) == ["h2"]


def test_a_host_that_comes_to_carry_more_than_it_has_is_told():
    servers = [
        a_server("x", on="h0", vcpu=2, load={"cpu_cores": 2.0}),
        a_server("busy", on="h1", vcpu=8, load={"cpu_cores": 7.5}),
    ]
    plan = planned(a_cloud([a_host("h0"), a_host("h1")], servers), "evacuate", hosts=["h0"])
    assert targets(plan) == ["h1"]
    assert [(one.server, one.rule) for one in plan.blockers] == [(None, "physical cpu_cores")]
    assert "h1 carries 119% of the cpu_cores that it really has" in plan.blockers[0].why


# -- what is left of a plan -------------------------------------------------------------------------------


def test_moves_that_make_room_for_those_who_are_left_out_are_left_out_too():
    servers = [a_server("a", on="h0"), a_server("b", on="h0"), a_server("m", on="h1"), a_server("n", on="h2")]
    cloud = a_cloud([a_host(f"h{n}") for n in range(5)], servers)
    request = parse_request({"goal": "evacuate", "hosts": ["h0"]})
    decision = Decision(
        Outcome.PLAN, targets={"a": "h1", "m": "h3", "b": "h2", "n": "h4"}, why_outcome="all 2 servers find a place"
    )
    part = without(cloud, request, decision, {"a"}, ())
    assert part is not None
    assert part.targets == {"b": "h2", "n": "h4"}
    assert "no safe order of moves was found for a: 1 of 2 are moved" in part.why_outcome
    assert without(cloud, request, decision, {"a", "b"}, ()) is None


def test_moves_of_a_goal_that_has_a_use_for_any_are_all_kept():
    servers = [a_server("a", on="h0"), a_server("m", on="h1")]
    cloud = a_cloud([a_host(f"h{n}") for n in range(4)], servers)
    decision = Decision(Outcome.PLAN, targets={"a": "h2", "m": "h3"}, why_outcome="better")
    part = without(cloud, parse_request({"goal": "rebalance"}), decision, {"a"}, ())
    assert part is not None
    assert part.targets == {"m": "h3"}
    assert part.why_outcome == "better; but 1 of the 2 moves to that are left out: no order of them is safe"


def test_what_is_left_of_a_plan_says_anew_which_rules_it_mends():
    servers = [a_server("a", on="h0"), a_server("b", on="h1"), a_server("c", on="h0")]
    cloud = a_cloud([a_host(f"h{n}") for n in range(3)], servers, rules=[Licence(("a", "b"), 1)])
    whole = planned(cloud, "evacuate", hosts=["h0"])
    assert "mended: licence 0" in whole.why
    decision = Decision(Outcome.PLAN, targets={"a": "h1", "c": "h2"}, of_rules="broken before and mended: licence 0")
    part = without(cloud, whole.request, replace(decision, broken=()), {"a"}, ())
    assert part is not None
    assert "mended" not in part.of_rules

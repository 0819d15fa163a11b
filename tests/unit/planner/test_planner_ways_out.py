"""What is told of servers that find no place: the true reason, and the cheapest way out that would really do."""

from dataclasses import replace

import pytest

from restow.cloud.model import Allow, Ban, GroupPolicy, HostState, Licence, Move, ServerState, SpreadOver, TogetherIn
from restow.errors import BadInputError
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_group, a_host, a_server
from support.every_order import EveryOrder


def planned(cloud, goal, **fields):
    plan = plan_for(cloud, parse_request({"goal": goal, **fields}), plan_id="p")
    assert check(cloud, plan) == ()
    return plan


def blocker(plan, server=None):
    return next(one for one in plan.blockers if server in (None, one.server))


def moved(plan):
    return {step.server: step.target for step in plan.steps if step.server is not None}


def hosts(count, **fields):
    return [a_host(f"h{n}", **fields) for n in range(count)]


# -- relaxations ------------------------------------------------------------------------------------------


def test_two_rules_are_named_together_where_neither_alone_is_enough():
    servers = [a_server("a", on="h0", vcpu=8, requires=frozenset({"SSD"})), a_server("b", on="h1", vcpu=12)]
    cloud = a_cloud([a_host("h0", traits=frozenset({"SSD"})), a_host("h1")], servers)
    told = blocker(planned(cloud, "evacuate", hosts=["h0"]))
    assert told.relaxation.startswith("relax traits and free 4 vcpu on h1")


def test_the_rule_that_gives_a_host_with_room_goes_before_the_one_that_gives_full_ones():
    servers = [a_server("a", on="h0", vcpu=8), *(a_server(f"full{n}", on=f"h{n}", vcpu=16) for n in (1, 2, 3))]
    cloud = a_cloud(hosts(5), servers, rules=[Allow(("a",), ("h0", "h4")), Ban(("a",), ("h4",))])
    told = blocker(planned(cloud, "evacuate", hosts=["h0"]))
    assert told.rule == "allow 0, ban 1"
    assert told.relaxation.startswith("relax ban 1 (then h4 would suit)")


def test_hosts_that_the_request_excludes_are_called_so():
    servers = [a_server("a", on="h0", vcpu=8), a_server("b", on="h1", vcpu=12)]
    told = blocker(planned(a_cloud(hosts(2), servers), "evacuate", hosts=["h0"], exclude_hosts=["h1"]))
    assert told.rule == "exclude_hosts"
    assert told.relaxation.startswith("take h1 off exclude_hosts and free 4 vcpu on h1")


def test_a_disabled_host_is_called_by_its_state():
    cloud = a_cloud([a_host("h0"), a_host("h1", enabled=False)], [a_server("a", on="h0")])
    told = blocker(planned(cloud, "evacuate", hosts=["h0"]))
    assert (told.rule, told.relaxation) == ("host state", "open h1, which is disabled, or add a host")


def test_a_target_that_cannot_be_reached_is_told_with_what_is_lacking():
    servers = [a_server("a", on="h0", vcpu=8), a_server("b", on="h1", vcpu=8), a_server("c", on="h2", vcpu=4)]
    plan = planned(a_cloud(hosts(3, vcpu=8), servers), "reach", targets={"a": "h1", "b": "h0"})
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert "free 4 vcpu on h2" in blocker(plan, "a").relaxation


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        ({"locked": True}, "unlock it"),
        ({"task": "image_snapshot"}, "let its task end"),
        ({"move": Move.NONE}, "allow it to move"),
        ({"state": ServerState.ERROR}, "mend it, or openstack server set --state active a if it runs"),
    ],
)
def test_who_may_not_be_moved_is_told_what_would_free_just_that(fields, way):
    cloud = a_cloud(hosts(2), [a_server("a", on="h0", **fields)])
    assert blocker(planned(cloud, "evacuate", hosts=["h0"])).relaxation == way


# -- pairs ------------------------------------------------------------------------------------------------


def test_a_pair_that_could_not_be_ordered_is_not_called_one_that_failed():
    cloud = a_cloud(hosts(2), [a_server("a", on="h0")])
    for unreachable, avoid, rule, word in (
        ({("a", "h1")}, [], "order", "no safe order of moves was found that brings a to h1"),
        (set(), [{"server": "a", "host": "h1"}], "avoid", "moves of a to h1 are ruled out, as they failed before"),
    ):
        request = parse_request({"goal": "evacuate", "hosts": ["h0"], "avoid": avoid})
        told = decide(cloud, request, deadline=Deadline.after(5), unreachable=frozenset(unreachable)).blockers[0]
        assert (told.rule, told.why) == (rule, word)


def test_who_is_wanted_on_a_host_that_a_later_goal_empties_is_not_sent_there():
    goals = [{"goal": "reach", "targets": {"a": "h1"}}, {"goal": "evacuate", "hosts": ["h1"]}]
    plan = planned(a_cloud(hosts(3), [a_server("a", on="h0"), a_server("b", on="h1")]), "then", goals=goals)
    assert plan.outcome is Outcome.PLAN
    assert set(moved(plan)) == {"b"}
    assert blocker(plan, "a").rule == "reach"


def test_a_first_goal_that_comes_to_nothing_shuts_no_host():
    goals = [{"goal": "evacuate", "hosts": ["h0"], "limits": {"moves": 0}}, {"goal": "evacuate", "hosts": ["h1"]}]
    plan = planned(a_cloud(hosts(3), [a_server("a", on="h0"), a_server("b", on="h1")]), "then", goals=goals)
    assert {step.host for step in plan.steps if step.host} == {"h1"}


def test_a_request_for_another_domain_is_refused():
    with pytest.raises(BadInputError, match="domain"):
        planned(a_cloud(hosts(2), [a_server("a", on="h0")]), "evacuate", hosts=["h0"], domain="elsewhere")


# -- small clouds -----------------------------------------------------------------------------------------


def test_what_no_order_of_moves_does_in_a_small_cloud_is_proven():
    servers = [a_server("a", on="h0", vcpu=8), a_server("b", on="h1", vcpu=6), a_server("c", on="h2", vcpu=10)]
    cloud = a_cloud([a_host("h0", vcpu=16), a_host("h1", vcpu=12), a_host("h2", vcpu=14)], servers)
    plan = planned(cloud, "evacuate", hosts=["h0"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert "of all orders of moves none does better" in blocker(plan, "a").why


def test_a_small_cloud_is_served_through_moves_that_only_an_order_of_all_finds():
    """Their spread lets neither of the two go where the only room for it is, unless the other has gone before."""
    cloud = a_cloud(
        [a_host("h0", rack="r0"), a_host("h1", rack="r1", vcpu=4), a_host("h2", rack="r2"), a_host("h3", rack="r2")],
        [a_server("a", on="h0", vcpu=4), a_server("b", on="h2", vcpu=4), a_server("c", on="h1", vcpu=4)],
        rules=[SpreadOver(("a", "b"), "rack", 2), Allow(("a",), ("h0", "h2", "h3"))],
    )
    plan = planned(cloud, "evacuate", hosts=["h0", "h3"])
    assert plan.outcome is Outcome.PLAN
    assert moved(plan)["a"] == "h2"


def test_contradicting_rules_are_named_as_a_pair_where_one_of_them_is_broken():
    servers = [a_server("a", on="h0"), a_server("b", on="h1"), a_server("c", on="h2")]
    groups = [a_group("g", GroupPolicy.ANTI_AFFINITY, ("a", "b"))]
    cloud = a_cloud(hosts(3), servers, rules=[TogetherIn(("a", "b"), "host")], groups=groups)
    assert "together 0 and anti-affinity g contradict each other" in planned(cloud, "evacuate", hosts=["h2"]).why


# -- tasks on a dead host ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["image_uploading", "image_snapshot_pending", "rebooting_hard", "powering-off"])
def test_a_task_that_dies_with_its_host_hinders_no_rebuilding(task):
    dead = a_host("dead", state=HostState.DOWN, forced_down=True)
    plan = planned(a_cloud([dead, a_host("h1")], [a_server("a", on="dead", task=task)]), "recover", hosts=["dead"])
    assert moved(plan) == {"a": "h1"}


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        ({"task": "migrating"}, "its host died while it was being moved: see whether it runs on the other end"),
        ({"task": "resize_migrated"}, "its host died while it was being moved"),
        ({"task": "verify_resize"}, "its host died while it was being moved"),
        ({"task": "rebuilding"}, "its host died during this task"),
        ({"state": ServerState.PAUSED}, "openstack server set --state active a, and ask again"),
    ],
)
def test_what_nova_does_not_rebuild_is_told_with_the_command_that_helps(fields, way):
    dead = a_host("dead", state=HostState.DOWN, forced_down=True)
    plan = planned(a_cloud([dead, a_host("h1")], [a_server("a", on="dead", **fields)]), "recover", hosts=["dead"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert blocker(plan).relaxation.startswith(way)
    assert "openstack server set --state active a" in blocker(plan).relaxation


# -- what is proven of a plan that serves some ------------------------------------------------------------


def test_a_plan_that_serves_some_says_what_is_proven_of_it():
    two = [a_server("a", on="h0", vcpu=8), a_server("b", on="h0", vcpu=10)]
    fewer = planned(a_cloud([a_host("h0", vcpu=18), a_host("h1")], two), "evacuate", hosts=["h0"])
    assert (fewer.why, fewer.gap) == ("1 of 2 servers find a place: proven, no plan serves more", 0)
    locked = planned(
        a_cloud([a_host("h0", vcpu=18), a_host("h1")], [two[0], replace(two[1], locked=True)]), "evacuate", hosts=["h0"]
    )
    assert (locked.why, locked.gap) == ("1 of 2 servers find a place, the others may not be moved", 0)


def test_how_far_a_plan_that_serves_some_is_from_the_best_is_not_known_without_a_proof():
    servers = [a_server(f"s{n}", on="h0", vcpu=3) for n in range(30)]
    plan = planned(
        a_cloud([a_host("h0", vcpu=99), *hosts(4)[1:]], servers), "evacuate", hosts=["h0"], limits={"moves": 9}
    )
    assert plan.why.startswith("9 of 30 servers find a place")
    assert plan.gap is None


def test_room_that_no_order_of_moves_makes_is_not_taken_for_room():
    """To let `a` in, `b` would have to go where it needs a licence that `a` gives back only when it is there."""
    servers = [
        a_server("a", on="h2", vcpu=4), a_server("b", on="h0", vcpu=2), a_server("c", on="h0", vcpu=4),
        a_server("x", on="h0", vcpu=2),
    ]  # fmt: skip
    cloud = a_cloud(
        [a_host("h0", vcpu=8), a_host("h1"), a_host("h2"), a_host("h3", vcpu=8)],
        servers,
        rules=[Licence(("a", "b", "c"), 2)],
    )
    plan = planned(cloud, "evacuate", hosts=["h2"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    everything = EveryOrder(cloud, frozenset("a"), closed=frozenset({"h2"}))
    assert everything.some_order_reaches(lambda places: "h2" not in places) is False

"""`restow why`: servers that move, stay or cannot be served, hosts, and what waits for an edge or for a limit."""

from typing import Any

import pytest

from restow.cloud.model import Cloud, Move
from restow.errors import BadInputError
from restow.messages.plan import Plan
from restow.messages.request import parse_request
from restow_planner.explain import explain
from restow_planner.plan import plan_for
from support.builders import a_cloud, a_group, a_host, a_server


def planned(cloud: Cloud, **request: Any) -> Plan:
    return plan_for(cloud, parse_request(request), plan_id="p")


def told(plan: Plan, word: str, cloud: Cloud | None = None, *, reverse: bool = False) -> str:
    return "\n".join(explain(plan, word, cloud=cloud, reverse=reverse))


HOT = a_cloud(
    [a_host("h1"), a_host("h2"), a_host("h3")],
    [
        *(a_server(f"id-{n}", name=f"web-{n}", on="h1", load={"cpu_cores": 1.0}) for n in range(6)),
        a_server("id-9", name="db", on="h2", load={"cpu_cores": 1.0}),
    ],
)
EMPTIED = a_cloud(
    [a_host("h1", vcpu=16), a_host("h2", vcpu=16), a_host("h3", vcpu=16)],
    [
        a_server("a", name="n-a", on="h1", vcpu=8),
        a_server("b", name="n-b", on="h2", vcpu=8),
        a_server("c", name="n-c", on="h2", vcpu=4),
        a_server("d", name="n-d", on="h3", vcpu=8),
        a_server("e", name="n-e", on="h3", vcpu=4),
        a_server("f", name="n-f", on="h1", vcpu=4, move=Move.NONE),
    ],
)
EMPTY_H1 = {"goal": "evacuate", "hosts": ["h1"]}


# --- servers that stay -------------------------------------------------------------------------


def test_a_server_that_no_goal_asks_for_is_told_so_and_where_it_could_go() -> None:
    words = told(planned(EMPTIED, **EMPTY_H1), "b", EMPTIED)
    assert words.startswith("n-b (b) stays on h2\n")
    assert "the goal evacuate is about servers of h1: it does not ask for this one" in words
    assert "1 of 2 other hosts suit it and take servers in, and none has room for its 8 vcpu, 1024 memory_mib" in words


def test_a_server_is_found_by_its_name_and_called_by_name_and_id() -> None:
    plan = planned(EMPTIED, **EMPTY_H1)
    assert told(plan, "n-b", EMPTIED) == told(plan, "b", EMPTIED)
    words = told(plan, "n-a", EMPTIED)
    assert "live-migrate n-a (a) h1 → h2" in words
    assert "h2 lacks 4 vcpu until n-c (c) has left it" in words


def test_a_server_that_may_not_move_is_told_the_rule_and_the_way_out() -> None:
    words = told(planned(EMPTIED, **EMPTY_H1), "f", EMPTIED)
    assert "n-f (f) stays on h1" in words
    assert words.count("must not be moved (move: none)") == 1
    assert "[unmovable]; way out: allow it to move" in words
    still = a_cloud([a_host("h1"), a_host("h2")], [a_server("a", on="h1", locked=True)])
    assert "it may not be moved: locked" in told(planned(still, goal="rebalance"), "a", still)


def test_a_pinned_server_is_told_so() -> None:
    plan = planned(HOT, goal="rebalance", pin=["id-9"])
    assert "the request pins it" in told(plan, "db", HOT)
    assert "the request pins it" in told(plan, "id-9")


def test_a_server_that_is_where_it_is_wanted_is_told_so() -> None:
    plan = planned(HOT, goal="reach", targets={"id-9": "h2", "id-0": "h3"})
    assert "the goal reach wants it on h2, where it is already" in told(plan, "db", HOT)
    assert "it stays: is where it is wanted already" in told(plan, "id-9")
    assert "the goal reach names no place for it" in told(plan, "id-1", HOT)


def test_a_server_of_a_host_that_is_not_too_full_is_told_the_shares() -> None:
    words = told(planned(HOT, goal="rebalance"), "db", HOT)
    assert "h2 is at 12% of its cpu_cores before the plan and at 25% after; the mean is 29%" in words
    assert "above 39% is too full: it is not too full, so nobody has to leave it" in words


def test_the_mean_that_a_later_goal_evened_out_by_is_the_one_after_the_goals_before_it() -> None:
    plan = planned(HOT, goal="then", goals=[EMPTY_H1, {"goal": "rebalance"}])
    assert "the mean is 44%" in told(plan, "db", HOT)


def test_of_an_impossible_request_every_server_is_told_that_nobody_moves() -> None:
    hosts = [a_host("h1", vcpu=4), a_host("h2", vcpu=4)]
    full = a_cloud(hosts, [a_server("a", on="h1", vcpu=4), a_server("b", on="h2", vcpu=2)])
    plan = planned(full, **EMPTY_H1)
    assert "nobody moves, as the request is impossible: proven:" in told(plan, "b", full)


def test_a_server_that_its_rules_tie_to_its_place_is_told_them() -> None:
    apart = a_cloud(
        [a_host("h1"), a_host("h2")],
        [a_server("a", on="h1"), a_server("b", on="h2")],
        groups=[a_group("g", "anti-affinity", ["a", "b"])],
    )
    words = told(planned(apart, goal="rebalance"), "a", apart)
    assert "it could go nowhere else as things stand" in words
    assert "its rules with other servers leave it no place" in words


# --- hosts -------------------------------------------------------------------------------------


def test_a_host_is_told_what_leaves_what_arrives_and_how_full_it_is() -> None:
    plan = planned(EMPTIED, **EMPTY_H1)
    words = told(plan, "h2", EMPTIED)
    assert words.startswith("h2 (up, zone az1, rack r1): 2 servers before, 2 after\n")
    assert "leaves: n-c (c) to h3 (s2 live-migrate" in words
    assert "arrives: n-a (a) from h1 (s3 live-migrate" in words
    assert "claims of vcpu: 12 of 16 before, 16 after" in words
    assert "stays: n-b (b)" in words
    emptied = told(plan, "h1", EMPTIED)
    assert "nothing may arrive on it: the goal evacuate empties it" in emptied
    assert "stays: n-f (f), must not be moved (move: none) [unmovable]" in emptied
    assert "s1 disable-host h1" in emptied


def test_a_hot_host_is_told_whether_what_leaves_it_is_enough() -> None:
    assert "it was too full, and what leaves it is enough" in told(planned(HOT, goal="rebalance"), "h1", HOT)
    stuck = planned(HOT, goal="rebalance", pin=[f"id-{n}" for n in range(6)])
    words = told(stuck, "h1", HOT)
    assert "it stays too full" in words
    assert "h1 stays at 75% cpu_cores" in words
    assert "web-0 (id-0), the request pins it" in words


def test_a_host_in_use_after_a_consolidation_is_told_why() -> None:
    servers = [
        a_server("a", name="n-a", on="h1", locked=True),
        a_server("b", on="h2"),
        a_server("c", on="h3", move=Move.COLD),
    ]
    held = a_cloud([a_host("h1"), a_host("h2"), a_host("h3")], servers)
    plan = planned(held, goal="consolidate")
    assert "h1 cannot be freed: n-a (a), locked" in told(plan, "h1", held)
    assert "h3 cannot be freed: c, it would have to be stopped to move" in told(plan, "h3", held)
    assert "it is empty at the end" in told(plan, "h2", held)
    free = planned(HOT, goal="consolidate")
    assert "h1 is not among the hosts that the goal consolidate frees; hosts in use at the end: 1" in told(
        free, "h1", HOT
    )


# --- the plan alone ----------------------------------------------------------------------------


def test_without_a_snapshot_the_answer_says_what_is_missing() -> None:
    plan = planned(EMPTIED, **EMPTY_H1)
    nameless = told(plan, "b")
    assert "the plan does not name b: if it is a server or a host of the cloud, no step touches it" in nameless
    assert "--snapshot FILE" in nameless
    assert "the plan speaks of it: n-f stays: must not be moved" in told(plan, "n-f")
    assert "it cannot be served: n-f stays" in told(plan, "f")
    assert "arrives: a from h1" in told(plan, "h2")
    assert "--snapshot FILE" in told(plan, "h2")


def test_what_a_snapshot_does_not_know_is_refused_with_the_closest_names() -> None:
    with pytest.raises(BadInputError, match=r"n-z.*a server \(id or name\) or a host; the closest: n-"):
        explain(planned(EMPTIED, **EMPTY_H1), "n-z", cloud=EMPTIED)


def test_a_name_that_several_servers_have_is_refused_with_their_ids() -> None:
    twins = a_cloud([a_host("h1")], [a_server("a", name="web", on="h1"), a_server("b", name="web", on="h1")])
    with pytest.raises(BadInputError, match="one of the 2 servers of this name: a, b"):
        explain(planned(twins, goal="rebalance"), "web", cloud=twins)


def test_a_word_that_means_a_step_and_a_server_is_told_as_both() -> None:
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h2"), a_server("x", on="h1")])
    words = told(planned(cloud, **EMPTY_H1), "s1", cloud)
    assert "s1 disable-host h1" in words
    assert "s1 stays on h2" in words


# --- limits ------------------------------------------------------------------------------------


def five_leave(**limits: int) -> Plan:
    hosts = [a_host(f"h{n}") for n in range(7)]
    cloud = a_cloud(hosts, [a_server(f"v{n}", on="h0") for n in range(5)])
    targets = {f"v{n}": f"h{n + 1}" for n in range(5)}
    return planned(cloud, goal="reach", targets=targets, limits=limits)


def test_what_waits_for_a_limit_is_told_the_limit_and_the_steps_that_it_lets_go_first() -> None:
    plan = five_leave(per_host=2)
    third = sorted(plan.steps, key=lambda step: step.start_s)[2]
    first, second = (step for step in plan.steps if step.start_s == 0)
    words = told(plan, third.id)
    assert f"waits for {first.id} live-migrate" in words
    assert f"waits for {second.id} live-migrate" in words
    assert f"limits.per_host is 2, and h0 has 2 under way ({first.id}, {second.id}) until {first.id} ends" in words
    assert "it waits for nothing" not in words
    assert "it waits for nothing" in told(plan, first.id)


def test_waits_for_limits_are_followed_both_ways_to_the_end() -> None:
    plan = five_leave(per_host=1)
    in_order = sorted(plan.steps, key=lambda step: step.start_s)
    assert [line.count("  ") for line in explain(plan, in_order[-1].id)] == [0, 1, 2, 3, 4]
    assert [line.count("  ") for line in explain(plan, in_order[0].id, reverse=True)] == [0, 1, 2, 3, 4]


def test_the_limit_of_the_whole_domain_is_told_and_who_runs_on_is_not_waited_for() -> None:
    cloud = a_cloud(
        [a_host(f"h{n}") for n in range(6)],
        [a_server("long", on="h0", memory_mib=16_384), a_server("short", on="h1"), a_server("third", on="h2")],
    )
    plan = planned(cloud, goal="reach", targets={"long": "h3", "short": "h4", "third": "h5"}, limits={"total": 2})
    by_server = {step.server: step for step in plan.steps}
    held = next(step for step in plan.steps if step.start_s > 0)
    ended = next(step for step in plan.steps if step.end_s == held.start_s)
    words = told(plan, held.id)
    assert "limits.total is 2, and the domain has 2 under way" in words
    assert words.count("waits for") == 1
    assert f"waits for {ended.id} " in words
    assert by_server["long"].end_s > held.start_s or held.server == "long"


def test_what_an_edge_holds_back_until_it_starts_is_not_said_to_wait_for_a_limit() -> None:
    words = told(planned(EMPTIED, **EMPTY_H1, limits={"per_host": 1}), "s3")
    assert "h2 lacks 4 vcpu until c has left it" in words
    assert "limits." not in words


def test_a_step_that_the_schedule_starts_late_for_no_reason_is_told_so() -> None:
    plan = five_leave(per_host=5)
    late = plan.steps[0].model_copy(update={"start_s": 50.0, "end_s": 60.0})
    odd = plan.model_copy(update={"steps": (late, *plan.steps[1:])})
    assert "no other step and no limit holds it back: the schedule has it start at 50 s" in told(odd, late.id)

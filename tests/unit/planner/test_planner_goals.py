"""What each goal comes to: who moves, who stays and why, and an honest word where it cannot be met."""

import pytest

from restow.cloud.model import Allow, AtMostPer, HostState, Move, ServerState, SpreadOver, Survive
from restow.errors import BadInputError
from restow.messages.plan import Action, Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.referee.steps import requests
from restow_planner.rules import all_violations, worse
from support.builders import a_cloud, a_group, a_host, a_server
from support.strategies import random_legal_cloud


def decided(cloud, goal, *, seconds=10.0, unreachable=frozenset(), **fields):
    return decide(
        cloud, parse_request({"goal": goal, **fields}), deadline=Deadline.after(seconds), unreachable=unreachable
    )


def ends(cloud, decision):
    """Where each server stands in the end."""
    return {one.id: decision.targets.get(one.id, one.host) for one in cloud.servers}


def on(cloud, decision, host):
    return sorted(server for server, at in ends(cloud, decision).items() if at == host)


def hosts(count, **fields):
    return [a_host(f"h{n}", **fields) for n in range(count)]


# -- evacuate ---------------------------------------------------------------------------------------------


def test_evacuate_empties_the_host_by_the_cheapest_moves_and_knows_it():
    cloud = a_cloud(hosts(3), [a_server("s0", on="h0"), a_server("s1", on="h0"), a_server("s2", on="h1")])
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert set(decision.targets) == {"s0", "s1"}
    assert set(decision.actions.values()) == {Action.LIVE_MIGRATE}
    assert decision.host_steps_first == ((Action.DISABLE_HOST, "h0"),)
    assert decision.closed == {"h0"}
    assert decision.gap == 0.0


def test_evacuate_makes_room_by_moving_others():
    cloud = a_cloud(
        hosts(3, vcpu=4),
        [
            a_server("big", on="h0", vcpu=4),
            a_server("a", on="h1", vcpu=2),
            a_server("b", on="h2", vcpu=2),
        ],
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert len(decision.targets) == 2
    assert on(cloud, decision, "h0") == []
    assert not decision.blockers


def test_evacuate_of_an_empty_host_is_nothing_to_do():
    assert decided(a_cloud(hosts(2)), "evacuate", hosts=["h0"]).outcome is Outcome.NOTHING_TO_DO


def test_evacuate_moves_what_it_can_and_says_what_blocks_the_rest():
    cloud = a_cloud(
        hosts(2, vcpu=4), [a_server("s0", on="h0"), a_server("lock", on="h0", locked=True), a_server("s1", on="h1")]
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert dict(decision.targets) == {"s0": "h1"}
    assert [(one.server, one.rule) for one in decision.blockers] == [("lock", "unmovable")]
    assert decision.stays["lock"] == "locked"


def test_evacuate_without_room_is_impossible_by_proof_and_says_how_much_is_missing():
    cloud = a_cloud(hosts(2, vcpu=4), [a_server("s0", on="h0", vcpu=4), a_server("s1", on="h1", vcpu=2)])
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert not decision.targets
    assert not decision.host_steps_first
    (blocker,) = decision.blockers
    assert blocker.server == "s0"
    assert "2 vcpu" in blocker.why


def test_what_search_cannot_place_and_counting_cannot_refute_is_settled_by_the_exact_model():
    cloud = a_cloud(
        hosts(4, vcpu=5),
        [a_server("s0", on="h0", vcpu=5)] + [a_server(f"t{n}", on=f"h{n % 3 + 1}", vcpu=3) for n in range(3)],
    )
    assert decided(cloud, "evacuate", hosts=["h0"]).outcome is Outcome.IMPOSSIBLE


def test_a_server_that_no_other_host_suits_is_impossible_and_the_rule_is_named():
    cloud = a_cloud(hosts(3), [a_server("s0", on="h0")], rules=[Allow(("s0",), ("h0",))])
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert decision.blockers[0].rule == "allow 0"
    assert decision.blockers[0].relaxation


def test_a_member_of_an_affinity_group_stays_and_the_blocker_names_the_way_out():
    cloud = a_cloud(
        hosts(2), [a_server("s0", on="h0"), a_server("s1", on="h0")], groups=[a_group("g1", "affinity", ["s0", "s1"])]
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert {one.rule for one in decision.blockers} == {"affinity g1"}
    assert "soft" in decision.blockers[0].relaxation


def test_anti_affinity_holds_and_a_fellow_makes_room():
    cloud = a_cloud(
        hosts(4, vcpu=4),
        [
            a_server("s0", on="h0"),
            a_server("s1", on="h1"),
            a_server("x", on="h2", vcpu=4),
            a_server("y", on="h3", vcpu=3),
        ],
        groups=[a_group("g", "anti-affinity", ["s0", "s1"])],
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert dict(decision.targets) == {"s0": "h3"}


def test_servers_on_a_host_that_is_down_are_for_recover_not_for_evacuate():
    cloud = a_cloud([a_host("h0", state=HostState.DOWN), a_host("h1")], [a_server("s0", on="h0")])
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert "recover" in decision.blockers[0].relaxation


def test_pins_exclusions_pairs_to_avoid_and_unreachable_pairs_are_respected():
    cloud = a_cloud(hosts(5), [a_server("s0", on="h0"), a_server("s1", on="h0")])
    decision = decided(
        cloud,
        "evacuate",
        hosts=["h0"],
        pin=["s1"],
        exclude_hosts=["h1"],
        avoid=[{"server": "s0", "host": "h2"}, {"server": "gone", "host": "h2"}],
        unreachable=frozenset({("s0", "h3")}),
    )
    assert dict(decision.targets) == {"s0": "h4"}
    assert decision.closed == {"h0", "h1"}
    assert decision.pinned == {"s1"}
    assert [(one.server, one.rule) for one in decision.blockers] == [("s1", "pin")]


def test_a_limit_on_moves_cuts_and_says_so():
    cloud = a_cloud(hosts(2), [a_server(f"s{n}", on="h0") for n in range(4)])
    decision = decided(cloud, "evacuate", hosts=["h0"], limits={"moves": 3})
    assert len(decision.targets) == 3
    assert [one.rule for one in decision.blockers] == ["limits.moves"]
    by_memory = decided(cloud, "evacuate", hosts=["h0"], limits={"moved_gib": 2.0})
    assert len(by_memory.targets) == 2
    assert {one.rule for one in by_memory.blockers} == {"limits.moved_gib"}


def test_stopped_and_cold_servers_are_moved_cold():
    cloud = a_cloud(
        hosts(2),
        [a_server("off", on="h0", state=ServerState.STOPPED), a_server("cold", on="h0", move=Move.COLD)],
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert set(decision.actions.values()) == {Action.COLD_MIGRATE}
    assert len(decision.actions) == 2


# -- recover ----------------------------------------------------------------------------------------------


def test_recover_fences_first_and_serves_the_highest_priority_when_room_is_short():
    cloud = a_cloud(
        [a_host("h0", vcpu=8, state=HostState.DOWN), a_host("h1", vcpu=4)],
        [a_server("low", on="h0", vcpu=4, priority=1), a_server("high", on="h0", vcpu=4, priority=9)],
    )
    decision = decided(cloud, "recover", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert dict(decision.targets) == {"high": "h1"}
    assert decision.actions["high"] is Action.EVACUATE
    assert decision.host_steps_first == ((Action.DISABLE_HOST, "h0"), (Action.FENCE, "h0"))
    assert [one.server for one in decision.blockers] == ["low"]
    assert decision.after["servers_without_host"] == 1


def test_recover_moves_living_servers_out_of_the_way_but_never_takes_their_place():
    cloud = a_cloud(
        [a_host("h0", vcpu=4, state=HostState.DOWN), a_host("h1", vcpu=4), a_host("h2", vcpu=4)],
        [
            a_server("dead", on="h0", vcpu=4, priority=9),
            a_server("a", on="h1", vcpu=2),
            a_server("b", on="h2", vcpu=2),
        ],
    )
    decision = decided(cloud, "recover", hosts=["h0"])
    assert decision.outcome is Outcome.PLAN
    assert len(decision.targets) == 2
    assert sorted(decision.actions.values()) == [Action.EVACUATE, Action.LIVE_MIGRATE]
    full = a_cloud(cloud.hosts, [*cloud.servers, a_server("c", on="h2", vcpu=1)])
    refused = decided(full, "recover", hosts=["h0"])
    assert refused.outcome is Outcome.IMPOSSIBLE
    assert not refused.targets


def test_a_rebuilt_server_keeps_a_spread_with_those_that_run_not_with_those_that_are_dead():
    cloud = a_cloud(
        [a_host("h0", vcpu=4, state=HostState.DOWN), a_host("h1", vcpu=8), a_host("h2", vcpu=4), a_host("h3", vcpu=16)],
        [
            a_server("dead", on="h0", vcpu=2),
            a_server("stuck", on="h0", locked=True),
            a_server("a", on="h1"),
            a_server("b", on="h2"),
        ],
        rules=[SpreadOver(("dead", "stuck", "a", "b"), "host", 3)],
    )
    decision = decided(cloud, "recover", hosts=["h0"])
    assert dict(decision.targets) == {"dead": "h3"}


def test_priority_tells_the_order_in_which_servers_are_served():
    cloud = a_cloud(
        [a_host("h0", state=HostState.DOWN), a_host("h1")], [a_server(f"s{n}", on="h0", priority=n) for n in range(4)]
    )
    assert decided(cloud, "recover", hosts=["h0"]).priority == ("s3", "s2", "s1", "s0")


# -- rebalance --------------------------------------------------------------------------------------------


def loaded(id, host, cores):
    return a_server(id, on=host, load={"cpu_cores": cores})


def test_rebalance_relieves_the_hot_host_by_few_moves_and_lowers_the_peak():
    cloud = a_cloud(hosts(3), [loaded(f"s{n}", "h0", 1.0) for n in range(6)] + [loaded("t", "h1", 1.0)])
    decision = decided(cloud, "rebalance", threshold=0.1)
    assert decision.outcome is Outcome.PLAN
    assert decision.after["peak_cpu"] < decision.before["peak_cpu"]
    assert decision.after["spread_cpu"] < decision.before["spread_cpu"]
    assert 2 <= len(decision.targets) <= 3


def test_a_balanced_cloud_moves_nothing():
    cloud = a_cloud(hosts(3), [loaded(f"s{n}", f"h{n % 3}", 1.0) for n in range(9)])
    decision = decided(cloud, "rebalance", threshold=0.0)
    assert decision.outcome is Outcome.NOTHING_TO_DO
    assert not decision.targets


def test_rebalance_swaps_where_no_single_move_fits():
    cloud = a_cloud(
        hosts(2, vcpu=2),
        [loaded("hot1", "h0", 3.0), loaded("hot2", "h0", 3.0), loaded("cold1", "h1", 0.5), loaded("cold2", "h1", 0.5)],
    )
    decision = decided(cloud, "rebalance", threshold=0.1)
    assert decision.outcome is Outcome.PLAN
    assert len(decision.targets) == 2


def test_one_giant_that_cannot_be_shared_is_left_where_it_is():
    cloud = a_cloud(hosts(2), [loaded("giant", "h0", 7.0)])
    decision = decided(cloud, "rebalance", threshold=0.1)
    assert not decision.targets
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert "proven" in decision.why_outcome


def test_rebalance_of_claims_and_of_an_unmeasured_load():
    cloud = a_cloud(hosts(2), [a_server(f"s{n}", on="h0", vcpu=2, load={}) for n in range(6)])
    by_claims = decided(cloud, "rebalance", resources=["vcpu"], threshold=0.05)
    by_load = decided(cloud, "rebalance", threshold=0.05)
    for decision in (by_claims, by_load):
        assert decision.outcome is Outcome.PLAN
        assert len(decision.targets) == 3
    assert any("measured nowhere" in one for one in by_load.not_modelled)


# -- consolidate ------------------------------------------------------------------------------------------


def test_consolidate_frees_as_many_hosts_as_the_bound_allows():
    cloud = a_cloud(hosts(6, vcpu=8), [a_server(f"s{n}", on=f"h{n % 6}", vcpu=2) for n in range(12)])
    decision = decided(cloud, "consolidate", max_utilisation=1.0, power_off=True)
    assert decision.outcome is Outcome.PLAN
    assert decision.objective == decision.bound == 3
    assert decision.after["hosts_used"] == 3
    freed = {host for action, host in decision.host_steps_first if action is Action.DISABLE_HOST}
    assert len(freed) == 3
    assert freed <= decision.closed
    assert {host for action, host in decision.host_steps_last if action is Action.POWER_OFF} == freed
    assert all(not on(cloud, decision, host) for host in freed)


def test_consolidate_keeps_to_the_utilisation_allowed():
    cloud = a_cloud(hosts(4, vcpu=8), [a_server(f"s{n}", on=f"h{n % 4}", vcpu=2) for n in range(8)])
    decision = decided(cloud, "consolidate", max_utilisation=0.75)
    assert decision.after["hosts_used"] == 3
    assert decision.after["peak_vcpu"] <= 0.75


def test_consolidate_of_a_full_cloud_is_nothing_to_do_and_proven():
    cloud = a_cloud(hosts(2, vcpu=4), [a_server(f"s{n}", on=f"h{n % 2}", vcpu=2) for n in range(4)])
    decision = decided(cloud, "consolidate", max_utilisation=1.0)
    assert decision.outcome is Outcome.NOTHING_TO_DO
    assert decision.gap == 0.0


def test_a_plan_that_would_lose_the_spare_room_says_so():
    cloud = a_cloud(
        hosts(3, vcpu=4),
        [a_server("a", on="h0", vcpu=2), a_server("b", on="h1", vcpu=2), a_server("c", on="h2", vcpu=2)],
        rules=[Survive(1, "host")],
    )
    decision = decided(cloud, "consolidate", max_utilisation=1.0)
    assert {one.rule for one in decision.blockers} == {"survive 0"}


# -- defragment -------------------------------------------------------------------------------------------


def test_defragment_makes_slots_of_the_shape():
    cloud = a_cloud(hosts(4, vcpu=8), [a_server(f"s{n}", on=f"h{n}", vcpu=4) for n in range(4)])
    decision = decided(cloud, "defragment", shape={"vcpu": 8}, count=2)
    assert decision.outcome is Outcome.PLAN
    assert sum(not on(cloud, decision, f"h{n}") for n in range(4)) == 2
    assert len(decision.targets) == 2
    assert decision.gap == 0.0


def test_defragment_knows_when_there_is_enough_and_when_there_never_will_be():
    cloud = a_cloud(hosts(2, vcpu=8), [a_server("s0", on="h0", vcpu=4), a_server("s1", on="h1", vcpu=8)])
    assert decided(cloud, "defragment", shape={"vcpu": 4}, count=1).outcome is Outcome.NOTHING_TO_DO
    decision = decided(cloud, "defragment", shape={"vcpu": 8}, count=1)
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert decision.blockers[0].rule == "defragment"


def test_defragment_has_the_most_slots_that_the_moves_allowed_can_give_and_proves_it():
    """By counting, three slots could be had: two moves give no more than two."""
    servers = [a_server(f"s{n}", on=f"h{n}", vcpu=5 if n < 2 else 3) for n in range(6)]
    cloud = a_cloud(hosts(6, vcpu=8), servers)
    decision = decided(cloud, "defragment", shape={"vcpu": 8}, count=6, limits={"moves": 2})
    assert decision.outcome is Outcome.PLAN
    assert (decision.objective, decision.bound, decision.gap) == (-2.0, -2.0, 0.0)
    assert len(decision.targets) == 2


def test_defragment_keeps_servers_apart_and_counts_in_its_bound_what_they_could_have_given():
    cloud = a_cloud(
        hosts(3, vcpu=8),
        [a_server(f"s{n}", on=f"h{n}", vcpu=2) for n in range(3)],
        groups=[a_group("g", "anti-affinity", ["s0", "s1"])],
    )
    decision = decided(cloud, "defragment", shape={"vcpu": 8}, count=2)
    assert len(decision.targets) == 1
    assert (decision.objective, decision.bound) == (-1.0, -2.0)


# -- reach ------------------------------------------------------------------------------------------------


def test_reach_takes_the_targets_and_starts_and_shelves():
    cloud = a_cloud(
        hosts(2, vcpu=4),
        [a_server("s0", on="h0", vcpu=4), a_server("s1", on="h1", vcpu=4), a_server("new", vcpu=4)],
    )
    decision = decided(cloud, "reach", targets={"s0": "h1", "s1": None, "new": "h0"})
    assert dict(decision.targets) == {"s0": "h1", "s1": None, "new": "h0"}
    assert dict(decision.actions) == {"s0": Action.LIVE_MIGRATE, "s1": Action.SHELVE, "new": Action.START}


def test_reach_of_a_forbidden_target_is_impossible_and_names_server_host_and_rule():
    cloud = a_cloud(hosts(2, vcpu=4), [a_server("s0", on="h0", vcpu=4), a_server("s1", on="h1", vcpu=4)])
    decision = decided(cloud, "reach", targets={"s0": "h1"})
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert not decision.targets
    assert decision.blockers[0].rule == "capacity vcpu"
    assert "h1" in decision.blockers[0].why


def test_reach_of_what_is_already_there_is_nothing_to_do():
    cloud = a_cloud(hosts(2), [a_server("s0", on="h0")])
    decision = decided(cloud, "reach", targets={"s0": "h0"})
    assert decision.outcome is Outcome.NOTHING_TO_DO
    assert "s0" in decision.stays


def test_reach_may_start_from_a_broken_cloud_if_it_makes_nothing_worse():
    cloud = a_cloud(
        hosts(2, vcpu=4), [a_server("s0", on="h0", vcpu=3), a_server("s1", on="h0", vcpu=3), a_server("s2", on="h0")]
    )
    assert decided(cloud, "reach", targets={"s0": "h1"}).outcome is Outcome.PLAN


def test_reach_leaves_out_a_pair_that_failed_and_goes_on_with_the_rest():
    cloud = a_cloud(hosts(3), [a_server("s0", on="h0"), a_server("s1", on="h0")])
    decision = decided(cloud, "reach", targets={"s0": "h1", "s1": "h1"}, avoid=[{"server": "s0", "host": "h1"}])
    assert dict(decision.targets) == {"s1": "h1"}
    assert [one.rule for one in decision.blockers] == ["avoid"]


# -- then -------------------------------------------------------------------------------------------------


def test_evacuate_then_rebalance_meets_both_and_nothing_returns():
    cloud = a_cloud(
        hosts(4), [loaded(f"s{n}", "h0", 0.5) for n in range(4)] + [loaded(f"t{n}", "h1", 1.0) for n in range(6)]
    )
    decision = decided(
        cloud, "then", goals=[{"goal": "evacuate", "hosts": ["h0"]}, {"goal": "rebalance", "threshold": 0.05}]
    )
    assert decision.outcome is Outcome.PLAN
    assert on(cloud, decision, "h0") == []
    assert decision.after["peak_cpu"] < decision.before["peak_cpu"]
    assert "h0" in decision.closed


def test_what_an_operator_placed_is_not_moved_by_a_later_goal():
    cloud = a_cloud(hosts(3), [a_server("s0", on="h0"), a_server("s1", on="h1")])
    decision = decided(
        cloud,
        "then",
        goals=[{"goal": "reach", "targets": {"s0": "h2"}}, {"goal": "consolidate", "max_utilisation": 1.0}],
    )
    assert dict(decision.targets) == {"s0": "h2", "s1": "h2"}


# -- all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "field", "close"),
    [
        ({"goal": "evacuate", "hosts": ["host-01"]}, "hosts.0", "host-1"),
        ({"goal": "evacuate", "hosts": ["host-1"], "pin": ["web"]}, "pin.0", "web-1"),
        ({"goal": "rebalance", "resources": ["cpu_core"]}, "resources.0", "cpu_cores"),
        ({"goal": "defragment", "shape": {"vcpus": 4}}, "shape.0", "vcpu"),
        ({"goal": "then", "goals": [{"goal": "recover", "hosts": ["host-x"]}]}, "goals.0.hosts.0", "host-1"),
        ({"goal": "reach", "targets": {"web-1": "host-9"}}, "targets.0", "host-1"),
    ],
)
def test_unknown_names_are_refused_with_the_field_and_close_names(request_, field, close):
    cloud = a_cloud([a_host("host-1"), a_host("host-2")], [a_server("web-1", on="host-1")])
    with pytest.raises(BadInputError) as caught:
        decide(cloud, parse_request(request_), deadline=Deadline.after(1.0))
    (error,) = caught.value.errors
    assert error.field == field
    assert close in error.expected


GOALS = (
    {"goal": "evacuate", "hosts": ["h0"]},
    {"goal": "recover", "hosts": ["h1"]},
    {"goal": "rebalance", "threshold": 0.05},
    {"goal": "rebalance", "resources": ["vcpu", "memory_mib"], "threshold": 0.0},
    {"goal": "consolidate", "max_utilisation": 1.0},
    {"goal": "defragment", "shape": {"vcpu": 8, "memory_mib": 8192}, "count": 5},
    {"goal": "then", "goals": [{"goal": "recover", "hosts": ["h0"]}, {"goal": "rebalance"}, {"goal": "consolidate"}]},
)


def on_failed_hosts(cloud, request):
    """The servers of the hosts that are to be recovered."""
    asked = [one for one in requests(request) if one.goal == "recover"]
    return {one.id for r in asked for name in r.hosts for one in cloud.servers_on[name]}


@pytest.mark.parametrize("fields", GOALS, ids=lambda fields: fields["goal"])
def test_no_goal_ever_makes_a_rule_worse(fields):
    for seed in range(40):
        cloud = random_legal_cloud(seed)
        decision = decide(cloud, parse_request(fields), deadline=Deadline.after(2.0))
        start = {one.id: () if one.host is None else (one.host,) for one in cloud.servers}
        end = {**start, **{one: () if host is None else (host,) for one, host in decision.targets.items()}}
        found = worse(all_violations(cloud, start), all_violations(cloud, end))
        dead = on_failed_hosts(cloud, parse_request(fields))
        if dead:  # whom a death leaves apart from others, no plan has; and who stays dead is no company
            living = {one: () if one in dead else hosts for one, hosts in start.items()}
            before = all_violations(cloud, start) + all_violations(cloud, living)
            found = tuple(
                one for one in found if one.rule.split(" ")[0] not in ("near", "together", "among", "affinity")
            )
            found += worse(before, all_violations(cloud, end | dict.fromkeys(dead - set(decision.targets), ())))
        assert not found, seed
        assert "would break a rule" not in decision.why_outcome, seed
        assert not decision.closed & set(decision.targets.values())
        assert set(decision.targets) == set(decision.actions) == set(decision.why) == set(decision.priority)


def test_the_same_question_has_the_same_answer():
    for seed in range(10):
        cloud = random_legal_cloud(seed)
        for fields in GOALS:
            request = parse_request(fields)
            first, second = (decide(cloud, request, deadline=Deadline.after(60.0)) for _ in range(2))
            assert first == second, (seed, fields)


def test_at_most_per_rack_counts_for_making_room():
    cloud = a_cloud(
        [a_host(f"h{n}", rack=f"r{n // 2}") for n in range(4)],
        [a_server("s0", on="h0"), a_server("s1", on="h2")],
        rules=[AtMostPer(("s0", "s1"), "rack", 1)],
    )
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert dict(decision.targets) == {"s0": "h1"}

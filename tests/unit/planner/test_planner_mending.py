"""Hosts that carry more than they have: mended by the fewest moves, or told why not; and servers that run nowhere."""

from collections import Counter
from dataclasses import replace
from itertools import combinations, product
from random import Random

import numpy as np
import pytest

from restow.cloud.model import Allow, Among, Cloud, HostState, Move
from restow.errors import BadInputError
from restow.messages.plan import Action, Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import Decision, decide
from restow_planner.plan import plan_for
from restow_planner.referee import check
from restow_planner.rules import all_violations, worse
from restow_planner.rules.affected import affected
from restow_planner.solvers.eviction import evictions
from support.builders import a_cloud, a_group, a_host, a_server
from support.strategies import random_legal_cloud

MEND_ONLY = {"goal": "rebalance", "resources": ["vcpu", "memory_mib"], "threshold": 1.0}


def mended(cloud: Cloud, *, seconds: float = 10.0, **fields) -> Decision:
    return decide(cloud, parse_request({**MEND_ONLY, **fields}), deadline=Deadline.after(seconds))


def hosts(count, **fields):
    return [a_host(f"h{n}", **fields) for n in range(count)]


def with_hosts(cloud: Cloud, targets) -> dict:
    return {one.id: () if (host := targets.get(one.id, one.host)) is None else (host,) for one in cloud.servers}


def overfull(cloud: Cloud, targets) -> set[str]:
    """Hosts on which more vcpu or memory is claimed than capacity and reserves leave."""
    found = all_violations(cloud, with_hosts(cloud, targets))
    capacity = {one.subject for one in found if one.rule in ("capacity vcpu", "capacity memory_mib")}
    return capacity | {one.subject.split(" ")[0] for one in found if one.rule.startswith("reserve")}


# -- mended by the fewest moves ---------------------------------------------------------------------------


def test_one_large_server_leaves_rather_than_two_small_ones():
    servers = [a_server(f"s{size}", on="h0", vcpu=size) for size in (2, 3, 5, 9)]
    decision = mended(a_cloud(hosts(2), servers))
    assert list(decision.targets) == ["s3"], "3 vcpu are too much: the smallest that is enough goes"
    assert decision.objective == decision.bound == 1.0
    assert "the fewest there can be" in decision.why_outcome


def test_a_host_that_is_full_but_not_too_full_gives_nothing():
    cloud = a_cloud(hosts(2), [a_server("s0", on="h0", vcpu=16)])
    assert mended(cloud).outcome is Outcome.NOTHING_TO_DO


def test_what_is_too_much_is_mended_though_the_threshold_alone_would_leave_it():
    servers = [a_server(f"s{n}", on="h0", vcpu=6) for n in range(3)] + [a_server("t0", on="h1", vcpu=10)]
    decision = mended(a_cloud(hosts(2), servers), threshold=0.5)
    assert len(decision.targets) == 1


def test_only_what_the_request_names_is_mended():
    cloud = a_cloud(hosts(2), [a_server(f"s{n}", on="h0", memory_mib=20_000) for n in range(2)])
    unasked = mended(cloud, resources=["vcpu"])
    assert unasked.outcome is Outcome.NOTHING_TO_DO
    assert "no host is more than" in unasked.why_outcome
    assert len(mended(cloud).targets) == 1


@pytest.mark.parametrize("seconds", [1.0, 10.0], ids=["by a chain", "with time for CP-SAT"])
def test_another_makes_room_where_that_is_the_only_way(seconds):
    """s0 fits on no other host until t0 has left h1 for h2."""
    servers = [
        a_server("s0", on="h0", vcpu=10), a_server("s1", on="h0", vcpu=10, locked=True),
        a_server("t0", on="h1", vcpu=4), a_server("t1", on="h1", vcpu=6, locked=True),
        a_server("u0", on="h2", vcpu=9, locked=True),
    ]  # fmt: skip
    decision = mended(a_cloud(hosts(3), servers), seconds=seconds)
    assert decision.targets == {"s0": "h1", "t0": "h2"}


@pytest.mark.parametrize("batch", range(4))
def test_tiny_random_clouds_are_mended_by_as_few_moves_as_exhaustive_search_finds(batch):
    mended_clouds = 0
    for seed in range(batch, 120, 4):
        cloud = overloaded(seed, hosts=(3, 3), servers=(4, 6))
        best = fewest_by_trying_all(cloud)
        decision = mended(cloud)
        told = f"seed {seed}: {decision.why_outcome}"
        if best is None:
            assert decision.outcome is Outcome.NOTHING_TO_DO, told
            continue
        left, moves = best
        assert len(overfull(cloud, decision.targets)) == left, told
        if left == 0:
            assert len(decision.targets) == decision.bound == moves, told
            mended_clouds += 1
    assert mended_clouds > 1, "the clouds of this batch prove nothing"


def overloaded(seed: int, *, hosts: tuple[int, int], servers: tuple[int, int]) -> Cloud:
    """A random legal cloud whose servers have grown so that some hosts carry too much."""
    cloud, random = random_legal_cloud(seed, hosts=hosts, servers=servers), Random(seed)
    grown = {
        one.id: {**one.demand, "vcpu": one.demand["vcpu"] * random.choice((1, 1, 2, 4, 6))} for one in cloud.servers
    }
    return replace(cloud, servers=tuple(replace(one, demand=grown[one.id]) for one in cloud.servers))


def parted(cloud: Cloud, targets: dict[str, str]) -> bool:
    """Whether some who stand together would have to leave each other, as servers move one by one."""
    home = with_hosts(cloud, {})
    both = {one: tuple(dict.fromkeys((*home[one], *ends))) for one, ends in with_hosts(cloud, targets).items()}
    found = worse(all_violations(cloud, home), all_violations(cloud, both))
    return any(one.rule.split(" ")[0] in ("affinity", "together", "among", "licence") for one in found)


def fewest_by_trying_all(cloud: Cloud) -> tuple[int, int] | None:
    """Hosts that stay overfull at best, and the moves that takes; None: no host that runs is overfull."""
    down = {host.name for host in cloud.hosts if host.state is HostState.DOWN or host.forced_down}
    before = all_violations(cloud, with_hosts(cloud, {}))
    if not overfull(cloud, {}) - down:
        return None
    movable = [
        one for one in cloud.servers if one.host not in down and (one.move is Move.LIVE or one.state == "stopped")
    ]
    best: tuple[int, int] | None = None
    for ends in product([host.name for host in cloud.hosts], repeat=len(movable)):
        targets = dict(zip((one.id for one in movable), ends, strict=True))
        moves = sum(one.host != targets[one.id] for one in movable)
        found = (len(overfull(cloud, targets)), moves)
        better = best is None or found < best
        if (
            better
            and not worse(before, all_violations(cloud, with_hosts(cloud, targets)))
            and not parted(cloud, targets)
        ):
            best = found
    return best


# -- rules kept, nothing worse ----------------------------------------------------------------------------


def test_plans_that_mend_random_clouds_keep_every_rule_and_make_no_host_worse():
    outcomes: Counter[Outcome] = Counter()
    for seed in range(40):
        cloud = overloaded(seed + 1000, hosts=(3, 8), servers=(10, 40))
        plan = plan_for(cloud, parse_request(MEND_ONLY), plan_id=f"mend-{seed}", seconds=5)
        assert check(cloud, plan) == (), f"seed {seed}"
        outcomes[plan.outcome] += 1
        assert plan.after["hosts_over_capacity"] <= plan.before["hosts_over_capacity"], f"seed {seed}"
        if plan.outcome in (Outcome.IMPOSSIBLE, Outcome.UNDECIDED):
            assert plan.blockers, f"seed {seed}"
            assert all(one.why and one.relaxation for one in plan.blockers), f"seed {seed}"
    assert outcomes[Outcome.PLAN] > 10


def test_members_of_a_group_that_must_leave_do_not_meet():
    servers = [a_server(f"a{n}", on=f"h{n}", vcpu=12) for n in range(2)]
    servers += [a_server(f"b{n}", on=f"h{n}", vcpu=6, locked=True) for n in range(2)]
    group = a_group("g", "anti-affinity", ["a0", "a1"])
    tight, roomy = a_host("h2", vcpu=32), a_host("h3", vcpu=64)  # both would go to the tight one, which has room
    decision = mended(a_cloud([*hosts(2), tight, roomy], servers, groups=[group]))
    assert sorted(decision.targets.values()) == ["h2", "h3"]


def test_the_part_of_a_cloud_that_moves_affect_shows_the_same_damage_as_the_whole():
    damaged = 0
    for seed in range(80):
        cloud, random = random_legal_cloud(seed), Random(seed)
        moved = {
            one.id: (random.choice(cloud.hosts).name,)
            for one in random.sample(cloud.servers, min(3, len(cloud.servers)))
        }
        small = affected(cloud, moved)
        home, part = with_hosts(cloud, {}), with_hosts(small, {})
        whole = worse(all_violations(cloud, home), all_violations(cloud, home | moved))
        assert worse(all_violations(small, part), all_violations(small, part | moved)) == whole, f"seed {seed}"
        damaged += bool(whole)
    assert damaged > 20


def test_a_rule_whose_many_servers_move_is_proven_kept_and_a_broken_one_is_found():
    """Of 14 servers that move there are millions of states: no need to look at each."""
    servers = [a_server(f"s{n}", on=f"h{n}", vcpu=9) for n in range(14)]
    servers += [a_server(f"t{n}", on=f"h{n}", vcpu=8, locked=True) for n in range(14)]
    near, far = hosts(28), a_host("far")
    rule = Among(tuple(f"s{n}" for n in range(14)), (tuple(host.name for host in near), ("far",)))
    cloud = a_cloud([*near, far], servers, rules=[rule])
    plan = plan_for(cloud, parse_request(MEND_ONLY), plan_id="p", seconds=5)
    assert len(plan.steps) == 14
    assert check(cloud, plan) == ()
    astray = plan.steps[0].model_copy(update={"target": "far"})
    broken = plan.model_copy(update={"steps": (astray,)})
    assert "among 0" in {finding.why.split(":")[0] for finding in check(cloud, broken) if finding.kind == "rule"}


# -- what cannot be mended --------------------------------------------------------------------------------


def test_a_host_whose_servers_may_not_move_is_named_with_them_and_with_a_way_out():
    cloud = a_cloud(hosts(2), [a_server(f"s{n}", on="h0", vcpu=9, locked=True) for n in range(2)])
    decision = mended(cloud)
    assert decision.outcome is Outcome.IMPOSSIBLE
    (blocker,) = decision.blockers
    assert blocker.rule == "capacity vcpu"
    assert "h0 carries 2 vcpu more than it may" in blocker.why
    assert "s0: locked" in blocker.why
    assert "give h0 2 vcpu more" in blocker.relaxation


def test_a_server_that_no_other_host_suits_is_named_with_its_rule():
    cloud = a_cloud(
        hosts(2), [a_server(f"s{n}", on="h0", vcpu=9) for n in range(2)], rules=[Allow(("s0", "s1"), ("h0",))]
    )
    decision = mended(cloud)
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert decision.blockers[0].server == "s0"
    assert decision.blockers[0].rule == "allow 0"


def test_what_cannot_be_mended_is_at_least_relieved_and_told():
    servers = [a_server("small", on="h0", vcpu=2), a_server("large", on="h0", vcpu=17, locked=True)]
    decision = mended(a_cloud(hosts(2), servers))
    assert decision.targets == {"small": "h1"}
    assert decision.objective is None
    assert decision.blockers


def test_too_few_moves_allowed_mends_what_they_are_enough_for_and_names_the_limit():
    servers = [a_server(f"s{host}{n}", on=f"h{host}", vcpu=9) for host in range(2) for n in range(2)]
    decision = mended(a_cloud(hosts(4), servers), limits={"moves": 1})
    assert len(decision.targets) == 1
    assert [one.rule for one in decision.blockers] == ["limits.moves"]


def test_a_host_that_is_down_is_not_mended_by_migrations():
    down = a_host("h0", state=HostState.DOWN)
    cloud = a_cloud([down, a_host("h1")], [a_server(f"s{n}", on="h0", vcpu=9) for n in range(2)])
    assert mended(cloud).outcome is Outcome.NOTHING_TO_DO


# -- the knapsack of one host -----------------------------------------------------------------------------


def test_evictions_are_the_fewest_and_the_cheapest_that_trying_all_finds():
    for seed in range(60):
        dice = np.random.default_rng(seed)
        count = int(dice.integers(1, 8))
        demand = dice.integers(0, 9, size=(count, 2))
        need, cost = dice.integers(0, 12, size=2), dice.integers(1, 5, size=count).astype(float)
        need[0] += 1
        size = demand.sum(axis=1).astype(float)
        enough = [
            one
            for length in range(count + 1)
            for one in combinations(range(count), length)
            if (demand[list(one)].sum(axis=0) >= need).all()
        ]
        found = evictions(demand, need, cost, size)
        if not enough:
            assert found is None, f"seed {seed}"
            continue
        assert found is not None
        assert found.fewest == len(enough[0]) == len(found.sets[0]), f"seed {seed}"
        cheapest = min(cost[list(one)].sum() for one in enough if len(one) == found.fewest)
        assert cost[list(found.sets[0])].sum() == cheapest, f"seed {seed}"


def test_the_fewest_is_a_bound_even_where_the_search_is_cut_short():
    dice = np.random.default_rng(1)
    demand = dice.integers(1, 100, size=(60, 3))
    need = demand.sum(axis=0) // 4
    ones = np.ones(60)
    found = evictions(demand, need, ones, ones)
    assert found is not None
    assert all((demand[list(one)].sum(axis=0) >= need).all() for one in found.sets)
    assert found.fewest <= min(len(one) for one in found.sets)


# -- servers that run nowhere -----------------------------------------------------------------------------


def test_recover_starts_named_servers_that_run_nowhere_and_no_others():
    cloud = a_cloud(hosts(2), [a_server("lost"), a_server("unasked"), a_server("runs", on="h0")])
    request = parse_request({"goal": "recover", "servers": ["lost", "runs"]})
    plan = plan_for(cloud, request, plan_id="p", seconds=5)
    assert [(step.action, step.server) for step in plan.steps] == [(Action.START, "lost")]
    assert plan.stays["runs"] == "is on a host"
    assert check(cloud, plan) == ()


def test_a_named_server_that_finds_no_place_is_a_blocker_and_the_referee_wants_one():
    cloud = a_cloud(hosts(1), [a_server("lost", vcpu=17), a_server("small", vcpu=2)])
    request = parse_request({"goal": "recover", "servers": ["lost", "small"]})
    plan = plan_for(cloud, request, plan_id="p", seconds=5)
    assert [one.server for one in plan.blockers] == ["lost"]
    silent = plan.model_copy(update={"blockers": ()})
    assert [finding.kind for finding in check(cloud, silent)] == ["goal"]


def test_recover_wants_a_host_or_a_server():
    with pytest.raises(BadInputError, match="at least one failed host"):
        parse_request({"goal": "recover"})


def test_servers_that_stand_together_are_started_in_one_of_their_sets():
    """The largest fits best on h1; then h3, though roomier, is closed to the other."""
    servers = [a_server("a", vcpu=8), a_server("b", vcpu=7), a_server("c", on="h1", vcpu=8)]
    rule = Among(("a", "b"), (("h0", "h1"), ("h2", "h3")))
    cloud = a_cloud([a_host("h0"), a_host("h1"), a_host("h2"), a_host("h3", vcpu=7)], servers, rules=[rule])
    plan = plan_for(cloud, parse_request({"goal": "recover", "servers": ["a", "b"]}), plan_id="p", seconds=5)
    ends = {step.target for step in plan.steps}
    assert ends <= {"h0", "h1"} or ends <= {"h2", "h3"}
    assert len(plan.steps) == 2

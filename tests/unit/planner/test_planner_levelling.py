"""Where moves one by one leave hosts too full, a placement is searched, taken if better, and made again the same."""

from collections import Counter
from math import ceil
from random import Random

import numpy as np
import pytest

from bench import truth
from restow.cloud.model import Cloud, Isolate
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.goals import levelling, rebalance
from restow_planner.goals.loads import real_limits
from restow_planner.plan import made_again, plan_for
from restow_planner.problem import compile_problem
from restow_planner.referee import check
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import Board
from restow_planner.solvers.repack import Repacked, repack
from support.builders import a_cloud, a_host, a_server

THRESHOLD = 0.05
SEEDS = (0, 5, 6)
UNREACHABLE = 7
"""A seed whose searched placement no order of moves reaches."""


def a_tight_cloud(seed: int, rules: tuple[object, ...] = (), size: int = 20) -> Cloud:
    """Twenty hosts with hardly a claim left free, a quarter of them with servers that do twice as much."""
    dice = Random(seed)
    hosts = [a_host(f"h{n}", vcpu=64, memory_mib=131_072, physical={"cpu_cores": 32}) for n in range(size)]
    servers = []
    for number in range(size):
        left = 64
        while left >= 4:
            vcpu = min(dice.choice((4, 8, 16, 32)), left - left % 4)
            left -= vcpu
            cores = vcpu * dice.uniform(0.03, 0.3) * (2 if number < size / 4 else 1)
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


@pytest.fixture
def not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a cloud is too large for CP-SAT."""
    monkeypatch.setattr(levelling, "PACKED_CELLS_MAX", 0)


@pytest.mark.usefixtures("not_packed")
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


@pytest.mark.usefixtures("not_packed")
def test_a_plan_that_was_searched_for_is_made_again_as_it_was() -> None:
    cloud = a_tight_cloud(0)
    plan = levelled(cloud)
    assert any("all hosts at once" in step.why for step in plan.steps)
    assert made_again(cloud, plan) == plan


@pytest.mark.usefixtures("not_packed")
def test_where_no_order_reaches_what_was_found_the_moves_one_by_one_are_the_plan() -> None:
    plan = levelled(a_tight_cloud(UNREACHABLE))
    assert plan.outcome is Outcome.PLAN
    assert plan.steps
    assert not any("all hosts at once" in step.why for step in plan.steps)


@pytest.mark.usefixtures("not_packed")
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


@pytest.mark.usefixtures("not_packed")
def test_rules_that_the_search_does_not_know_are_left_to_moves_one_by_one() -> None:
    cloud = a_tight_cloud(0, rules=(Isolate(servers=("s0",)),))
    plan = levelled(cloud)
    assert check(cloud, plan) == ()
    assert not any("all hosts at once" in step.why for step in plan.steps)


def test_of_small_clouds_it_is_known_which_hosts_can_be_relieved(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [truth.judged(seed, "rebalance") for seed in range(130)]
    assert [one for one in told if one.wrong] == []
    outcomes = Counter(one.outcome for one in told)
    assert outcomes[Outcome.UNDECIDED] < 5
    monkeypatch.setattr(levelling, "PACKED_CELLS_MAX", 0)
    one_by_one = Counter(truth.judged(seed, "rebalance").outcome for seed in range(130))
    assert outcomes[Outcome.PLAN] > one_by_one[Outcome.PLAN]
    assert outcomes[Outcome.IMPOSSIBLE] > one_by_one[Outcome.IMPOSSIBLE] + 20


def test_a_packed_placement_of_loads_takes_fewer_moves_and_is_made_again_the_same(monkeypatch) -> None:
    clouds = [a_tight_cloud(seed, size=10) for seed in (0, 2, 11)]
    packed = [levelled(cloud) for cloud in clouds]
    for cloud, plan in zip(clouds, packed, strict=True):
        assert check(cloud, plan) == ()
        assert made_again(cloud, plan) == plan
    monkeypatch.setattr(levelling, "PACKED_CELLS_MAX", 0)
    for cloud, plan in zip(clouds, packed, strict=True):
        other = levelled(cloud)
        assert too_full(plan) <= too_full(other)
        assert len(plan.steps) < len(other.steps)


def test_a_packed_move_pays_for_itself() -> None:
    """Of two that could go, the small one would take off less than a move is charged with."""
    loads = {"stays": 7.0, "goes": 0.8, "small": 0.03}
    servers = [a_server(name, on="h0", load={"cpu_cores": cores}) for name, cores in loads.items()]
    problem = compile_problem(cloud := a_cloud([a_host("h0"), a_host("h1")], servers), all_primitives(cloud))
    (limit,), _ = real_limits(problem, 0.5)
    board = Board(problem=problem, open=np.ones(2, dtype=bool), pinned={}, barred={})
    answer = repack(board, [0, 1], [], [1, 2], work_s=5.0, deadline=Deadline.after(10.0), seed=1, ceiling=limit)
    assert answer is not None
    assert answer.at == {1: 1, 2: 0}
    assert answer.excess == ceil(1000 * (7.03 / 8 - 0.5)) + 100 + 5


def test_no_host_becomes_fuller_than_the_fullest_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts are a little too full; one could be relieved at the other's cost."""
    loads = {"a": (0.62,), "b": (0.52, 0.1), "c": (0.56,)}
    servers = [
        a_server(f"{host}{n}", on=host, memory_mib=1024 if host != "c" else 65_536, load={"cpu_cores": 8 * share})
        for host, shares in loads.items()
        for n, share in enumerate(shares)
    ]
    cloud = a_cloud([a_host(name, memory_mib=65_536) for name in loads], servers)
    request = parse_request({"goal": "rebalance", "threshold": 0.01})
    plan = plan_for(cloud, request, plan_id="p")
    assert (plan.outcome, plan.steps) == (Outcome.IMPOSSIBLE, ())
    at_the_others_cost = Repacked(at={2: 0}, unplaced=(), proven=False)
    monkeypatch.setattr(rebalance, "packed", lambda *_: at_the_others_cost)
    plan = plan_for(cloud, request, plan_id="p")
    assert (plan.outcome, plan.steps) == (Outcome.UNDECIDED, ())


# -- limits -----------------------------------------------------------------------------------------------


def hot() -> Cloud:
    """One host that is too hot, beside three that idle: to relieve it takes several moves of 4 GiB."""
    servers = [a_server(f"s{n}", on="h0", memory_mib=4_096, load={"cpu_cores": 0.6}) for n in range(12)]
    return a_cloud([a_host(f"h{n}", memory_mib=65_536) for n in range(4)], servers)


def limited(**limits: float) -> Plan:
    return plan_for(hot(), parse_request({"goal": "rebalance", "limits": limits}), plan_id="p")


@pytest.mark.parametrize(
    ("limits", "moves", "relaxation"),
    [
        ({"moves": 0}, 0, "raise limits.moves to at least 1"),
        ({"moves": 1}, 1, "raise limits.moves to at least 2"),
        ({"moved_gib": 9}, 2, "raise limits.moved_gib to at least 12.00"),
    ],
)
def test_a_limit_is_named_as_what_keeps_a_host_hot(limits: dict[str, int], moves: int, relaxation: str) -> None:
    answer = limited(**limits)
    assert len(answer.steps) == moves
    (blocker,) = answer.blockers
    assert blocker.rule == relaxation.split()[1]
    assert blocker.relaxation == relaxation
    assert "proven" not in blocker.why


def test_what_a_limit_forbids_is_proven_impossible_within_the_limit_only() -> None:
    answer = limited(moves=0)
    assert answer.outcome is Outcome.IMPOSSIBLE
    assert "within limits.moves" in answer.why
    assert limited(moved_gib=1).outcome is Outcome.UNDECIDED  # the exact model does not know of memory
    assert not limited().blockers

"""Soft rules: what they charge is counted as the search counts it, and weighs against what a goal gains by it."""

from random import Random

import numpy as np
import pytest

from restow.cloud.model import AtMostPer, Ban, Isolate, Licence, TogetherIn
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.goals.soft import Charges, in_words, soft_rules
from restow_planner.primitives import AtMostUnits, AtOnce, Isolated
from restow_planner.problem import compile_problem
from restow_planner.rules import all_primitives, price_of
from restow_planner.solvers.board import Board
from restow_planner.solvers.descent.ground import compile_ground, standing
from support.builders import a_cloud, a_group, a_host, a_server
from support.strategies import random_legal_cloud


def decided(cloud, goal, **fields):
    return decide(cloud, parse_request({"goal": goal, **fields}), deadline=Deadline.after(20.0))


def board_of(cloud):
    problem = compile_problem(cloud, all_primitives(cloud))
    usable = np.array([host not in problem.closed for host in range(len(problem.hosts))], dtype=bool)
    return Board(problem=problem, open=usable, pinned=dict(problem.fixed), barred={})


def test_what_is_charged_is_what_the_search_counts_and_a_change_is_the_difference():
    seen, changed = set(), 0
    for seed in range(120):
        cloud, random = random_legal_cloud(seed), Random(seed)
        primitives = [one for one in all_primitives(cloud) if price_of(one) is not None]
        primitives = [
            one for one in primitives if not isinstance(one, AtMostUnits | Isolated | AtOnce)
        ]  # the search has none
        problem = compile_problem(cloud, tuple(primitives))
        board = Board(problem=problem, open=np.ones(len(problem.hosts), dtype=bool), pinned={}, barred={})
        rules = soft_rules(primitives)
        charges, ground = Charges(rules, board), compile_ground(problem, primitives, ())
        seen |= {type(one).__name__ for one in rules}
        for _ in range(4):
            moved = random.sample(range(len(problem.servers)), 3)
            moved = [one for one in moved if board.at[one] >= 0]
            before = sum(charges.by_rule().values())
            for one in moved:
                board.put(one, random.randrange(len(problem.hosts)))
            total = sum(Charges(rules, board).by_rule().values())
            assert total == pytest.approx(float(standing(ground, np.array(board.at)).cost[0])), seed
            assert charges.change(moved) == pytest.approx(total - before), seed
            assert sum(charges.by_rule(moved).values()) == pytest.approx(total - before), seed
            charges.note(moved)
            changed += total != before
    assert changed > 50
    assert len(seen) >= 6, seen


def test_licences_charge_for_each_unit_more():
    servers = [a_server(f"s{n}", on=f"h{n}") for n in range(3)]
    licence = Licence(("s0", "s1", "s2"), count=1, soft=2.0)
    board = board_of(a_cloud([a_host(f"h{n}") for n in range(3)], servers, rules=[licence]))
    charges = Charges(soft_rules(all_primitives(board.problem.cloud)), board)
    assert charges.by_rule() == {"licence 0": 4.0}
    board.put(2, 0)
    assert charges.change([2]) == -2.0


def test_isolation_charges_for_the_fewer_of_those_who_share_a_host():
    servers = [a_server(f"s{n}", on="h0" if n < 3 else "h1") for n in range(5)]
    cloud = a_cloud([a_host("h0"), a_host("h1")], servers, rules=[Isolate(("s0", "s3", "s4"), soft=2.0)])
    board = board_of(cloud)
    charges = Charges(soft_rules(all_primitives(cloud)), board)
    assert charges.by_rule() == {"isolate 0": 2.0}  # s0 among two others
    board.put(1, 1)
    assert charges.change([1]) == 2.0
    board.undo(0)
    assert charges.change([1]) == 0.0


def test_words_tell_what_is_broken_and_what_is_mended():
    assert (
        in_words({"a": 1.0, "b": 5.0}, {"a": 3.5})
        == "soft rules broken: a (price 2.50); soft rules mended: b (price 5)"
    )
    assert in_words({"a": 1.0}, {"a": 1.0}) == ""


def crowded(rules=(), groups=()):
    servers = [a_server(one, on="h0", vcpu=4, load={}) for one in "abc"]
    return a_cloud([a_host(f"h{n}") for n in range(3)], servers, rules=rules, groups=groups)


@pytest.mark.parametrize(
    "rule",
    [lambda price: TogetherIn(("a", "b", "c"), "host", price), lambda price: Ban(("a", "b", "c"), ("h1", "h2"), price)],
    ids=["together", "ban"],
)
def test_load_is_evened_out_where_that_is_worth_what_soft_rules_charge(rule):
    free = decided(crowded(), "rebalance", resources=["vcpu"])
    cheap = decided(crowded([rule(0.1)]), "rebalance", resources=["vcpu"])
    dear = decided(crowded([rule(1_000_000.0)]), "rebalance", resources=["vcpu"])
    assert len(cheap.targets) == len(free.targets) == 2
    assert cheap.after["soft_price"] == pytest.approx(0.2)
    assert "soft rules broken" in cheap.of_rules
    assert (dear.outcome, len(dear.targets)) == (Outcome.UNDECIDED, 0)
    assert "2,000,000" in dear.blockers[0].why


def test_what_a_soft_rule_ties_stays_where_others_can_go():
    servers = [a_server(one, on="h0", vcpu=4, load={}) for one in "abcd"]
    apart = [AtMostPer(("a", "e"), "host", 1, 1_000.0), AtMostPer(("b", "e"), "host", 1, 1_000.0)]
    cloud = a_cloud([a_host("h0"), a_host("h1")], [*servers, a_server("e", on="h1", vcpu=1, load={})], rules=apart)
    decision = decided(cloud, "rebalance", resources=["vcpu"])
    assert decision.outcome is Outcome.PLAN
    assert not decision.targets.keys() & {"a", "b"}
    assert decision.after["soft_price"] == 0.0


def test_an_evacuation_that_breaks_a_soft_rule_says_so():
    group = a_group("g", "soft-anti-affinity", ("a", "b"))
    cloud = a_cloud([a_host("h0"), a_host("h1")], [a_server("a", on="h0"), a_server("b", on="h1")], groups=[group])
    decision = decided(cloud, "evacuate", hosts=["h0"])
    assert (decision.before["soft_price"], decision.after["soft_price"]) == (0.0, 1.0)
    assert decision.of_rules == "soft rules broken: soft-anti-affinity g (price 1)"

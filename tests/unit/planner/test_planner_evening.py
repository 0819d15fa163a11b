"""Rebalancing: which moves even out most for their price, what pays for itself, and where it ends."""

from dataclasses import replace

import numpy as np
import pytest

from restow.cloud.model import AtMostPer, SpreadOver
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.goals.loads import measure
from restow_planner.goals.work import Work
from restow_planner.problem import MOVE_MIB, compile_problem
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import NOWHERE, Board, LoadLimit
from restow_planner.solvers.evening import PEAK_DIVISOR, Evening
from support.builders import a_cloud, a_group, a_host, a_server
from support.strategies import random_legal_cloud

GAIN_MIN = 0.005


def decided(cloud, **fields):
    return decide(cloud, parse_request({"goal": "rebalance", **fields}), deadline=Deadline.after(10.0))


def after(cloud, decision):
    return replace(
        cloud, servers=tuple(replace(one, host=decision.targets.get(one.id, one.host)) for one in cloud.servers)
    )


def shares(cloud):
    load = {host.name: 0.0 for host in cloud.hosts}
    for one in cloud.servers:
        load[one.host] += one.load["cpu_cores"]
    return np.array([load[host.name] / host.physical["cpu_cores"] for host in cloud.hosts])


def loaded(id, host, cores, **other):
    return a_server(id, on=host, load={"cpu_cores": cores}, **other)


def evening_of(cloud, *, limits=(), barred=None):
    problem = compile_problem(cloud, all_primitives(cloud))
    usable = np.array([host not in problem.closed for host in range(len(problem.hosts))])
    board = Board(problem=problem, open=usable, pinned=dict(problem.fixed), barred={})
    board.close([len(problem.hosts) - 1])
    board.barred.update(barred or {})
    for limit in limits:
        board.add_limit(limit(problem))
    work = Work(problem, board, Deadline.after(10.0), 1)
    by = measure(problem, "cpu_cores")
    load = by.load(board)
    mean = float(load[usable].sum() / by.room[usable].sum())
    return Evening(
        board=board, part=by.part, room=by.room, load=load, mean=mean, limit=mean + 0.08,
        price=problem.cost / MOVE_MIB, gain_min=GAIN_MIN, least=1e-6, movable=work.movable,
    )  # fmt: skip


def values(evening, host):
    """The value of each move off the host, one after the other: slow, and easy to see."""
    board, share = evening.board, evening.load / evening.room
    found = {}
    for server in sorted(board.on[host]):
        less = evening.part[server] / evening.room[host]
        if less < GAIN_MIN or not evening.movable(server):
            continue
        fits, mark = board.fits(server), board.mark()
        board.put(server, NOWHERE)
        price = board.price(server)
        board.undo(mark)
        for target in np.flatnonzero(fits).tolist():
            if share[target] >= evening.mean or share[host] <= evening.mean:
                continue
            charged = 0.0 if price is None else max(0.0, price[target] - price[host])
            ends = share[host] - less, share[target] + evening.part[server] / evening.room[target]
            off = ((share[host], 1), (share[target], 1), (ends[0], -1), (ends[1], -1))
            value = sum(sign * (one - evening.mean) ** 2 for one, sign in off) / (evening.price[server] + charged)
            if ends[1] > evening.limit + 1e-9:
                if ends[1] > share[host] - GAIN_MIN:
                    continue
                value /= PEAK_DIVISOR
            if value >= evening.least:
                found[server, target] = value
    return found


def half_full(problem):
    """A second load, by which the hosts are nearly full."""
    part = np.arange(len(problem.servers)) % 3 * 0.1
    return LoadLimit(part, np.ones(len(problem.hosts)), np.zeros(len(problem.hosts)), 0.5)


@pytest.mark.parametrize("limits", [(), (half_full,)], ids=["claims", "claims and another load"])
def test_the_best_move_off_a_host_is_the_best_of_all_moves_looked_at_one_by_one(limits):
    looked_at = 0
    for seed in range(150):
        barred = {0: {0, 1}} if seed % 2 else None
        evening = evening_of(random_legal_cloud(seed, hosts=(4, 8)), limits=limits, barred=barred)
        for host in range(len(evening.room)):
            known, way = values(evening, host), evening.best(host)
            assert (way is None) == (not known), (seed, host)
            if way is not None:
                looked_at += 1
                assert known[way.server, way.target] == pytest.approx(way.value)
                assert way.value == pytest.approx(max(known.values())), (seed, host)
    assert looked_at > 100


def test_cool_hosts_are_filled_too_once_a_host_is_too_hot():
    servers = [loaded(f"s{n}", "h0", 0.5) for n in range(16)] + [loaded(f"t{n}", "h1", 0.5) for n in range(8)]
    cloud = a_cloud([a_host(f"h{n}") for n in range(4)], servers)
    found = decided(cloud, threshold=0.1)
    assert found.outcome is Outcome.PLAN
    end = shares(after(cloud, found))
    assert end.std() < 0.02
    assert end.max() - end.min() <= 0.125


def test_a_second_plan_finds_nothing_to_do():
    plans = 0
    for seed in range(60):
        cloud = random_legal_cloud(seed, rules=False)
        first = decided(cloud, threshold=0.1)
        if first.outcome is Outcome.PLAN and not first.blockers:
            plans += 1
            assert decided(after(cloud, first), threshold=0.1).outcome is Outcome.NOTHING_TO_DO, seed
    assert plans > 20


def test_what_gains_too_little_for_its_memory_stays():
    small = [loaded(f"s{n}", "h0", 0.3, memory_mib=256) for n in range(10)]
    cloud = a_cloud([a_host("h0"), a_host("h1")], [*small, loaded("huge", "h0", 0.3, memory_mib=24_576)])
    found = decided(cloud, threshold=0.1)
    assert found.outcome is Outcome.PLAN
    assert "huge" not in found.targets
    assert 4 <= len(found.targets) <= 6


def test_a_wider_threshold_asks_for_fewer_moves():
    cloud = a_cloud(
        [a_host(f"h{n}", vcpu=40, memory_mib=65_536) for n in range(6)],
        [loaded(f"s{n}-{host}", f"h{host}", 0.05 * (1 + host)) for host in range(6) for n in range(20)],
    )
    moves = [len(decided(cloud, threshold=threshold).targets) for threshold in (0.02, 0.1, 0.2)]
    assert moves[0] > moves[1] > moves[2] > 0


def test_limits_on_moves_take_the_moves_that_gain_most():
    cloud = a_cloud(
        [a_host("h0"), a_host("h1")], [loaded("big", "h0", 3.0)] + [loaded(f"s{n}", "h0", 0.5) for n in range(6)]
    )
    found = decided(cloud, threshold=0.05, limits={"moves": 1})
    assert set(found.targets) == {"big"}


def test_evening_out_pays_no_soft_price():
    servers = [loaded("a", "h0", 3.0), loaded("b", "h1", 0.0), loaded("c", "h0", 1.0), loaded("d", "h0", 1.0)]
    cloud = a_cloud([a_host("h0"), a_host("h1")], servers, groups=[a_group("g", "soft-anti-affinity", ["a", "b"])])
    assert set(decided(cloud, threshold=0.1).targets) == {"c", "d"}
    assert "a" in decided(replace(cloud, groups=()), threshold=0.1).targets


def test_hard_rules_of_company_hold_while_evening_out():
    servers = [loaded(f"s{n}", f"h{n}", 2.0 if n == 0 else 0.1) for n in range(3)]
    servers += [loaded(f"t{n}", "h0", 1.5) for n in range(3)]
    hosts = [a_host(f"h{n}", rack=f"r{n}") for n in range(3)]
    rules = [SpreadOver(("s0", "s1", "s2"), "rack", 3), AtMostPer(("t0", "t1", "t2", "s1"), "host", 3)]
    found = decided(a_cloud(hosts, servers, rules=rules), threshold=0.05)
    assert found.outcome is Outcome.PLAN
    assert not set(found.targets) & {"s0", "s1", "s2"}

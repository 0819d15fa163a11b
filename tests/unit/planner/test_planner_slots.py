"""Slots of a shape: in NUMA cells, within the time given, and what keeps them from being more."""

import numpy as np

from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.goals.slots import Slots
from restow_planner.goals.work import Work
from restow_planner.problem import compile_problem
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import Board
from restow_planner.solvers.room import Room
from support.builders import a_cloud, a_host, a_server

CELL = {"vcpu": 8, "memory_mib": 16_384}


def decided(cloud, *, seconds=10.0, **fields):
    return decide(cloud, parse_request({"goal": "defragment", **fields}), deadline=Deadline.after(seconds))


def celled(name, cells=2):
    return a_host(name, vcpu=8 * cells, memory_mib=16_384 * cells, numa=(CELL,) * cells)


def inside(id, on, cell, vcpu=4):
    return a_server(id, on=on, vcpu=vcpu, numa=({"vcpu": vcpu, "memory_mib": 1_024},), numa_at=(cell,))


def slots_of(cloud, **shape):
    problem = compile_problem(cloud, all_primitives(cloud))
    usable = np.array([host not in problem.closed for host in range(len(problem.hosts))], dtype=bool)
    board = Board(problem=problem, open=usable, pinned={}, barred={})
    work = Work(problem, board, Deadline.after(10.0), 1)
    return Slots(work, np.array([shape.get(name, 0) for name in problem.resources], dtype=np.int64))


# -- NUMA cells -------------------------------------------------------------------------------------------


def test_a_slot_is_in_one_cell_where_a_host_tells_its_cells():
    halves = [inside("a", "h0", 0), inside("b", "h0", 1)]
    cloud = a_cloud([celled("h0"), celled("h1"), a_host("plain")], halves)
    assert slots_of(cloud, vcpu=8).per_host().tolist() == [0, 2, 2]
    assert slots_of(cloud, vcpu=4).per_host().tolist() == [2, 4, 4]
    assert slots_of(cloud, vcpu=8, memory_mib=20_000).celled.tolist() == [False, False, False]
    assert slots_of(cloud, vcpu=16).per_host().tolist() == [0, 1, 1]  # larger than a cell: the host as a whole


def test_servers_without_cells_take_room_of_the_host_and_of_no_cell():
    cloud = a_cloud([celled("h0")], [a_server("floats", on="h0", vcpu=6)])
    assert slots_of(cloud, vcpu=8).total() == 1
    assert slots_of(cloud, vcpu=5).total() == 2


def test_a_cell_is_cleared_for_a_slot():
    halves = [inside("a", "h0", 0), inside("b", "h0", 1), inside("c", "h1", 0)]
    cloud = a_cloud([celled("h0"), celled("h1", cells=1)], halves)
    decision = decided(cloud, shape={"vcpu": 8}, count=1)
    assert decision.outcome is Outcome.PLAN
    assert len(decision.targets) == 1
    assert set(decision.targets.values()) == {"h1"}
    assert any("NUMA" in note for note in decision.not_modelled)


def test_cells_bound_the_slots_that_there_can_be():
    three = [celled("h0", cells=1), celled("h1", cells=1)]
    cloud = a_cloud(three, [inside("a", "h0", 0, vcpu=6), inside("b", "h1", 0, vcpu=6)])
    decision = decided(cloud, shape={"vcpu": 8}, count=2)
    assert decision.outcome is Outcome.IMPOSSIBLE
    assert "proven by counting" in decision.why_outcome


# -- time, and limits -------------------------------------------------------------------------------------


def crumbs(count=40):
    """Servers of 3 on every host of 8: two of them side by side make a slot of 8 on another host."""
    servers = [a_server(f"s{n}", on=f"h{n}", vcpu=3) for n in range(count)]
    return a_cloud([a_host(f"h{n}", vcpu=8) for n in range(count)], servers)


def test_hosts_are_looked_at_when_their_turn_comes_and_not_before(monkeypatch):
    looked_at = []
    found = Room.sets_freeing

    def seen(self, host, need, **options):
        looked_at.append(host)
        return found(self, host, need, **options)

    monkeypatch.setattr(Room, "sets_freeing", seen)
    monkeypatch.setattr("restow_planner.goals.defragment.shuffle", lambda *_: None)
    decision = decided(crumbs(), shape={"vcpu": 8}, count=2)
    assert decision.outcome is Outcome.PLAN
    assert len(set(looked_at)) < 10
    looked_at.clear()
    assert decided(crumbs(), seconds=0.0, shape={"vcpu": 8}, count=2).outcome is Outcome.UNDECIDED
    assert not looked_at


def test_what_keeps_slots_from_being_more_is_named(monkeypatch):
    monkeypatch.setattr("restow_planner.goals.defragment.shuffle", lambda *_: None)
    late = decided(crumbs(), seconds=0.0, shape={"vcpu": 8}, count=2)
    limited = decided(crumbs(), shape={"vcpu": 8}, count=3, limits={"moves": 1})
    assert late.blockers[0].relaxation == "allow more time"
    assert (limited.outcome, limited.blockers[0].relaxation) == (Outcome.PLAN, "raise limits.moves")

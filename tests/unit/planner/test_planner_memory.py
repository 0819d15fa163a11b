"""Memory that runs out costs the best answer, never an answer."""

import sys

import pytest

from restow.cloud.model import Ban, Cloud
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner import plan
from restow_planner.goals import alike, levelling
from restow_planner.plan import plan_for
from restow_planner.solvers import repack
from support.builders import a_cloud, a_host, a_server


def none_left(*_args: object, **_options: object) -> None:
    raise MemoryError


def a_cloud_of_crumbs() -> Cloud:
    """No host has room for what must leave h0 all at once, but one of the two finds a place."""
    servers = [a_server("big", on="h0", vcpu=12), a_server("small", on="h0", vcpu=2)]
    servers += [a_server(f"s{n}", on=f"h{n}", vcpu=6, locked=True) for n in (1, 2)]
    return a_cloud([a_host(f"h{n}", vcpu=16) for n in range(3)], servers)


def test_without_memory_for_the_exact_model_what_best_fit_found_is_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    request = parse_request({"goal": "evacuate", "hosts": ["h0"], "limits": {"moves": 9}})  # no search of all orders
    monkeypatch.setattr(repack, "_Model", none_left)
    answer = plan_for(a_cloud_of_crumbs(), request, plan_id="p")
    assert answer.outcome is Outcome.PLAN
    assert [step.server for step in answer.steps if step.server] == ["small"]
    assert answer.metadata["clock"]["torn"]


def test_without_memory_for_column_generation_slots_are_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [a_server(f"s{n}", on=f"h{n}", vcpu=6) for n in range(3)]
    cloud = a_cloud([a_host(f"h{n}", vcpu=16) for n in range(3)], servers)
    request = parse_request({"goal": "defragment", "shape": {"vcpu": 16}, "count": 1})
    monkeypatch.setattr(alike, "rearranged", none_left)
    answer = plan_for(cloud, request, plan_id="p")
    assert answer.outcome is Outcome.PLAN
    assert len(answer.steps) == 1


def test_without_memory_for_anything_the_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "decide", none_left)
    answer = plan_for(a_cloud_of_crumbs(), parse_request({"goal": "consolidate"}), plan_id="p")
    assert (answer.outcome, answer.steps) == (Outcome.UNDECIDED, ())
    assert answer.why.startswith("memory ran out")


def test_a_library_that_memory_does_not_allow_to_be_loaded_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ortools.sat.python", "ortools.linear_solver"):
        monkeypatch.setitem(sys.modules, name, None)  # so that importing it is an ImportError
    answer = plan_for(a_cloud_of_crumbs(), parse_request({"goal": "evacuate", "hosts": ["h0"]}), plan_id="p")
    assert [step.server for step in answer.steps if step.server] == ["small"]
    servers = [a_server(f"s{n}", on=f"h{n}", vcpu=6) for n in range(3)]
    cloud = a_cloud([a_host(f"h{n}", vcpu=16) for n in range(3)], servers)
    for request in (
        {"goal": "defragment", "shape": {"vcpu": 16}, "count": 1},
        {"goal": "consolidate"},
        {"goal": "rebalance", "threshold": 0.0},
    ):
        assert plan_for(cloud, parse_request(request), plan_id="p").outcome is not Outcome.IMPOSSIBLE


def test_where_nothing_else_can_be_loaded_the_answer_says_that_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_loaded(*_args: object, **_options: object) -> None:
        raise ImportError("failed to map segment from shared object")

    monkeypatch.setattr(plan, "decide", not_loaded)
    answer = plan_for(a_cloud_of_crumbs(), parse_request({"goal": "consolidate"}), plan_id="p")
    assert answer.outcome is Outcome.UNDECIDED
    assert answer.why.startswith("memory ran out")


def test_without_memory_for_compiled_loops_hosts_are_relieved_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levelling, "improved", none_left)
    servers = [a_server(f"s{n}", on="h0", vcpu=2, load={"cpu_cores": 1.0}) for n in range(8)]
    cloud = a_cloud([a_host(f"h{n}") for n in range(2)], servers, rules=[Ban(("s0",), ("h1",))])
    assert plan_for(cloud, parse_request({"goal": "rebalance"}), plan_id="p").outcome is Outcome.PLAN

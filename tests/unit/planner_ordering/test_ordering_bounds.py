"""What the exact search relies on: a bound that never says too much, proofs that hold, alike servers that may swap."""

import pytest

from bench.families.ordering import GROUPS, Group, Tight, tight
from restow.ids import HostName, ServerId
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.ordering.grid import NEVER, Grid
from restow_planner.ordering.state import State
from restow_planner.ordering.world import compile_world
from restow_planner.plan import plan_for
from restow_planner.referee import check
from restow_planner.rules import hard_primitives
from support.cheapest_order import cheapest_order

SMALL = GROUPS["5 hosts, up to 10 servers"]
CROWDED = Group(0, (3, 4), (2.0, 2.5), (0.85, 1.0), exact=True)


def a_grid(case: Tight) -> Grid:
    cloud = case.cloud()
    targets = {ServerId(server): HostName(host) for server, host in case.targets().items()}
    hosts, servers = [host.name for host in cloud.hosts], [server.id for server in cloud.servers]
    return Grid(State.of(compile_world(cloud, hard_primitives(cloud))), targets, servers, hosts)


def reached(case: Tight) -> Plan:
    return plan_for(case.cloud(), parse_request({"goal": "reach", "targets": case.targets()}), plan_id="p")


def exactly(case: Tight) -> int | None:
    return cheapest_order(case.sizes, case.room, case.start, case.goal)


@pytest.mark.parametrize("group", [SMALL, CROWDED])
def test_the_bound_never_exceeds_what_the_cheapest_order_carries(group: Group) -> None:
    bound_something = 0
    for seed in range(40):
        case = tight(seed, group)
        grid, best = a_grid(case), exactly(case)
        detours = grid.detours(grid.origin, grid.free(grid.origin))
        if best is None:
            continue
        assert grid.left(grid.origin) + detours <= best, seed
        bound_something += detours > 0
    assert bound_something


@pytest.mark.parametrize("group", [SMALL, CROWDED])
def test_nobody_is_called_immovable_whom_some_order_moves(group: Group) -> None:
    called = 0
    for seed in range(40):
        case = tight(seed, group)
        grid = a_grid(case)
        stay = {grid.servers[index] for index in grid.immovable()}
        misplaced = {server for server, host in case.targets().items() if f"h{case.start[int(server[1:])]}" != host}
        if exactly(case) is not None:
            assert not stay & misplaced, seed
        called += bool(stay)
    assert called


@pytest.mark.parametrize("group", [SMALL, CROWDED])
def test_tight_instances_are_solved_at_the_least_memory_or_truly_impossible(group: Group) -> None:
    outcomes = set()
    for seed in range(40):
        case = tight(seed, group)
        plan, best = reached(case), exactly(case)
        assert plan.outcome is (Outcome.IMPOSSIBLE if best is None else Outcome.PLAN), seed
        assert plan.moved_mib == (best or 0), seed
        assert check(case.cloud(), plan) == (), seed
        outcomes.add(plan.outcome)
    assert outcomes == {Outcome.IMPOSSIBLE, Outcome.PLAN}


def test_room_in_pieces_that_no_server_can_use_does_not_count() -> None:
    """150 MiB are free on each of four hosts: 600 in all, but of 100 MiB each only 400 can ever be brought together."""
    sizes = (500, 500, 100, 100, 100, 100)
    case = Tight(sizes, (650, 650, 350, 350), start=(0, 1, 2, 3, 2, 3), goal=(1, 0, 2, 3, 2, 3))
    grid = a_grid(case)
    assert {grid.servers[index] for index in grid.immovable()} == {"s0", "s1"}
    assert reached(case).outcome is Outcome.IMPOSSIBLE


def test_who_needs_another_to_go_first_who_needs_it_too_is_immovable() -> None:
    """120 MiB are free in all, and each of 60 MiB could move if one of the others had; the small one helps nobody."""
    case = Tight((60, 60, 60, 10), (100, 100, 100), start=(0, 1, 2, 0), goal=(1, 2, 0, 1))
    grid = a_grid(case)
    assert {grid.servers[index] for index in grid.immovable()} == {"s0", "s1", "s2"}
    assert reached(case).outcome is Outcome.IMPOSSIBLE


def test_a_host_that_is_overfull_gives_room_only_when_it_is_no_longer() -> None:
    case = Tight((60, 60), (100, 100, 100), start=(0, 0), goal=(0, 1))
    assert a_grid(case).immovable() == set()


def test_a_deadlock_that_nobody_can_make_way_for_is_seen_at_once() -> None:
    case = Tight((300, 300), (400, 400), start=(0, 1), goal=(1, 0))
    grid = a_grid(case)
    assert grid.detours(grid.origin, grid.free(grid.origin)) >= NEVER


def test_a_server_that_gives_way_at_home_owes_both_ways_and_no_more() -> None:
    """Two of 100 MiB change places; only one of the two of 50 MiB can make way, to the third host, and must return."""
    case = Tight((100, 100, 50, 50), (200, 200, 50), start=(0, 1, 0, 1), goal=(1, 0, 0, 1))
    grid = a_grid(case)
    assert grid.left(grid.origin) + grid.detours(grid.origin, grid.free(grid.origin)) == exactly(case) == 300

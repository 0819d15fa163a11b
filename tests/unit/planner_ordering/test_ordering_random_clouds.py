"""Ordering on random clouds: safe in every interleaving, as cheap as the slow and obvious search."""

import heapq
from random import Random

import pytest

from restow.cloud.model import Cloud
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.builders import a_cloud, a_host, a_server
from support.strategies import random_legal_cloud


def tight(seed: int, *, hosts: int, servers: int) -> tuple[Cloud, dict[str, str]]:
    """Hosts that two random placements of the same servers fill to the brim, and the second placement."""
    dice = Random(seed)
    sizes = [dice.choice((100, 200, 300, 500, 800)) for _ in range(servers)]
    first = [dice.randrange(hosts) for _ in sizes]
    second = [dice.randrange(hosts) for _ in sizes]
    room = [
        max(sum(size for size, at in zip(sizes, places, strict=True) if at == host) for places in (first, second))
        for host in range(hosts)
    ]
    cloud = a_cloud(
        [a_host(f"h{host}", vcpu=999, memory_mib=room[host] + dice.choice((0, 0, 100, 300))) for host in range(hosts)],
        [a_server(f"s{index}", on=f"h{first[index]}", memory_mib=size) for index, size in enumerate(sizes)],
    )
    return cloud, {f"s{index}": f"h{at}" for index, at in enumerate(second)}


def cheapest(cloud: Cloud, targets: dict[str, str]) -> int | None:
    """Dijkstra over all placements: slow and obvious."""
    names = [server.id for server in cloud.servers]
    size = [server.demand["memory_mib"] for server in cloud.servers]
    room = {host.name: host.capacity["memory_mib"] for host in cloud.hosts}
    start, goal = tuple(str(server.host) for server in cloud.servers), tuple(targets[name] for name in names)
    heap, done = [(0, start)], set()
    while heap:
        spent, here = heapq.heappop(heap)
        if here == goal:
            return spent
        if here in done:
            continue
        done.add(here)
        for index, at in enumerate(here):
            for host, limit in room.items():
                used = sum(amount for amount, place in zip(size, here, strict=True) if place == host)
                if host != at and used + size[index] <= limit:
                    heapq.heappush(heap, (spent + size[index], (*here[:index], host, *here[index + 1 :])))
    return None


def reach(cloud: Cloud, targets: dict[str, str]) -> Plan:
    return plan_for(cloud, parse_request({"goal": "reach", "targets": targets}), plan_id="p")


def test_small_tight_clouds_get_the_cheapest_order_or_a_true_proof() -> None:
    solved = 0
    for seed in range(60):
        cloud, targets = tight(seed, hosts=3, servers=5)
        plan, best = reach(cloud, targets), cheapest(cloud, targets)
        if best is None:
            assert plan.outcome is Outcome.IMPOSSIBLE, seed
        elif best:
            assert (plan.outcome, plan.moved_mib) == (Outcome.PLAN, best), seed
            assert check(cloud, plan) == ()
            solved += 1
    assert solved > 20


def test_larger_tight_clouds_are_ordered_and_no_interleaving_overfills() -> None:
    for seed in range(12):
        cloud, targets = tight(seed, hosts=12, servers=60)
        plan = reach(cloud, targets)
        assert plan.outcome is Outcome.PLAN, (seed, plan.why)
        assert check(cloud, plan) == ()
        assert all(replay_random(cloud, plan, dice) == () for dice in range(15)), seed


@pytest.mark.parametrize("goal", ["evacuate", "consolidate", "rebalance"])
def test_clouds_with_every_rule_keep_them_in_every_interleaving(goal: str) -> None:
    steps = 0
    for seed in range(25):
        cloud = random_legal_cloud(seed)
        own = {
            "evacuate": {"hosts": [cloud.hosts[seed % len(cloud.hosts)].name]},
            "rebalance": {"resources": ["memory_mib"], "threshold": 0.02},
        }
        request = parse_request({"goal": goal, "limits": {"time_limit_s": 2}, **own.get(goal, {})})
        plan = plan_for(cloud, request, plan_id="p")
        assert "refused" not in plan.why, (seed, plan.why)
        assert check(cloud, plan) == (), seed
        assert all(replay_random(cloud, plan, dice) == () for dice in range(10)), seed
        steps += len(plan.steps)
    assert steps > 25


def test_the_same_request_gives_the_same_plan() -> None:
    cloud, targets = tight(3, hosts=8, servers=40)
    assert reach(cloud, targets) == reach(cloud, targets)

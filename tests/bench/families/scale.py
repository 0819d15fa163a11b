"""Generated clouds of growing size, twenty servers a host; no file is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cases import Answer, Question
from bench.reading import as_body, served
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.snapshot import dump_cloud

HOSTS = (500, 1_000, 2_000, 5_000)
SERVERS_PER_HOST = 20
THRESHOLD = 0.05


def instances(_folder: Path) -> Iterator[Question]:
    for hosts in HOSTS:
        cloud = generate_cloud(hosts=hosts, servers_per_host=SERVERS_PER_HOST, seed=1)
        body, size = dump_cloud(cloud), f"{hosts:,} hosts, {hosts * SERVERS_PER_HOST:,} servers"
        leaving = [host.name for host in cloud.hosts[7 :: hosts // 10]][:10]
        evacuate = {"goal": "evacuate", "hosts": leaving}
        yield Question(f"evacuate ten of {size}", body, evacuate, served, line=("evacuate ten hosts", hosts))
        rebalance = {"goal": "rebalance", "threshold": THRESHOLD}
        yield Question(f"rebalance {size}", body, rebalance, levelled, line=("rebalance", hosts))
        yield Question(f"consolidate {size}", body, {"goal": "consolidate"}, packed)


def levelled(plan: dict[str, Any]) -> Answer:
    """The peak after the plan; no peak is below the mean."""
    return _measured(plan, f"peak {plan['objective']:.3f} in {len(plan['steps'])} steps" if plan["steps"] else "")


def packed(plan: dict[str, Any]) -> Answer:
    """Hosts in use after the plan."""
    return _measured(plan, f"{plan['objective']:.0f} hosts in {len(plan['steps'])} steps" if plan["steps"] else "")


def _measured(plan: dict[str, Any], told: str) -> Answer:
    proven = plan["gap"] is not None and plan["gap"] <= 0
    told = told or plan["outcome"]
    return Answer(plan["objective"], plan["bound"], proven, plan["solve_s"], as_body(plan), told)

"""Generated `reach` instances on hosts that are nearly full, in groups of seeds; no file is read.

Start and target placement are both legal, and little fits at first: servers must give way in turn, some must be
parked, and some small instances cannot be solved at all. The figure is the memory moved relative to the exact
optimum where an independent search knows it, else relative to what every order carries at least.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random

from bench.cases import Answer, Task
from restow.cloud.model import Cloud
from restow.cloud.snapshot import read_cloud
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.cheapest_order import cheapest_order, least_possible

SIZES_MIB = (512, 1024, 2048, 3072, 4096, 6144, 8192)
GRAIN_MIB = 512
PACKINGS_MAX = 400
REPLAYS = 5


@dataclass(frozen=True, slots=True)
class Tight:
    """Servers of these sizes and hosts of this room, MiB; host number of each server at the start and at the end."""

    sizes: tuple[int, ...]
    room: tuple[int, ...]
    start: tuple[int, ...]
    goal: tuple[int, ...]

    def cloud(self) -> Cloud:
        document = {
            "format": "restow.cloud/1",
            "taken_at": "2026-01-01T00:00:00Z",
            "domain": "tight",
            "resources": ["memory_mib"],
            "hosts": [{"name": f"h{host}", "capacity": {"memory_mib": room}} for host, room in enumerate(self.room)],
            "servers": [
                {"id": f"s{server}", "name": f"s{server}", "host": f"h{host}", "demand": {"memory_mib": size}}
                for server, (size, host) in enumerate(zip(self.sizes, self.start, strict=True))
            ],
        }
        return read_cloud(json.dumps(document).encode())

    def targets(self) -> dict[str, str]:
        return {f"s{server}": f"h{host}" for server, host in enumerate(self.goal)}


@dataclass(frozen=True, slots=True)
class Group:
    """Instances by seed; each figure is drawn between its two ends, both included."""

    seeds: int
    hosts: tuple[int, int]
    servers_per_host: tuple[float, float]
    full: tuple[float, float]
    exact: bool  # whether the optimum is looked for


GROUPS = {
    "5 hosts, up to 10 servers": Group(300, (5, 5), (1.2, 2.0), (0.60, 0.97), exact=True),
    "10-30 hosts, 82-95 % full": Group(30, (10, 30), (3.0, 6.0), (0.82, 0.95), exact=False),
    "100 hosts, 600 servers, 90 % full": Group(3, (100, 100), (6.0, 6.0), (0.90, 0.90), exact=False),
}


def instances(_folder: Path) -> Iterator[Task]:
    for name, group in GROUPS.items():
        yield Task(f"{name}, {group.seeds} seeds", "1.00 (exact)" if group.exact else "-", judge=_judge)


def tight(seed: int, group: Group) -> Tight:
    """The instance of this seed: hosts alike, two random packings of the same servers."""
    dice = Random(seed)
    while True:
        hosts = dice.randint(*group.hosts)
        sizes = [dice.choice(SIZES_MIB) for _ in range(round(hosts * dice.uniform(*group.servers_per_host)))]
        room = GRAIN_MIB * ceil(max(*sizes, sum(sizes) / hosts / dice.uniform(*group.full)) / GRAIN_MIB)
        start, goal = (_packed(dice, sizes, hosts, room) for _ in range(2))
        if start and goal and start != goal:
            return Tight(tuple(sizes), (room,) * hosts, start, goal)


def _packed(dice: Random, sizes: list[int], hosts: int, room: int) -> tuple[int, ...] | None:
    """A random legal placement, large servers first; None where none was found."""
    for _ in range(PACKINGS_MAX):
        free, found = [room] * hosts, [0] * len(sizes)
        for server in sorted(range(len(sizes)), key=lambda one: (-sizes[one], dice.random())):
            fitting = [host for host, left in enumerate(free) if left >= sizes[server]]
            if not fitting:
                break
            found[server] = dice.choice(fitting)
            free[found[server]] -= sizes[server]
        else:
            return tuple(found)
    return None


def solve(_folder: Path, name: str, limit_s: float) -> Answer:
    """Every seed of the group in this process; the answer's body says one line for each seed."""
    group = GROUPS[name.rpartition(", ")[0]]
    counts: Counter[str] = Counter()
    ratios, lines, all_s, slowest_s = [], [], 0.0, 0.0
    for seed in range(group.seeds):
        case = tight(seed, group)
        cloud = case.cloud()
        request = parse_request({"goal": "reach", "targets": case.targets(), "limits": {"time_limit_s": limit_s}})
        began = time.perf_counter()
        plan = plan_for(cloud, request, plan_id=f"tight-{seed}")
        seconds = time.perf_counter() - began
        all_s, slowest_s = all_s + seconds, max(slowest_s, seconds)
        wrong = [str(one) for one in check(cloud, plan)]
        wrong += [str(one) for dice in range(REPLAYS) for one in replay_random(cloud, plan, dice)]
        least = least_possible(case.sizes, case.start, case.goal)
        best = cheapest_order(case.sizes, case.room, case.start, case.goal) if group.exact else least
        if plan.outcome is Outcome.PLAN:
            counts["solved"] += 1
            counts["optimal"] += bool(plan.metadata["least_memory_moved"])
            if best is None or plan.moved_mib < best:
                wrong.append(f"moved {plan.moved_mib} MiB where {best} is the least")
            else:
                ratios.append(plan.moved_mib / best)
        else:
            counts[plan.outcome.value] += 1
            if plan.outcome is Outcome.IMPOSSIBLE and group.exact and best is not None:
                wrong.append(f"impossible, but {best} MiB do it")
        lines.append({"seed": seed, "moved_mib": plan.moved_mib, "best_mib": best, "s": seconds, "wrong": wrong[:3]})
    mean = sum(ratios) / len(ratios)
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    relative = "exact" if group.exact else "what every order carries"
    told += f"; {mean:.4f} of {relative}, slowest {slowest_s:.2f} s"
    proven = counts["undecided"] == 0 and mean == 1.0
    return Answer(mean, 1.0, proven, all_s, json.dumps(lines).encode(), told)


def _judge(body: bytes) -> str:
    wrong = [f"seed {line['seed']}: {line['wrong'][0]}" for line in json.loads(body) if line["wrong"]]
    return wrong[0] if wrong else "ok"

"""Consolidation and rebalancing beside the real OpenStack Watcher, on generated clouds of three sizes; no file is read.

Both ends are judged alike, by our rules and by the measured load. Watcher's CPU seconds are those of its strategy
alone; ours are told both ways, in the table for the whole process, and beside Watcher's for planning alone.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.busy import busy_cloud
from bench.cases import Answer, Question
from bench.reading import as_body
from restow.cloud.model import Cloud
from restow.cloud.snapshot import dump_cloud
from restow.ids import HostName, ServerId
from restow_planner.rules import all_violations

SIZES = ((200, 3_000), (500, 10_000), (1_000, 20_000))
GOALS = {"consolidate": "consolidation", "rebalance": "stabilisation"}
LAB = Path(__file__).parents[2] / "lab" / "watcher"
ALONE = Path(__file__).parents[1] / "alone.py"
MISSING = 3
OVERLOADED = 1.0 + 1e-9


@dataclass(frozen=True, slots=True)
class End:
    """A placement in figures. `peak`, `deviation`: of the hosts' shares of their real cores that are in use.

    `overloaded`: hosts that would need more real cores than they have. `broken`: rules that do not hold.
    """

    hosts: int
    peak: float
    deviation: float
    overloaded: int
    broken: int

    def __str__(self) -> str:
        wrong = f"{self.broken} rules broken, {self.overloaded} hosts overloaded"
        return f"{self.hosts} hosts, peak {self.peak:.3f}, deviation {self.deviation:.4f}, {wrong}"


def instances(_folder: Path) -> Iterator[Question]:
    for hosts, servers in SIZES:
        cloud = busy_cloud(hosts=hosts, servers=servers, seed=1)
        body = dump_cloud(cloud)
        for goal, strategy in GOALS.items():
            yield Question(
                f"{goal}, {hosts:,} hosts, {servers:,} servers", body, {"goal": goal}, partial(_read, cloud),
                peer=partial(_watcher, cloud, body, goal, strategy),
            )  # fmt: skip


def end_of(cloud: Cloud, moves: Mapping[ServerId, HostName]) -> End:
    """Where these servers are on these hosts, and the others where they were."""
    at = {one.id: moves.get(one.id, one.host) for one in cloud.servers}
    cores = {host.name: host.physical["cpu_cores"] for host in cloud.hosts}
    load = dict.fromkeys(cores, 0.0)
    for one in cloud.servers:
        host = at[one.id]
        if host is not None:
            load[host] += one.load["cpu_cores"]
    shares = [load[name] / cores[name] for name in cores]
    where = {server: () if host is None else (host,) for server, host in at.items()}
    return End(
        hosts=len({host for host in at.values() if host is not None}),
        peak=max(shares),
        deviation=statistics.pstdev(shares),
        overloaded=sum(share > OVERLOADED for share in shares),
        broken=len(all_violations(cloud, where)),
    )


def _read(cloud: Cloud, plan: dict[str, Any]) -> Answer:
    steps = [step for step in plan["steps"] if step.get("server")]
    end = end_of(cloud, {ServerId(step["server"]): HostName(step["to"]) for step in steps})
    figure = float(end.hosts) if plan["request"]["goal"] == "consolidate" else end.deviation
    told = f"{end}; {len(steps)} moves"
    return Answer(figure, None, proven=False, solve_s=plan["solve_s"], body=as_body(plan), told=told)


def _watcher(cloud: Cloud, body: bytes, goal: str, strategy: str) -> str:
    """What Watcher comes to, or one line that says why it cannot be asked."""
    found = subprocess.run([LAB / "get.sh"], capture_output=True, text=True, check=False)
    if found.returncode == MISSING:
        return found.stderr.strip()
    found.check_returncode()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(body)
        file.flush()
        command = [found.stdout.strip(), "-W", "ignore", str(LAB / "strategy.py"), strategy, file.name]
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        alone = subprocess.run([sys.executable, str(ALONE), file.name, goal], capture_output=True, check=True).stdout
    end = end_of(cloud, {ServerId(server): HostName(host) for server, host in answer["moves"]})
    return f"{end}; {len(answer['moves'])} moves, {answer['cpu_s']:.2f} CPU s (ours alone {float(alone):.2f})"

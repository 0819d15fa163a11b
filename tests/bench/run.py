"""`make bench`: one table of what the planner reaches on public and generated clouds, and what others published.

Each instance is one process of `restow solve`, reading the file included: seconds and peak memory are
the whole process's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import migrationpaths, vmr2l
from restow.cloud.simulated.generate import generate_cloud
from restow.cloud.snapshot import dump_cloud

RESTOW = Path(sys.executable).parent / "restow"


@dataclass(frozen=True, slots=True)
class Instance:
    """One question to the planner; `judge` turns the plan into our figure."""

    family: str
    name: str
    cloud: bytes
    request: dict[str, Any]
    published: str
    judge: Callable[[dict[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Measured:
    plan: dict[str, Any]
    code: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    checked: str


def _moved(plan: dict[str, Any]) -> str:
    if plan["outcome"] != "plan":
        names = sorted({b["server"] for b in plan["blockers"] if b["server"]})
        return f"{plan['outcome']} ({', '.join(names)})" if names else plan["outcome"]
    return f"{plan['moved_mib']} MiB"


def _served(plan: dict[str, Any]) -> str:
    steps = [step for step in plan["steps"] if step["server"]]
    left = sum(1 for blocker in plan["blockers"] if blocker["server"])
    return f"{plan['outcome']}: {len({s['server'] for s in steps})} servers in {len(steps)} moves, {left} left"


def from_migrationpaths(folder: Path) -> Iterator[Instance]:
    for case in migrationpaths.cases(folder / "migrationpaths"):
        exact = case["exact"]
        best = f"{exact['min_ram_moved_mb']} MiB (exact)" if exact["solvable"] else "impossible (exact)"
        yield Instance(
            "migrationpaths", case["name"], json.dumps(case["cloud"]).encode(), case["request"], best, _moved
        )


def from_vmr2l(folder: Path) -> Iterator[Instance]:
    document = vmr2l.convert(folder / "vmr2l" / "medium.json.gz")
    cloud = json.dumps(document).encode()
    used: Counter[str] = Counter({host["name"]: 0 for host in document["hosts"]})
    for server in document["servers"]:
        used[server["host"]] += server["demand"]["vcpu"]
    ten = [name for name, _ in sorted(used.items(), key=lambda item: item[1])[:10]]
    failed = document["hosts"][100]["name"]
    for host in document["hosts"]:
        host["state"] = "down" if host["name"] == failed else "up"
    down = json.dumps(document).encode()
    yield Instance("vmr2l", "recover one host", down, {"goal": "recover", "hosts": [failed]}, "-", _served)
    yield Instance("vmr2l", "evacuate ten hosts", cloud, {"goal": "evacuate", "hosts": ten}, "-", _served)


def from_scale(_folder: Path) -> Iterator[Instance]:
    cloud = generate_cloud(hosts=1000, servers_per_host=20, seed=1)
    request = {"goal": "evacuate", "hosts": [cloud.hosts[17].name]}
    yield Instance("scale", "1,000 hosts, 20,000 servers: evacuate one", dump_cloud(cloud), request, "-", _served)


FAMILIES = {"migrationpaths": from_migrationpaths, "vmr2l": from_vmr2l, "scale": from_scale}


def solve(instance: Instance, *, limit_s: float, check: bool) -> Measured:
    """One process of `restow solve`, measured from outside, and one of `restow check`."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot, request, plan = (Path(folder) / name for name in ("cloud.json", "request.json", "plan.json"))
        snapshot.write_bytes(instance.cloud)
        request.write_text(json.dumps({"format": "restow.request/1", **instance.request}), encoding="utf-8")
        command = [RESTOW, "solve", snapshot, "--request", request, "-o", plan, "--time-limit", str(limit_s)]
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        body = json.loads(plan.read_text(encoding="utf-8"))
        checked = "-"
        if check:
            result = subprocess.run([RESTOW, "check", snapshot, plan], capture_output=True, check=False)
            checked = "ok" if result.returncode == 0 else f"REFUSED ({result.returncode})"
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(body, process.returncode, seconds, cpu, usage.ru_maxrss / 1024, checked)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, default=Path(os.environ.get("RESTOW_BENCH", "../shared/bench")))
    parser.add_argument("--family", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds an instance")
    options = parser.parse_args()
    console = Console()
    table = Table(
        title="restow bench", caption="seconds, CPU and memory are those of the whole process, reading included"
    )
    for column in ("family", "instance", "ours", "published or exact", "check"):
        table.add_column(column)
    for column in ("seconds", "CPU s", "solve s", "peak MiB"):
        table.add_column(column, justify="right")
    instances = []
    for family in options.family or FAMILIES:
        try:
            instances += list(FAMILIES[family](options.bench))
        except FileNotFoundError as error:
            console.print(f"{family}: left out, no {error.filename}; name the folder with --bench or RESTOW_BENCH")
    refused = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        work = progress.add_task("solving", total=len(instances))
        for instance in instances:
            progress.update(work, description=f"{instance.family}: {instance.name}")
            measured = solve(instance, limit_s=options.limit, check=True)
            refused += measured.checked.startswith("REFUSED")
            plan = measured.plan
            row = (instance.family, instance.name, instance.judge(plan), instance.published, measured.checked)
            numbers = (f"{measured.seconds:.2f}", f"{measured.cpu_seconds:.2f}", f"{plan['solve_s']:.2f}")
            table.add_row(*row, *numbers, f"{measured.peak_mib:.0f}")
            progress.advance(work)
    console.print(table)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

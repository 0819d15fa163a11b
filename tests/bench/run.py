"""`make bench`: one table of what the planner reaches on public and generated instances, and what others published.

Each instance is one process, reading the file included: seconds, CPU seconds and peak memory are the whole
process's. With --out, every answer is written in the form that its referee takes, and a line to results.jsonl.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.cases import Answer, Question, Task
from bench.chart import draw
from bench.families import FAMILIES

RESULTS = "results.jsonl"
RESTOW = Path(sys.executable).parent / "restow"


@dataclass(frozen=True, slots=True)
class Measured:
    """One instance with its answer. `checked`: what the referee says of it."""

    family: str
    instance: Question | Task
    answer: Answer
    seconds: float
    cpu_seconds: float
    peak_mib: float
    checked: str
    others: str
    """What is published, or what another program came to."""

    def line(self) -> dict[str, Any]:
        return {
            "family": self.family, "instance": self.instance.name, "figure": self.answer.figure,
            "bound": self.answer.bound, "proven": self.answer.proven, "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3), "peak_mib": round(self.peak_mib, 1),
            "told": self.answer.told, "others": self.others,
        }  # fmt: skip


def measured(family: str, folder: Path, instance: Question | Task, *, limit_s: float) -> Measured:
    """Solve one instance in a process of its own, measured from outside, and let the referee judge the answer."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        match instance:
            case Question():
                snapshot, request, plan = (room / file for file in ("cloud.json", "request.json", "plan.json"))
                snapshot.write_bytes(instance.cloud)
                request.write_text(json.dumps({"format": "restow.request/1", **instance.request}), encoding="utf-8")
                command = [RESTOW, "solve", snapshot, "--request", request, "-o", plan, "--time-limit", str(limit_s)]
                times = _run(command)
                answer = instance.read(json.loads(plan.read_text(encoding="utf-8")))
                result = subprocess.run([RESTOW, "check", snapshot, plan], capture_output=True, check=False)
                checked = "ok" if result.returncode == 0 else f"REFUSED ({result.returncode})"
            case Task():
                kept = room / "answer"
                times = _run([sys.executable, __file__, "--one", family, instance.name, folder, kept, str(limit_s)])
                answer = pickle.loads(kept.read_bytes())
                wrong = "-" if instance.judge is None else instance.judge(answer.body)
                checked = wrong if wrong in ("ok", "-") else f"REFUSED ({wrong})"
    others = instance.peer() if isinstance(instance, Question) and instance.peer else instance.published
    return Measured(family, instance, answer, *times, checked, others)


def _run(command: list[Any]) -> tuple[float, float, float]:
    """Seconds, CPU seconds, peak MiB."""
    began = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3, 4):  # impossible and undecided are answers
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {complaint.decode()[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def one(family: str, name: str, folder: Path, kept: Path, limit_s: float) -> None:
    """In the child: solve one task and leave its answer in a file."""
    answer: Answer = FAMILIES[family].solve(folder, name, limit_s)
    kept.write_bytes(pickle.dumps(answer))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, default=Path(os.environ.get("RESTOW_BENCH", "../shared/bench")))
    parser.add_argument("--family", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds an instance")
    parser.add_argument("--out", type=Path, help="write every answer, and results.jsonl, to this folder")
    parser.add_argument("--chart", type=Path, help="draw how cost grows with the size of the cloud, as SVG")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        family, name, folder, kept, limit = options.one
        one(family, name, Path(folder), Path(kept), float(limit))
        return 0
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(
        title="restow bench", caption="seconds, CPU and memory are those of the whole process, reading included"
    )
    for column in ("family", "instance", "ours", "published or exact", "referee"):
        table.add_column(column)
    for column in ("bound", "seconds", "CPU s", "solve s", "peak MiB"):
        table.add_column(column, justify="right")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        _forget(options.out / RESULTS, options.family or FAMILIES)
    refused, points = 0, []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("solving", total=None)
        for family in options.family or FAMILIES:
            folder = options.bench / family
            for instance in _instances(family, folder, console):
                progress.update(task, description=f"{family}: {instance.name}")
                row = measured(family, folder, instance, limit_s=options.limit)
                refused += row.checked.startswith("REFUSED")
                if options.out:
                    _write(options.out, row)
                if isinstance(instance, Question) and instance.line is not None:
                    points.append((*instance.line, row.cpu_seconds, row.peak_mib))
                table.add_row(*_cells(row))
                progress.advance(task)
    console.print(table)
    if options.chart and points:
        draw(points, options.chart)
        console.print(f"drawn: {options.chart}")
    return 1 if refused else 0


def _instances(family: str, folder: Path, console: Console) -> Iterator[Question | Task]:
    """One at a time: a large one is 60 MB of text."""
    try:
        yield from FAMILIES[family].instances(folder)
    except FileNotFoundError as error:
        console.print(f"{family}: left out, no {error.filename}; name the folder with BENCH=folder or RESTOW_BENCH")


def _forget(results: Path, families: Collection[str]) -> None:
    """What an earlier run wrote of these families goes; what it wrote of others stays, as their answers do."""
    if results.exists():
        lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
        results.write_text("".join(one for one in lines if json.loads(one)["family"] not in families), encoding="utf-8")


def _write(out: Path, row: Measured) -> None:
    file = out / row.family / (row.instance.name.replace("/", "_") + row.instance.suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(row.answer.body)
    for suffix, body in row.instance.beside.items() if isinstance(row.instance, Question) else ():
        file.with_name(row.instance.name.replace("/", "_") + suffix).write_bytes(body)
    with (out / RESULTS).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row.line()) + "\n")


def _cells(row: Measured) -> tuple[str, ...]:
    answer = row.answer
    ours = answer.told or ("-" if answer.figure is None else f"{answer.figure:g}")
    bound = "-" if answer.bound is None else f"{answer.bound:g}" + (" proven" if answer.proven else "")
    return (
        row.family, row.instance.name, ours, row.others, row.checked, bound, f"{row.seconds:.2f}",
        f"{row.cpu_seconds:.2f}", f"{answer.solve_s:.2f}", f"{row.peak_mib:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

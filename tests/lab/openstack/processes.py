"""Processes of the lab, known by pid and by when they began; only those are ever signalled."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot go on, and why."""


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


@dataclass(frozen=True)
class Processes:
    """`run`: the folder of the running lab; its `pids/NAME.pid` hold a pid and the moment it began."""

    run: Path
    python_path: Path

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.run), "LAB_RUN": str(self.run),
            "PYTHONPATH": str(self.python_path), "PYTHONDONTWRITEBYTECODE": "", **(more or {}),
        }  # fmt: skip

    def names(self) -> list[str]:
        return sorted(file.stem for file in (self.run / "pids").glob("*.pid"))

    def pid(self, name: str) -> int | None:
        """The pid on record, if that very process still runs."""
        try:
            pid, began = (self.run / "pids" / f"{name}.pid").read_text().split()
            fields = stat(int(pid))
        except (OSError, ValueError):
            return None
        return int(pid) if fields[19] == began and fields[0] != "Z" else None

    def start(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        if self.pid(name) is not None:
            return
        with (self.run / "log" / f"{name}.out").open("ab") as out:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.run, env=self.environment(more),
                start_new_session=True,
            )  # fmt: skip
        (self.run / "pids" / f"{name}.pid").write_text(f"{child.pid} {stat(child.pid)[19]}")

    def kill(self, name: str) -> bool:
        """At once, with what it forked: each leads a process group of its own."""
        pid = self.pid(name)
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)
        return pid is not None

    def stop(self, names: Iterable[str], number: int = signal.SIGTERM, *, timeout_s: float = 15) -> None:
        names = list(names)
        for name in names:
            if (pid := self.pid(name)) is not None:
                (os.killpg if number == signal.SIGKILL else os.kill)(pid, number)
        until = time.monotonic() + timeout_s
        while any(self.pid(name) for name in names) and time.monotonic() < until:
            time.sleep(0.1)
        for name in names:
            self.kill(name)
            (self.run / "pids" / f"{name}.pid").unlink(missing_ok=True)

    def call(self, *command: str | Path, more: Mapping[str, str] | None = None) -> str:
        """Run a program to its end. Raises LabError with the end of what it printed."""
        words = [str(word) for word in command]
        done = subprocess.run(
            words, env=self.environment(more), cwd=self.run, text=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with (self.run / "log" / "setup.out").open("a") as log:
            log.write(f"$ {' '.join(words)}\n{done.stdout}\n")
        if done.returncode:
            raise LabError(f"{' '.join(words[:4])} … failed:\n{done.stdout[-2000:]}")
        return done.stdout


def wait_for(what: str, check: Callable[[], bool], *, timeout_s: float = 60, where: Path) -> None:
    until = time.monotonic() + timeout_s
    error: Exception | None = None
    while True:
        try:
            if check():
                return
        except Exception as not_yet:  # noqa: BLE001  (whatever keeps it from answering)
            error = not_yet
        if time.monotonic() > until:
            raise LabError(f"{what} is not ready after {timeout_s:.0f} s ({error}); see {where}")
        time.sleep(0.2)


def pss_mib(pids: Iterable[int]) -> float:
    """Memory of these processes, shared pages divided among those that share them."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def with_children(pids: Iterable[int]) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                children.setdefault(int(stat(int(entry.name))[1]), []).append(int(entry.name))
            except OSError:
                continue
    found: list[int] = []
    left = list(pids)
    while left:
        pid = left.pop()
        found.append(pid)
        left += children.get(pid, [])
    return found

"""Real processes of Restow for tests: started, killed, started again; always stopped by their own process id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

RESTOW = Path(sys.executable).parent / "restow"
START_S = 60.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Running:
    """One process, its log file and how to ask whether it is ready."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    url: str
    process: "subprocess.Popen[bytes] | None" = None
    kills: int = 0

    def start(self) -> None:
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=dict(self.environment), stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self, path: str = "/readyz") -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.tail()}"
            try:
                if httpx2.get(self.url + path, timeout=2.0).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{self.name} was not ready within {START_S:.0f} s: {self.tail()}")

    def kill(self) -> None:
        """SIGKILL: no word of farewell."""
        self._signal(signal.SIGKILL)
        self.kills += 1

    def stop(self) -> int | None:
        self._signal(signal.SIGTERM)
        return None if self.process is None else self.process.returncode

    def tail(self, *, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.kill(self.process.pid, number)
        try:
            self.process.wait(45)
        except subprocess.TimeoutExpired:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@dataclass
class Fleet:
    """The processes of one installation on one machine."""

    folder: Path
    database_url: str
    kafka_bootstrap: str
    cloud_url: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)

    def environment(self, port: int) -> dict[str, str]:
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("RESTOW_")},
            "RESTOW_DATABASE_URL": self.database_url,
            "RESTOW_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "RESTOW_CLOUD": self.cloud_url or "simulated:",
            "RESTOW_HTTP_HOST": "127.0.0.1",
            "RESTOW_HTTP_PORT": str(port),
            "RESTOW_LOG_LEVEL": "info",
            **self.extra,
        }

    def command(self, *words: str) -> str:
        """Run a `restow` command to its end; its standard output."""
        result = subprocess.run(
            [RESTOW, *words], env=self.environment(0), capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, f"restow {' '.join(words)}: {result.returncode} {result.stdout} {result.stderr}"
        return result.stdout

    def service(self, name: str, service: str) -> Running:
        """A process of one service; not started yet."""
        port = free_port()
        return self._add(name, [str(RESTOW), "run", service], port)

    def simulated_cloud(self, *, domains: str, hosts: int) -> Running:
        port = free_port()
        url = f"simulated:?hosts={hosts}&servers-per-host=6&domains={domains}"
        command = [str(RESTOW), "simulated-cloud", "--host", "127.0.0.1", "--port", str(port)]
        found = self._add("cloud", [*command, "--cloud", url], port)
        self.cloud_url = found.url
        return found

    def _add(self, name: str, command: list[str], port: int) -> Running:
        log = self.folder / f"{name}.log"
        self.running[name] = Running(name, command, self.environment(port), log, f"http://127.0.0.1:{port}")
        return self.running[name]

    def stop(self) -> None:
        for one in reversed(self.running.values()):
            one.stop()

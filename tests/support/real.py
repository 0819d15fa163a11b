"""Real parts for tests: a Kafka broker and a PostgreSQL, given by a variable or started here.

`RESTOW_TEST_KAFKA` (HOST:PORT) and `RESTOW_TEST_DATABASE_URL` (postgresql://…) win; a test that stops a part
from outside is skipped with them. What is missing on this machine skips a test with one line that says so.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

LAB = Path(__file__).parents[1] / "lab"
MISSING = 69  # what the scripts of the lab end with when this machine lacks something


@dataclass(frozen=True, slots=True)
class Part:
    """A real part at `address`; `script` is None if it is not ours to stop."""

    address: str
    script: Path | None
    folder: str

    def _tell(self, order: str) -> None:
        if self.script is None:
            pytest.skip("this part was given by a variable: it is not ours to stop")
        subprocess.run([self.script, order, self.folder], check=True, timeout=120, capture_output=True)

    def stop(self) -> None:
        self._tell("stop")

    def start(self) -> None:
        self._tell("start")


def _part(variable: str, script: Path) -> Iterator[Part]:
    if given := os.environ.get(variable):
        yield Part(given, None, "")
        return
    with tempfile.TemporaryDirectory(prefix="restow-lab-") as base:
        Path(base).chmod(0o755)
        folder = f"{base}/data"
        up = subprocess.run([script, "up", folder], capture_output=True, text=True, timeout=300, check=False)
        if up.returncode == MISSING:
            pytest.skip(up.stderr.strip().splitlines()[-1])
        assert up.returncode == 0, up.stderr
        try:
            yield Part(up.stdout.strip().splitlines()[-1], script, folder)
        finally:
            subprocess.run([script, "down", folder], check=False, timeout=60, capture_output=True)


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[Part]:
    yield from _part("RESTOW_TEST_KAFKA", LAB / "kafka" / "kafka.sh")


@pytest.fixture(scope="session")
def real_postgres() -> Iterator[Part]:
    yield from _part("RESTOW_TEST_DATABASE_URL", LAB / "postgres" / "postgres.sh")


_count = iter(range(1, sys.maxsize))


@pytest.fixture
def postgres_url(real_postgres: Part) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    name = f"restow_test_{os.getpid()}_{next(_count)}"
    server = real_postgres.address.replace("postgresql+asyncpg://", "postgresql://")

    async def asked(statement: str) -> None:
        connection = await asyncpg.connect(server, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def on_server(statement: str) -> None:  # in a thread: a loop may be running here
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(asked(statement))).result()

    on_server(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

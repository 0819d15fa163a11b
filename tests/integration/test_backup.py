"""The commands of the page on care, as they stand there: a backup taken while it runs, restored, and it goes on."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from support.processes import RESTOW, Running, free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]
PAGE = Path(__file__).parents[2] / "docs" / "care.md"
EVACUATE = {"goal": "evacuate", "hosts": ["host-1"], "mode": "propose"}


def commands():
    """By their program, as a person would paste them."""
    found = re.findall(r"^    (pg_\w+ .*)$", PAGE.read_text(), re.MULTILINE)
    return {line.split()[0]: line for line in found}


def shell(line, folder, url):
    environment = {**os.environ, "DATABASE": url}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def up(postgres_url, tmp_path):
    """`restow up` on this database; stopped and started at will."""
    if shutil.which("pg_dump") is None:
        pytest.skip("missing: pg_dump (Debian, Ubuntu: apt-get install postgresql-client)")
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RESTOW_")},
        "RESTOW_DATABASE_URL": postgres_url,
    }  # fmt: skip
    command = [str(RESTOW), "up", "--speed", "20", "--port", str(port), "--data", str(tmp_path / "data")]
    running = Running("restow", command, environment, tmp_path / "restow.log", f"http://127.0.0.1:{port}")
    running.start()
    running.wait_ready()
    yield running
    running.stop()


def client(up, tmp_path):
    key = (tmp_path / "data" / "admin.key").read_text().strip()
    return httpx2.Client(base_url=up.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def test_what_was_there_at_the_backup_is_there_after_the_restore_and_goes_on(up, postgres_url, tmp_path):
    url = postgres_url.replace("postgresql+asyncpg://", "postgresql://")
    with client(up, tmp_path) as http:
        made = http.post("/v1/plans", json=EVACUATE)
        assert made.status_code == 202, made.text
        plan = made.headers["location"]
        state = waits_for(http, plan, "proposed")
        shell(commands()["pg_dump"], tmp_path, url)
        assert http.post(f"{plan}/reject", json={"why": "after the backup"}).status_code == 202
        waits_for(http, plan, "rejected")
    up.stop()
    shell(commands()["pg_restore"], tmp_path, url)
    up.start()
    up.wait_ready()
    with client(up, tmp_path) as http:
        again = http.get(plan).json()
        assert again == state
        assert http.post(f"{plan}/approve").status_code == 202
        ended = waits_for(http, plan, "finished", "stale", "failed")
        assert ended["state"] in ("finished", "stale"), json.dumps(ended)[:500]


def waits_for(http, plan, *states):
    import time

    deadline = time.monotonic() + 90
    while True:
        found = http.get(plan).json()
        if found["state"] in states:
            return found
        assert time.monotonic() < deadline, found["state"]
        time.sleep(0.3)

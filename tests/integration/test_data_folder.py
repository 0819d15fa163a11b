"""The data folder of `restow up`: one process holds it, and its admin's key always opens the door."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.processes import RESTOW, Running, free_port


def an_up(folder: Path, name: str = "up") -> Running:
    port = free_port()
    command = [str(RESTOW), "up", "--port", str(port), "--data", str(folder / "data"), "--speed", "20"]
    return Running(name, command, {"PATH": "/usr/bin:/bin"}, folder / f"{name}.log", f"http://127.0.0.1:{port}")


def restow(running: Running, folder: Path, *words: str) -> Any:
    environment = {"PATH": "/usr/bin:/bin", "RESTOW_URL": running.url, "RESTOW_DATA_DIR": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-m", "restow.commands.main", *words], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_a_second_up_on_the_same_data_is_refused_and_names_the_first_until_that_has_died(tmp_path: Path) -> None:
    first = an_up(tmp_path)
    first.start()
    try:
        first.wait_ready()
        command = [*an_up(tmp_path, "second").command]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2, second.stderr
        assert f"process {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert restow(first, tmp_path, "hosts", "list").returncode == 0
        first.kill()  # it has no time to tidy up
        first.start()
        first.wait_ready()
    finally:
        first.stop()


def test_a_start_without_a_valid_admin_key_makes_one_and_replaces_the_file(tmp_path: Path) -> None:
    running = an_up(tmp_path)
    running.start()
    try:
        running.wait_ready()
        stale = (tmp_path / "data" / "admin.key").read_text()
        database = f"sqlite:///{tmp_path}/data/restow.db"
        running.stop()
        gone = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM api_key'); c.commit()"
        subprocess.run([sys.executable, "-c", gone, database.removeprefix("sqlite:///")], check=True)
        running.start()
        running.wait_ready()
        assert (tmp_path / "data" / "admin.key").read_text() != stale
        assert restow(running, tmp_path, "keys", "list").returncode == 0
    finally:
        running.stop()


def test_a_copy_of_the_folder_put_in_its_place_brings_back_what_was_there(tmp_path: Path) -> None:
    running = an_up(tmp_path)
    running.start()
    try:
        running.wait_ready()
        assert restow(running, tmp_path, "keys", "create", "ann", "--role", "viewer").returncode == 0
        running.stop()
        shutil.copytree(tmp_path / "data", tmp_path / "copy")
        running.start()
        running.wait_ready()
        assert restow(running, tmp_path, "keys", "revoke", "ann").returncode == 0
        running.stop()
        shutil.rmtree(tmp_path / "data")
        shutil.copytree(tmp_path / "copy", tmp_path / "data")
        running.start()
        running.wait_ready()
        assert restow(running, tmp_path, "keys", "revoke", "ann").returncode == 0, "it is there again"
        assert restow(running, tmp_path, "keys", "revoke", "ann").returncode != 0, "once"
    finally:
        running.stop()

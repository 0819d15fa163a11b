"""`restow up` on the real OpenStack of the tests, used through its public HTTP API."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from support.openstack_lab import FOLDER, OpenStackLab
from support.processes import RESTOW, Running, free_port
from support.real import Part
from support.topic import read_topic, without_topics

ENDS = ("finished", "failed", "rejected", "cancelled", "stale")
POLICY: Mapping[str, Any] = {
    "format": "restow.policy/1",
    "evidence": {"quorum": 2, "patience_s": 1, "returned_s": 3, "poll_s": 1, "read_s": 5},
    "execution": {"fence_timeout_s": 10, "fence_attempts": 2, "server_cool_down_s": 0},
    "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
}


class Restow:
    """`kafka`: the broker on which everybody may read what happens."""

    def __init__(self, running: Running, key: str, kafka: str) -> None:
        self.running = running
        self.kafka = kafka
        self.http = httpx2.Client(base_url=running.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def get(self, path: str, **query: Any) -> Any:
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, request: Mapping[str, Any]) -> str:
        answer = self.http.post("/v1/plans", json={"mode": "auto", **request})
        assert answer.status_code == 202, answer.text
        return str(answer.headers["location"].rsplit("/", 1)[1])

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self.http.post(path, json=dict(body or {}))
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def delete(self, path: str) -> None:
        answer = self.http.delete(path)
        assert answer.status_code in (200, 202, 204), answer.text

    def end_of(self, plan: str, *, within_s: float = 240.0) -> dict[str, Any]:
        """The stored plan once it has ended; of plans that replace each other, the last."""
        deadline = time.monotonic() + within_s
        while True:
            found: dict[str, Any] = self.get(f"/v1/plans/{plan}")
            if found["state"] == "stale" and found.get("replaced_by"):
                plan = found["replaced_by"]
            elif found["state"] in ENDS:
                return found
            assert time.monotonic() < deadline, f"{plan} is still {found['state']}: {self.running.tail()}"
            time.sleep(0.3)

    def carry_out(self, request: Mapping[str, Any], *, within_s: float = 240.0) -> dict[str, Any]:
        return self.end_of(self.ask(request), within_s=within_s)

    def events(self) -> list[dict[str, Any]]:
        """The whole story so far, oldest first, as a consumer of the public topic reads it."""
        return read_topic(self.kafka)

    def incidents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/incidents")["items"]
        return found


@contextmanager
def restow_up(
    lab: OpenStackLab, kafka: Part, folder: Path, *, policy: Mapping[str, Any] = POLICY, database: str = "",
    clouds_file: Path | None = None, **more: Any,
) -> Iterator[Restow]:  # fmt: skip
    """Every service in one process, over the real broker; `database` empty: SQLite.

    `clouds_file`: another way to the same cloud. `more` goes into RESTOW_OPENSTACK_FILE.
    """
    machine = [sys.executable, str(FOLDER / "machine.py")]
    settings = {
        "format": "restow.openstack/1", "disks": "shared", "power": {"driver": "command", "command": machine},
        "probes": [{"source": "storage", "command": [*machine, "alive"]}], **more,
    }  # fmt: skip
    (folder / "openstack.yaml").write_text(yaml.safe_dump(settings))
    (folder / "policy.yaml").write_text(yaml.safe_dump(dict(policy)))
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RESTOW_") or "LAB" in key},
        "OS_CLIENT_CONFIG_FILE": str(clouds_file or lab.clouds_file),
        "RESTOW_OPENSTACK_FILE": str(folder / "openstack.yaml"),
        "RESTOW_POLICY_FILE": str(folder / "policy.yaml"), "RESTOW_CLOUD_CACHE_S": "0",
        "RESTOW_KAFKA_BOOTSTRAP": without_topics(kafka.address), "RESTOW_KAFKA_PARTITIONS": "3",
        **({"RESTOW_DATABASE_URL": database} if database else {}),
    }  # fmt: skip
    command = [str(RESTOW), "up", "--cloud", "lab", "--port", str(port), "--data", str(folder / "data")]
    running = Running("restow", command, environment, folder / "restow.log", f"http://127.0.0.1:{port}")
    running.start()
    try:
        running.wait_ready()
        restow = Restow(running, (folder / "data" / "admin.key").read_text().strip(), kafka.address)
        with restow.http:
            yield restow
    finally:
        running.stop()

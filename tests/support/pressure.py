"""Load on an installed Restow, and its judgement in the end: no step twice, no story lost."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from support.installed import API, DOMAINS, RELEASE, WATCHERS, Installed
from support.kubernetes import until

CLIENT = "deployment/watcher"
ENDED = ("finished", "failed", "rejected", "cancelled", "stale")
SETTLE_S = 400.0


@dataclass
class Load:
    """Runs from `start` to `stop` in a pod of its own; then `found` says what became of it."""

    installed: Installed
    seed: int = 7
    found: dict[str, Any] = field(default_factory=dict)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self.installed.cluster.inside(
            WATCHERS, CLIENT, "python", "-c", "import os; os.path.exists('/tmp/stop') and os.remove('/tmp/stop')"
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.found = self.installed.cluster.program(
            WATCHERS, CLIENT, "load", API, self.installed.key, str(self.seed), ",".join(DOMAINS), timeout_s=3000
        )

    def stop(self) -> None:
        assert self._thread is not None
        self.installed.cluster.inside(WATCHERS, CLIENT, "python", "-c", "open('/tmp/stop', 'w')")
        self._thread.join(timeout=120)
        assert self.found, "the load has not said what it found"


def settled(installed: Installed) -> None:
    """Every plan and incident has ended; what runs comes to its end first, what asks for a person is looked at."""
    for domain in DOMAINS:
        installed.ask("DELETE", f"/v1/simulation/faults?domain={domain}")
    for plan in _all(installed, "/v1/plans"):
        if plan["state"] not in ENDED:
            installed.ask("POST", f"/v1/plans/{plan['id']}/cancel", {"why": "the test is over"})
    left: list[str] = []

    def quiet() -> bool:
        plans = [one for one in _all(installed, "/v1/plans") if one["state"] not in ENDED]
        incidents = [one for one in _all(installed, "/v1/incidents") if not one.get("outcome")]
        for one in incidents:
            if one["symptom"] == "returned-host":
                installed.ask("POST", f"/v1/incidents/{one['id']}/close", {"why": "looked at: the host may come back"})
        left[:] = [f"{one['id']} {one.get('state', one.get('symptom'))}" for one in (*plans, *incidents)]
        return not left

    try:
        until(quiet, "every plan and incident has ended", within_s=SETTLE_S, every_s=3)
    except AssertionError as error:
        for service in ("executor", "planner"):
            said = (
                "kubectl",
                "logs",
                "-n",
                RELEASE,
                "-l",
                f"app.kubernetes.io/component={service}",
                "--tail=20",
                "--prefix",
            )
            print(installed.cluster.tried(*said).stdout)
        raise AssertionError(f"{error}: {left[:10]}") from error


def judge(installed: Installed, *loads: Load) -> dict[str, Any]:
    """Raises AssertionError that names what was lost or done twice; the figures otherwise."""
    accepted = [plan for load in loads for plan in load.found["accepted"]]
    assert accepted, "the load asked for nothing"
    settled(installed)
    time.sleep(2)  # for the relay to publish the last events
    found = installed.judged(*accepted)
    wrong = {name: value for name, value in found.items() if isinstance(value, list) and value}
    assert not wrong, wrong
    assert found["steps"], "no step was done"
    return {**found, "plans": len(accepted), "crashes": sum(load.found["crashes"] for load in loads)}


def _all(installed: Installed, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        status, page = installed.ask("GET", f"{path}?limit=500{cursor}")
        assert status == 200, page
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"

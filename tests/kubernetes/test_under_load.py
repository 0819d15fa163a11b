"""Three of each service on eight domains under load: replaced, killed at random, without broker or database."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from support.installed import DATA, DOMAINS, NAME, RELEASE, Installed
from support.kubernetes import until
from support.pressure import Load, judge

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(2400)]

SERVICES = ("api", "detector", "executor", "planner")
REQUESTS = 2000
KILL_S = float(os.environ.get("RESTOW_CHAOS_SECONDS", "120"))
LEASE_S = 10.0
TAKE_OVER_S = 40.0  # the broker gives the partition to another first; at 60 s the node would kill the stopped one


@pytest.fixture(scope="module")
def three(installed: Installed) -> Installed:
    """Three of each."""
    for service in SERVICES:
        installed.values["services"][service]["replicas"] = 3
    installed.upgrade()
    return installed


@pytest.fixture
def load(three: Installed) -> Iterator[Load]:
    running = Load(three)
    running.start()
    time.sleep(5)
    yield running
    if not running.found:
        running.stop()


def test_an_upgrade_replaces_every_pod_and_no_request_fails(three: Installed, load: Load) -> None:
    before = names(three)
    three.values.setdefault("settings", {})["RESTOW_LOG_LEVEL"] = "warning"
    began = time.monotonic()
    three.upgrade()
    took = time.monotonic() - began
    time.sleep(max(0.0, REQUESTS / 20 - took) + 10)
    load.stop()
    assert not before & names(three), "not every pod was replaced"
    assert len(names(three)) == 12
    assert not load.found["failed"], load.found["failed"][:5]
    assert load.found["requests"] >= REQUESTS
    print(f"\nrolled in {took:.0f} s, {load.found['requests']} requests, none failed; {judge(three, load)}")


def test_pods_killed_at_random_and_broker_and_database_gone_for_a_while_lose_nothing(
    three: Installed, load: Load
) -> None:
    chance, kills = random.Random(11), 0
    end = time.monotonic() + KILL_S
    while time.monotonic() < end:
        time.sleep(chance.uniform(3, 8))
        kill(three, RELEASE, chance.choice(sorted(names(three))))
        kills += 1
    for name in ("kafka-0", "postgres-0"):
        kill(three, DATA, name)
        time.sleep(5)
        three.cluster.rolled_out(DATA, f"statefulset/{name[:-2]}")
        time.sleep(15)
    for service in SERVICES:
        three.cluster.rolled_out(RELEASE, f"deployment/{NAME}-{service}", within_s=290)
    load.stop()
    print(
        f"\n{kills} kills, {load.found['requests']} requests, {len(load.found['failed'])} failed; {judge(three, load)}"
    )


def test_an_executor_that_loses_its_lease_in_mid_step_does_nothing_more(three: Installed, load: Load) -> None:
    victim: dict[str, Any] = {}
    asked = [plan for domain in DOMAINS for plan in emptied(three, domain)]  # the load alone may find little to do

    def somebody_works() -> bool:
        for plan in three.ask("GET", "/v1/plans?state=running&limit=50")[1]["items"]:
            held = three.cluster.program(RELEASE, f"deployment/{NAME}-api", "leases")
            for lease, holder in held.items():
                if lease.startswith("executor") and lease.endswith(plan["domain"]):
                    victim.update(pod=holder_pod(three, holder), domain=plan["domain"], lease=lease, holder=holder)
                    return True
        return False

    until(somebody_works, "an executor at work", within_s=120, every_s=1)
    with stopped(three, victim["pod"]):
        time.sleep(LEASE_S)
        until(lambda: taken_over(three, victim), "another executor has the lease", within_s=TAKE_OVER_S)
    time.sleep(20)
    load.stop()
    load.found["accepted"] += asked
    print(f"\n{victim}; {judge(three, load)}")


def emptied(installed: Installed, domain: str) -> list[str]:
    """The plan, if there is anything to plan, that empties the host with the most servers."""
    servers = installed.ask("GET", f"/v1/servers?limit=500&domain={domain}")[1]["items"]
    [(host, _)] = Counter(server["host"] for server in servers if server["host"]).most_common(1)
    body = {"format": "restow.request/1", "mode": "auto", "domain": domain, "goal": "evacuate", "hosts": [host]}
    status, plan = installed.ask("POST", "/v1/plans", body)
    return [plan["id"]] if status == 202 else []


def taken_over(installed: Installed, victim: Mapping[str, Any]) -> bool:
    held = installed.cluster.program(RELEASE, f"deployment/{NAME}-api", "leases")
    return held.get(victim["lease"]) not in (None, victim["holder"])


def names(installed: Installed) -> set[str]:
    return {pod["metadata"]["name"] for service in SERVICES for pod in installed.pods(service)}


def kill(installed: Installed, namespace: str, pod: str) -> None:
    """At once, as if its node had gone."""
    installed.cluster.tried(
        "kubectl", "delete", "pod", "-n", namespace, pod, "--grace-period=0", "--force", "--wait=false"
    )


@contextmanager
def stopped(installed: Installed, pod: str) -> Iterator[None]:
    """The process of a pod, stopped by SIGSTOP and let go on. Only its node can do that, not the cluster's API."""
    process = installed.cluster.process_of(RELEASE, pod, "executor")
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def holder_pod(installed: Installed, holder: str) -> str:
    """A holder's name begins with its host's, which is the pod's."""
    return next(pod for pod in names(installed) if holder.startswith(pod))

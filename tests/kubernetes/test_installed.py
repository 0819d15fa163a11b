"""Installed by Helm: a plan is carried out, watchers read its story, strangers reach nothing."""

import pytest

from support.installed import API, DATA, NAME, RELEASE, STRANGERS, WATCHERS, Installed
from support.kubernetes import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(900)]


def test_helm_test_finds_it_well(installed: Installed) -> None:
    said = installed.cluster.helm("test", NAME, "-n", RELEASE, "--logs", "--timeout", "2m")
    assert f"http://{NAME}:80/readyz 200" in said
    assert "/v1/hosts 401" in said
    for service in ("api", "detector", "executor", "planner"):
        for pod in installed.pods(service):
            assert f"http://{pod['status']['podIP']}:8080/readyz 200" in said, service


def test_the_database_is_spoken_to_over_tls_alone(installed: Installed) -> None:
    program = (
        "import asyncio, os, asyncpg\n"
        "async def main():\n"
        "    one = await asyncpg.connect(os.environ['RESTOW_DATABASE_URL'])\n"
        "    print(await one.fetchval('select ssl from pg_stat_ssl where pid = pg_backend_pid()'))\n"
        "asyncio.run(main())"
    )
    assert installed.cluster.inside(RELEASE, f"deployment/{NAME}-planner", "python", "-c", program).strip() == "True"


def test_a_plan_asked_for_through_the_service_is_carried_out_and_a_watcher_reads_its_story(
    installed: Installed,
) -> None:
    body = {"format": "restow.request/1", "goal": "evacuate", "hosts": ["host-1"], "domain": "d1", "mode": "auto"}
    status, plan = installed.ask("POST", "/v1/plans", body)
    assert status == 202, plan

    def ended() -> bool:
        return installed.ask("GET", f"/v1/plans/{plan['id']}")[1]["state"] in ("finished", "failed", "stale")

    until(ended, "the plan's end", within_s=240, every_s=2)
    told = installed.ask("GET", f"/v1/plans/{plan['id']}")[1]
    assert told["state"] == "finished", told
    correlation = told["correlation"]
    heard = installed.cluster.program(
        WATCHERS, "deployment/watcher", "story", f"kafka.{DATA}.svc:9093", "60", correlation
    )
    for event in ("requested", "proposed", "approved", "started", "finished"):
        assert f"restow.plan.{event}" in heard
    assert heard.count("restow.step.finished") == told["steps"]


def test_who_is_not_let_in_reaches_nothing(installed: Installed) -> None:
    addresses = [
        f"{pod['status']['podIP']}:8080" for pod in installed.cluster.pods(RELEASE, "app.kubernetes.io/name=restow")
    ]
    services = [
        f"{API.removeprefix('http://')}:80", f"{NAME}-simulated-cloud.{RELEASE}.svc:8090", f"kafka.{DATA}.svc:9093",
        f"postgres.{DATA}.svc:5432",
    ]  # fmt: skip
    reached = installed.cluster.program(STRANGERS, "deployment/stranger", "reach", *addresses, *services)
    assert reached == []
    reached = installed.cluster.program(WATCHERS, "deployment/watcher", "reach", *services)
    assert reached == [services[0], services[2]]


def test_a_service_reaches_what_it_uses_and_nothing_else(installed: Installed) -> None:
    program = "reach"
    api = f"{API.removeprefix('http://')}:80"
    used = [f"kafka.{DATA}.svc:9093", f"postgres.{DATA}.svc:5432", f"{NAME}-simulated-cloud.{RELEASE}.svc:8090"]
    server = installed.cluster.get("service", "kubernetes", "-n", "default")["spec"]
    kubernetes = f"{server['clusterIP']}:{server['ports'][0]['port']}"
    reached = installed.cluster.program(RELEASE, f"deployment/{NAME}-executor", program, *used, api, kubernetes)
    assert reached == used
    assert installed.cluster.program(RELEASE, f"deployment/{NAME}-simulated-cloud", program, *used[:2], api) == []


def test_no_pod_has_a_token_of_the_cluster(installed: Installed) -> None:
    for pod in installed.cluster.pods(RELEASE, "app.kubernetes.io/name=restow"):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]


def test_a_changed_secret_rolls_the_pods_that_use_it_and_no_others(installed: Installed) -> None:
    def generations() -> dict[str, int]:
        found = installed.cluster.get("deployments", "-n", RELEASE, "-l", "app.kubernetes.io/name=restow")["items"]
        return {
            one["metadata"]["labels"]["app.kubernetes.io/component"]: one["metadata"]["generation"] for one in found
        }

    before = generations()
    installed.upgrade()
    assert generations() == before, "an upgrade that changes nothing rolls nothing"
    other = installed.cluster.inside(
        RELEASE, f"deployment/{NAME}-api", "restow", "keys", "generate", "ann", "--role", "viewer"
    )
    installed.cluster.secret(RELEASE, "api-keys", {"keys": f"tests admin {installed.key}\n{other}"})
    installed.upgrade()
    after = generations()
    assert {name for name in after if after[name] != before[name]} == {"api"}
    status, _ = installed.with_key(other.split()[2]).ask("GET", "/v1/hosts")
    assert status == 200

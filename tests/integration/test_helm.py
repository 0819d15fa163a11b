"""The Helm chart: lint, every supported mode against the schemas of Kubernetes, and refusal of typical mistakes."""

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "restow"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.25", "1.30", "1.34")
CUSTOM = {"PodMonitor"}  # not a kind of Kubernetes itself
GIVEN = ("--set", "database.existingSecret=db", "--set", "kafka.bootstrap=kafka:9092")

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> str:
    got = subprocess.run([ROOT / "tests/lab/helm/get.sh"], capture_output=True, text=True, timeout=280, check=False)
    if got.returncode != 0:
        pytest.skip(got.stderr.strip() or "missing: helm")
    return got.stdout.strip()


def run(helm: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *args], capture_output=True, text=True, timeout=60, check=False)


def rendered(helm: str, *args: str | Path) -> list[Manifest]:
    done = run(helm, "template", "r", CHART, "--namespace", "n", *args)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def pods(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    """Every pod that the chart can start, by its object's kind and name."""
    found = []
    for one in manifests:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            found.append((name, one["spec"]))
        elif one["kind"] in ("Deployment", "Job"):
            found.append((name, one["spec"]["template"]["spec"]))
    return found


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_passes_strict_lint(helm: str, values: Path) -> None:
    done = run(helm, "lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_mode_renders_objects_that_kubernetes_knows(helm: str, values: Path, version: str) -> None:
    manifests = rendered(helm, "--values", values)
    for one in manifests:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(names) == len(set(names)), "two objects of one name"


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_pod_keeps_to_the_restricted_profile_and_has_bounds(helm: str, values: Path) -> None:
    found = pods(rendered(helm, "--values", values))
    assert found
    for name, pod in found:
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert {"requests", "limits"} <= set(container["resources"]), name


def test_services_mode_has_four_deployments_with_probes_and_their_own_images(helm: str) -> None:
    manifests = rendered(helm, *GIVEN)
    deployments = {one["metadata"]["name"]: one for one in manifests if one["kind"] == "Deployment"}
    assert set(deployments) == {
        f"r-restow-{name}" for name in ("api", "detector", "executor", "planner", "simulated-cloud")
    }
    for service in ("api", "detector", "executor", "planner"):
        (container,) = deployments[f"r-restow-{service}"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"restow/{service}:0.1.0"
        assert container["args"] == ["run", service]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_database_url_comes_from_the_given_secret_and_nothing_else_holds_it(helm: str) -> None:
    manifests = rendered(helm, *GIVEN, "--set", "database.key=dsn")
    assert not [one for one in manifests if one["kind"] == "Secret"]
    for name, pod in pods(manifests):
        for container in pod["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == "RESTOW_DATABASE_URL":
                    assert variable["valueFrom"]["secretKeyRef"] == {"name": "db", "key": "dsn"}, name


def test_a_changed_policy_rolls_the_pods_and_is_the_mounted_file(helm: str) -> None:
    def of(host_limit: int) -> tuple[str, Manifest]:
        manifests = rendered(
            helm, *GIVEN, "--set", "policy.format=restow.policy/1", "--set", f"policy.blast_radius.hosts={host_limit}"
        )
        named = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
        template = named["Deployment", "r-restow-detector"]["spec"]["template"]
        policy = named["ConfigMap", "r-restow-policy"]["data"]["policy.yaml"]
        return template["metadata"]["annotations"]["checksum/policy"], yaml.safe_load(policy)

    (before, policy), (after, _) = of(3), of(4)
    assert before != after
    assert policy == {"format": "restow.policy/1", "blast_radius": {"hosts": 3}}


def test_selectors_find_the_pods_they_are_meant_for(helm: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / "services-values.yaml")
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in manifests if one["kind"] in ("Deployment", "Job")
    ]
    for one in manifests:
        wanted = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(one["kind"])
        if wanted is not None:
            assert any(wanted(one["spec"]).items() <= have.items() for have in labels), one["metadata"]["name"]


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (("--set", "database.existingSecret="), "existingSecret"),
        (("--set", "kafka.bootstrap=kafka"), "bootstrap"),
        (("--set", "mode=cluster"), "mode"),
        (("--set", "replicas=3"), "replicas"),
        (("--set", "services.planner.replica=3"), "replica"),
        (("--set", "services.notifier.replicas=1"), "notifier"),
        (("--set-string", "services.api.replicas=two"), "replicas"),
        (("--set", "image.pullPolicy=always"), "pullPolicy"),
        (("--set", "cloud.kind=address"), "address"),
        (("--set", "settings.LOG_LEVEL=debug"), "LOG_LEVEL"),
        (("--set", "policy.rules=null", "--set", "policy.blast_radius.hosts=2"), "format"),
        (("--set", "service.port=0"), "port"),
        (("--set", "services.planner.resources.limits.memory=4GB"), "memory"),
    ],
)
def test_a_typical_mistake_is_refused_and_named(helm: str, mistake: tuple[str, ...], named: str) -> None:
    done = run(helm, "template", "r", CHART, *GIVEN, *mistake)
    assert done.returncode != 0
    assert named in done.stderr

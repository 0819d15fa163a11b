"""The Helm chart: lint, every supported mode against the schemas of Kubernetes, and refusal of typical mistakes."""

import json
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
CUSTOM = {
    "HTTPRoute",
    "KafkaTopic",
    "PodMonitor",
    "PrometheusRule",
    "ScaledObject",
    "ServiceMonitor",
    "TriggerAuthentication",
}  # not of Kubernetes itself
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
        elif one["kind"] in ("Deployment", "Job", "CronJob"):
            found.append((name, template(one)["spec"]))
    return found


def template(one: Manifest) -> Manifest:
    """What the object makes pods from."""
    found: Manifest = (one["spec"]["jobTemplate"] if one["kind"] == "CronJob" else one)["spec"]["template"]
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
        (one if one["kind"] == "Pod" else template(one))["metadata"]["labels"]
        for one in manifests
        if one["kind"] in ("Deployment", "Job", "CronJob", "Pod")
    ]
    for one in manifests:
        wanted = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(one["kind"])
        if wanted is not None:
            assert any(wanted(one["spec"]).items() <= have.items() for have in labels), one["metadata"]["name"]


def test_a_service_monitor_finds_every_service_of_restow(helm: str) -> None:
    manifests = rendered(
        helm, "--values", CHART / "ci" / "services-values.yaml", "--set", "serviceMonitor.enabled=true"
    )
    monitor = next(one for one in manifests if one["kind"] == "ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = (one for one in manifests if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items())
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    selector = service["spec"]["selector"].items()
    found = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one in manifests
        if one["kind"] == "Deployment" and selector <= template(one)["metadata"]["labels"].items()
    }
    assert {"api", "detector", "executor", "planner"} <= found


def containers(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """What each container is told by its environment, by the container's name: a value, or (Secret, key)."""
    found: dict[str, dict[str, Any]] = {}
    for _, pod in pods(manifests):
        for one in pod["containers"]:
            told = {}
            for variable in one.get("env", ()):
                source = variable.get("valueFrom", {}).get("secretKeyRef")
                told[variable["name"]] = variable.get("value") if source is None else (source["name"], source["key"])
            found[one["name"]] = told
    return found


def test_kafka_and_the_database_are_reached_as_the_secrets_say(helm: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / "services-values.yaml")
    told = containers(manifests)
    for name in ("api", "detector", "executor", "planner"):
        assert told[name]["RESTOW_DATABASE_URL"] == ("restow-database", "url")
        assert told[name]["PGSSLMODE"] == "verify-full"
        assert told[name]["PGSSLROOTCERT"] == "/etc/restow-database/ca.crt"
        assert told[name]["PGSSLKEY"] == "/etc/restow-database-client/tls.key"
        assert told[name]["RESTOW_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
        assert told[name]["RESTOW_KAFKA_USERNAME"] == "restow"
        assert told[name]["RESTOW_KAFKA_PASSWORD"] == ("kafka-user", "password")
        assert told[name]["RESTOW_KAFKA_CA_FILE"] == "/etc/restow-kafka/ca.crt"
    assert "RESTOW_KAFKA_BOOTSTRAP" not in told["migrate"], "a program has what it uses, no more"


def test_every_mounted_file_has_its_volume_and_every_secret_is_the_given_one(helm: str) -> None:
    for values in VALUES:
        for name, pod in pods(rendered(helm, "--values", values)):
            volumes = {volume["name"] for volume in pod["volumes"]}
            for container in pod["containers"]:
                assert {mount["name"] for mount in container["volumeMounts"]} == volumes, (values.stem, name)


def test_an_openstack_cloud_comes_from_the_given_secret(helm: str) -> None:
    told = containers(rendered(helm, "--values", CHART / "ci" / "openstack-values.yaml"))
    for name in ("api", "detector", "executor", "planner"):
        assert told[name]["RESTOW_CLOUD"] == "openstack:mycloud"
        assert told[name]["OS_CLIENT_CONFIG_FILE"] == "/etc/restow-cloud/clouds.yaml"
        assert told[name]["RESTOW_OPENSTACK_FILE"] == "/etc/restow-cloud/restow.yaml"
        assert told[name]["RESTOW_DOMAINS"] == "one,two"


@pytest.mark.parametrize(("by", "jobs", "topics"), [("job", 1, 0), ("strimzi", 0, 4), ("none", 0, 0)])
def test_topics_are_made_by_one_alone(helm: str, by: str, jobs: int, topics: int) -> None:
    manifests = rendered(helm, *GIVEN, "--set", f"topics.by={by}", "--set", "topics.strimziCluster=events")
    assert (
        len([one for one in manifests if one["metadata"]["name"] == "r-restow-topics" and one["kind"] == "Job"]) == jobs
    )
    assert len([one for one in manifests if one["kind"] == "KafkaTopic"]) == topics
    assert containers(manifests)["planner"]["RESTOW_KAFKA_CREATE_TOPICS"] == "false"


def test_what_scales_by_itself_is_given_no_number_of_replicas(helm: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / "services-values.yaml")
    named = {(one["kind"], one["metadata"]["name"]): one for one in manifests}
    assert "replicas" not in named["Deployment", "healing-api"]["spec"]
    assert "replicas" not in named["Deployment", "healing-planner"]["spec"]
    assert named["HorizontalPodAutoscaler", "healing-api"]["spec"]["minReplicas"] == 2
    triggers = named["ScaledObject", "healing-planner"]["spec"]["triggers"]
    assert {one["metadata"]["topic"] for one in triggers} == {"restow.commands.v1", "restow.healing.v1"}
    assert {one["metadata"]["consumerGroup"] for one in triggers} == {"planner"}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_pod_is_under_a_policy_that_closes_both_ways(helm: str, values: Path) -> None:
    manifests = rendered(helm, "--values", values)
    policies = [one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"]
    if not policies:
        assert "networkPolicy: {enabled: false}" in values.read_text()
        return
    for one in manifests:
        template = one if one["kind"] == "Pod" else one.get("spec", {}).get("template")
        if template is None or one["kind"] not in ("Pod", "Job", "Deployment"):
            continue
        labels = template["metadata"]["labels"]
        on = [policy for policy in policies if policy["podSelector"]["matchLabels"].items() <= labels.items()]
        assert {way for policy in on for way in policy["policyTypes"]} == {"Ingress", "Egress"}, one["metadata"]["name"]


def test_every_value_is_described_and_every_described_value_has_its_default() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compared(where: str, described: Manifest, given: Any) -> None:
        if "$ref" in described:
            described = {**schema["definitions"][described["$ref"].rpartition("/")[2]], **described}
        assert described.get("description"), where
        if isinstance(given, dict) and "properties" in described and not where.endswith(".resources"):
            assert set(described["properties"]) - {"global"} == set(given), where
            for name, one in given.items():
                compared(f"{where}.{name}", described["properties"][name], one)

    compared("values", schema, values)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (("--set", "database.existingSecret="), "database.existingSecret: name the Secret that holds the URL"),
        (("--set", "kafka.bootstrap="), "kafka.bootstrap: HOST:PORT of your Kafka"),
        (("--set", "kafka.bootstrap=kafka"), "at '/kafka/bootstrap': 'kafka' does not match"),
        (("--set", "mode=cluster"), "at '/mode': value must be one of 'services', 'embedded'"),
        (("--set", "replicas=3"), "additional properties 'replicas' not allowed"),
        (
            ("--set", "services.planner.replica=3"),
            "at '/services/planner': additional properties 'replica' not allowed",
        ),
        (("--set", "services.notifier.replicas=1"), "at '/services': additional properties 'notifier' not allowed"),
        (("--set-string", "services.api.replicas=two"), "at '/services/api/replicas': got string, want integer"),
        (("--set", "image.pullPolicy=always"), "at '/image/pullPolicy': value must be one of 'Always'"),
        (("--set", "cloud.kind=address"), "cloud.address: http://HOST:PORT"),
        (("--set", "cloud.kind=openstack"), "cloud.name and cloud.existingSecret"),
        (("--set", "settings.LOG_LEVEL=debug"), "at '/settings': additional properties 'LOG_LEVEL' not allowed"),
        (("--set", "policy.blast_radius.hosts=2"), "at '/policy': missing property 'format'"),
        (("--set", "service.port=0"), "at '/service/port': minimum: got 0, want 1"),
        (("--set", "services.planner.resources.limits.memory=4GB"), "resources/limits/memory': '4GB' does not match"),
        (("--set", "kafka.protocol=SASL_SSL"), "kafka.sasl.existingSecret: kafka.protocol SASL_SSL needs a Secret"),
        (("--set", "kafka.sasl.existingSecret=k"), "kafka.protocol: PLAINTEXT does not use kafka.sasl"),
        (("--set", "kafka.tls.existingSecret=k"), "kafka.protocol: PLAINTEXT does not use kafka.tls"),
        (("--set", "database.tls.mode=verify-full"), "database.tls.existingSecret: mode verify-full needs a Secret"),
        (("--set", "topics.by=strimzi"), "topics.strimziCluster: the name of the Kafka resource"),
        (("--set", "services.api.autoscaling.min=9"), "services.api.autoscaling.min: not above max"),
        (("--set", "httpRoute.enabled=true"), "httpRoute.parentRefs: the Gateway that carries the route"),
    ],
)
def test_a_typical_mistake_is_refused_and_named(helm: str, mistake: tuple[str, ...], told: str) -> None:
    done = run(helm, "template", "r", CHART, *GIVEN, *mistake)
    assert done.returncode != 0
    assert told in done.stderr


def test_rules_and_dashboard_are_those_of_the_files(helm: str) -> None:
    manifests = rendered(helm, *GIVEN, "--set", "prometheusRule.enabled=true", "--set", "dashboard.enabled=true")
    named = {one["kind"]: one for one in manifests if one["kind"] in ("PrometheusRule", "ConfigMap")}
    assert named["PrometheusRule"]["spec"] == yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert named["ConfigMap"]["data"]["restow.json"] == (CHART / "files" / "dashboard.json").read_text()
    assert named["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_stories_are_forgotten_every_night_and_never_what_the_broker_may_still_deliver(helm: str) -> None:
    found = [one for one in rendered(helm, *GIVEN, "--set", "topics.hours.healing=99") if one["kind"] == "CronJob"]
    ((container,),) = [template(one)["spec"]["containers"] for one in found]
    assert container["args"] == ["db", "forget", "--keep-days=90", "--keep-audit-days=400"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["RESTOW_KAFKA_HEALING_HOURS"] == "99"
    assert "RESTOW_DATABASE_URL" in variables
    short = run(helm, "template", "r", CHART, *GIVEN, "--set", "retention.keepDays=28")  # the healing topic has 672 h
    assert "retention.keepDays: more than the longest of topics.hours" in short.stderr
    off = rendered(helm, *GIVEN, "--set", "retention.enabled=false")
    assert not [one for one in off if one["kind"] == "CronJob" or one["metadata"]["name"].endswith("retention")]
    embedded = rendered(helm, "--set", "mode=embedded")
    assert not [one for one in embedded if one["kind"] == "CronJob"]

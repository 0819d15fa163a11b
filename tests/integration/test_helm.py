"""The Helm chart: lint, every supported mode against the schemas of Kubernetes, and refusal of typical mistakes."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from restow_api.console.routes import router as console
from restow_api.routes import ROUTERS

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


class Strict(yaml.CSafeLoader):
    """Refuses what server-side apply refuses too: a name that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key) for key, _ in node.value]
        assert len(names) == len(set(names)), f"twice in {node.start_mark}: {names}"
        return super().construct_mapping(node, deep)


@pytest.fixture(scope="session")
def helm() -> str:
    got = subprocess.run([ROOT / "tests/lab/helm/get.sh"], capture_output=True, text=True, timeout=280, check=False)
    if got.returncode != 0:
        pytest.skip(got.stderr.strip() or "missing: helm")
    return got.stdout.strip()


def run(helm: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *args], capture_output=True, text=True, timeout=60, check=False)


@cache
def rendered(helm: str, *args: str | Path) -> list[Manifest]:
    """What the chart makes of these values. Look at it, do not change it."""
    done = run(helm, "template", "r", CHART, "--namespace", "n", *args)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, Strict) if one]


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
    manifests = rendered(helm, "--values", values, "--kube-version", version)
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
        helm, "--values", CHART / "ci" / "services-values.yaml", "--set", "serviceMonitor.enabled=true",
        "--set", "podMonitor.enabled=false",
    )  # fmt: skip
    monitor = next(one for one in manifests if one["kind"] == "ServiceMonitor")
    wanted, found = monitor["spec"]["selector"], []
    (expression,) = wanted["matchExpressions"]
    for service in (one for one in manifests if one["kind"] == "Service"):
        labels = service["metadata"]["labels"]
        if wanted["matchLabels"].items() <= labels.items() and labels[expression["key"]] in expression["values"]:
            assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
            selector = service["spec"]["selector"].items()
            found += [
                one["metadata"]["labels"]["app.kubernetes.io/component"]
                for one in manifests
                if one["kind"] == "Deployment" and selector <= template(one)["metadata"]["labels"].items()
            ]
    assert sorted(found) == ["api", "detector", "executor", "planner"], "each once"


def containers(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """What each container is told by its environment, by the container's name: a value, or (Secret, key)."""
    found: dict[str, dict[str, Any]] = {}
    for _, pod in pods(manifests):
        for one in pod["containers"]:
            told = {}
            for variable in one.get("env", ()):
                assert variable["name"] not in told, f"{variable['name']} twice: server-side apply refuses that"
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
    topics = {"team.restow.commands.v1", "team.restow.healing.v1"}
    assert {one["metadata"]["topic"] for one in triggers} == topics
    assert {one["metadata"]["consumerGroup"] for one in triggers} == {"team.restow.planner"}
    detector = ("--set", "services.detector.autoscaling.by=lag")
    manifests = rendered(helm, "--values", CHART / "ci" / "services-values.yaml", *detector)
    triggers = next(
        one for one in manifests if one["metadata"]["name"] == "healing-detector" and one["kind"] == "ScaledObject"
    )
    assert {one["metadata"]["topic"] for one in triggers["spec"]["triggers"]} == topics | {"team.restow.telemetry.v1"}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_stopped_nothing_of_restow_runs_or_begins(helm: str, values: Path) -> None:
    manifests = rendered(helm, "--values", values, "--set", "stopped=true")
    running = {one["metadata"]["name"]: one["spec"]["replicas"] for one in manifests if one["kind"] == "Deployment"}
    assert {number for name, number in running.items() if not name.endswith("-simulated-cloud")} == {0}
    assert not {one["kind"] for one in manifests} & {
        "HorizontalPodAutoscaler",
        "Job",
        "PodDisruptionBudget",
        "ScaledObject",
    }
    assert all(one["spec"]["suspend"] for one in manifests if one["kind"] == "CronJob")


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
        (("--set", "kafka.bootstrap=kafka"), 'kafka.bootstrap: "kafka" is no HOST:PORT with a port from 1 to 65535'),
        (("--set", "kafka.bootstrap=k:99999"), 'kafka.bootstrap: "k:99999" is no HOST:PORT'),
        (("--set", "kafka.bootstrap=a:1\\,b"), 'kafka.bootstrap: "b" is no HOST:PORT'),
        (("--set", "kafka.bootstrap=a:1\\,b:1"), "topics.replication: one copy is lost with its broker"),
        (("--set", "cloud=null"), "missing property 'cloud'"),
        (("--set", "cloud.kind=null"), "at '/cloud': missing property 'kind'"),
        (
            ("--set-string", "settings.RESTOW_STOP_DELAY_S=1"),
            "settings.RESTOW_STOP_DELAY_S: the chart sets it: stopDelaySeconds",
        ),
        (
            ("--set-string", "services.api.settings.RESTOW_KAFKA_HEALING_HOURS=1"),
            "services.api.settings.RESTOW_KAFKA_HEALING_HOURS: the chart sets it: topics.hours.healing",
        ),
        (
            ("--set", "secretSettings.RESTOW_KAFKA_PASSWORD.secret=a,secretSettings.RESTOW_KAFKA_PASSWORD.key=b"),
            "secretSettings.RESTOW_KAFKA_PASSWORD: the chart sets it: kafka.sasl.existingSecret",
        ),
        (("--set", "settings.RESTOW_LOGLEVEL=info"), "settings.RESTOW_LOGLEVEL: there is no such setting"),
        (("--set", "extraEnv.RESTOW_LOG_LEVEL=info"), "extraEnv.RESTOW_LOG_LEVEL: settings has those"),
        (("--set", "extraEnv.PGSSLMODE=require"), "extraEnv.PGSSLMODE: the chart sets it: database.tls"),
        (("--set", r"podLabels.app\.kubernetes\.io/name=x"), "podLabels.app.kubernetes.io/name: the chart sets it"),
        (("--set", "extraVolumes[0].name=tmp"), "extraVolumes: the chart has a volume tmp"),
        (("--set", "podMonitor.enabled=true"), "networkPolicy.monitoringFrom: say where your Prometheus is"),
        (
            ("--set", "podMonitor.enabled=true,serviceMonitor.enabled=true"),
            "podMonitor.enabled and serviceMonitor.enabled: one of them",
        ),
        (
            ("--set", "service.type=LoadBalancer"),
            "networkPolicy.apiFrom: a Service of type LoadBalancer is called from",
        ),
        (("--set", "service.nodePort=30080"), "service.nodePort: only with service.type NodePort"),
        (("--set", "serviceAccount.create=false"), "serviceAccount.name: with serviceAccount.create false"),
        (
            ("--set", "services.planner.replicas=13"),
            "services.planner.replicas: 13, and more than topics.partitions (12)",
        ),
        (
            ("--set", "services.executor.autoscaling.by=lag,topics.partitions=4"),
            "services.executor.autoscaling.max: 8, and more than topics.partitions (4)",
        ),
        (("--set", "stopDelaySeconds=60"), "stopDelaySeconds: less than terminationGracePeriodSeconds"),
        (("--set", "retention.schedule=every day"), "at '/retention/schedule': 'every day' does not match"),
        (("--set", "fullnameOverride=a.b"), "at '/fullnameOverride': 'a.b' does not match"),
        (("--set", "cloud.egress=null"), "at '/cloud': missing property 'egress'"),
        (("--set-json", "cloud.egress=[]"), "at '/cloud/egress': minItems: got 0, want 1"),
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


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("kafka.bootstrap=kafka:9092", "kafka.bootstrap: mode embedded has a log of its own"),
        ("database.existingSecret=db", "database.existingSecret: mode embedded has a database of its own"),
        ("domains={one}", "domains: mode embedded looks after all"),
        ("services.planner.replicas=3", "services.planner.replicas, autoscaling: mode embedded is one process"),
        ("services.api.autoscaling.by=cpu", "services.api.replicas, autoscaling: mode embedded is one process"),
        ("services.api.settings.RESTOW_LOG_LEVEL=debug", "services.api.settings: mode embedded is one process"),
        ("cloud.kind=openstack", "cloud.name and cloud.existingSecret"),
    ],
)
def test_mode_embedded_leaves_no_value_aside_without_a_word(helm: str, mistake: str, told: str) -> None:
    done = run(helm, "template", "r", CHART, "--set", "mode=embedded", "--set", mistake)
    assert done.returncode != 0
    assert told in done.stderr


def named(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(one["kind"], one["metadata"]["name"]): one for one in manifests}


def egress(manifests: list[Manifest], component: str) -> list[tuple[int, str]]:
    """The ports that its network policy opens."""
    policy = named(manifests)["NetworkPolicy", f"r-restow-{component}"]
    return [(port["port"], port["protocol"]) for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_a_variable_or_label_that_comes_from_two_values_is_there_once(helm: str) -> None:
    manifests = rendered(
        helm, *GIVEN, "--set", "settings.RESTOW_LOG_LEVEL=info", "--set",
        "services.api.settings.RESTOW_LOG_LEVEL=debug,commonLabels.team=a,podLabels.team=b,prometheusRule.enabled=true,"
        "prometheusRule.labels.team=c,dashboard.enabled=true,dashboard.labels.team=d",
    )  # fmt: skip
    told = containers(manifests)
    assert (told["api"]["RESTOW_LOG_LEVEL"], told["planner"]["RESTOW_LOG_LEVEL"]) == ("debug", "info")
    assert template(named(manifests)["Deployment", "r-restow-api"])["metadata"]["labels"]["team"] == "b"
    assert named(manifests)["PrometheusRule", "r-restow"]["metadata"]["labels"]["team"] == "c"
    assert named(manifests)["Deployment", "r-restow-api"]["metadata"]["labels"]["team"] == "a"
    both = run(
        helm, "template", "r", CHART, *GIVEN, "--set",
        "settings.RESTOW_LOG_LEVEL=info,secretSettings.RESTOW_LOG_LEVEL.secret=a,secretSettings.RESTOW_LOG_LEVEL.key=b",
    )  # fmt: skip
    assert "secretSettings.RESTOW_LOG_LEVEL: it is under settings too" in both.stderr


def test_the_chart_knows_every_setting_and_sets_those_that_it_says() -> None:
    known = yaml.safe_load((CHART / "files" / "settings.yaml").read_text())
    page = (ROOT / "docs" / "settings.md").read_text()
    assert sorted(known) == sorted(set(re.findall(r"^\| `(RESTOW_\w+)`", page, re.MULTILINE)))
    sets = set(re.findall(r"^(RESTOW_[A-Z_]+):", (CHART / "templates" / "_settings.tpl").read_text(), re.MULTILINE))
    assert sets <= {name for name, by in known.items() if by}


def test_a_real_cloud_with_its_board_controllers_and_its_prometheus_can_be_reached(helm: str) -> None:
    openstack = ("--values", CHART / "ci" / "openstack-values.yaml")
    manifests = rendered(helm, *openstack)
    for component in ("api", "detector", "executor", "planner"):
        open_to = egress(manifests, component)
        for port in (80, 443, 5000, 8774, 8778, 6385, 9090):
            assert (port, "TCP") in open_to, component
        assert (623, "UDP") in open_to, component
    own = ("--set-json", 'cloud.egress=[{"port": 8000, "protocol": "TCP"}]')
    assert set(egress(rendered(helm, *openstack, *own), "executor")) == {
        (53, "UDP"), (53, "TCP"), (5432, "TCP"), (9093, "TCP"), (8000, "TCP"), (4318, "TCP"),
    }  # fmt: skip


def test_a_program_of_ones_own_is_mounted_into_the_services_alone(helm: str) -> None:
    for name, pod in pods(rendered(helm, "--values", CHART / "ci" / "openstack-values.yaml")):
        mounts = [mount["mountPath"] for container in pod["containers"] for mount in container["volumeMounts"]]
        services = [f"Deployment r-restow-{service}" for service in ("api", "detector", "executor", "planner")]
        assert ("/usr/local/bin/hosts-that-write" in mounts) == (name in services)


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        (r"kafka.bootstrap=a:9094\, b:9095\,c:9094,topics.replication=2", [9094, 9095]),
        (r"kafka.bootstrap=a:9094,kafka.ports={9000,9001}", [9000, 9001]),
    ],
)
def test_the_ports_of_the_brokers_are_those_of_bootstrap_unless_said(helm: str, given: str, ports: list[int]) -> None:
    manifests = rendered(helm, *GIVEN[:2], "--set", given)
    for component in ("planner", "topics"):
        assert [port for port, _ in egress(manifests, component) if port in range(9000, 10000)] == ports


def test_mode_embedded_runs_on_a_real_cloud_too(helm: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / "embedded-openstack-values.yaml")
    ((_, pod), *_) = [one for one in pods(manifests) if one[0].startswith("Deployment")]
    (container,) = pod["containers"]
    assert "--speed" not in container["args"], "time is real there"
    told = containers(manifests)["restow"]
    assert told["RESTOW_CLOUD"] == "openstack:mycloud"
    assert told["OS_CLIENT_CONFIG_FILE"] == "/etc/restow-cloud/clouds.yaml"
    assert "/etc/restow-cloud" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert (8774, "TCP") in egress(manifests, "embedded")
    simulated = rendered(helm, "--set", "mode=embedded,embedded.cloud.serversPerHost=0")
    assert containers(simulated)["restow"]["RESTOW_CLOUD"] == "simulated:?hosts=10&servers-per-host=0"
    assert {port for port, _ in egress(simulated, "embedded")} == {53}


def test_a_pod_that_is_not_ready_does_not_keep_its_node_from_being_drained(helm: str) -> None:
    budgets = [one["spec"] for one in rendered(helm, *GIVEN) if one["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 4
    assert {one["unhealthyPodEvictionPolicy"] for one in budgets} == {"AlwaysAllow"}


@pytest.mark.parametrize(
    ("given", "secure"),
    [
        ("ingress.enabled=true,ingress.tlsSecret=t", "true"),
        ("ingress.enabled=true", None),
        ("secureCookie=true", "true"),
        ("ingress.enabled=true,ingress.tlsSecret=t,secureCookie=false", None),
        ("mode=embedded,ingress.enabled=true,ingress.tlsSecret=t", "true"),
    ],
)
def test_behind_tls_the_cookie_goes_over_tls_alone(helm: str, given: str, secure: str | None) -> None:
    told = containers(rendered(helm, *(() if "embedded" in given else GIVEN), "--set", given))
    assert told["restow" if "embedded" in given else "api"].get("RESTOW_COOKIE_SECURE") == secure


@pytest.mark.parametrize("values", ["services", "openstack"])
def test_what_is_published_is_the_console_and_the_api_and_no_metrics(helm: str, values: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / f"{values}-values.yaml")
    published = [
        (path["pathType"].removeprefix("Path"), path["path"])
        for one in manifests if one["kind"] == "Ingress"
        for path in one["spec"]["rules"][0]["http"]["paths"]
    ] + [
        (match["path"]["type"].removeprefix("Path"), match["path"]["value"])
        for one in manifests if one["kind"] == "HTTPRoute"
        for match in one["spec"]["rules"][0]["matches"]
    ]  # fmt: skip

    def reached(path: str) -> bool:
        return any(path == at or (kind == "Prefix" and path.startswith(f"{at}/")) for kind, at in published)

    own = {"/metrics", "/livez", "/readyz"}
    paths = {str(getattr(route, "path", "")) for router in (*ROUTERS, console) for route in router.routes}
    assert {path for path in paths if not reached(path)} == own


def test_a_prefix_is_before_every_name_on_a_shared_kafka(helm: str) -> None:
    manifests = rendered(helm, "--values", CHART / "ci" / "services-values.yaml", "--set", "topics.prefix=Team_a.")
    for service in ("api", "detector", "executor", "planner"):
        assert containers(manifests)[service]["RESTOW_KAFKA_GROUP_PREFIX"] == "team.restow."
        assert containers(manifests)[service]["RESTOW_KAFKA_TOPIC_PREFIX"] == "Team_a."
    topics = [one for one in manifests if one["kind"] == "KafkaTopic"]
    assert {one["spec"]["topicName"] for one in topics} == {
        f"Team_a.restow.{name}.v1" for name in ("telemetry", "commands", "healing", "dead")
    }
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", one["metadata"]["name"]) for one in topics)
    assert containers(rendered(helm, *GIVEN))["planner"]["RESTOW_KAFKA_GROUP_PREFIX"] == "restow."


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ("kafka.protocol=SSL", None),
        ("kafka.protocol=SSL,kafka.tls.existingSecret=ca", ["ca"]),
        ("kafka.protocol=SASL_SSL,kafka.sasl.existingSecret=u", ["username", "password"]),
        ("kafka.protocol=PLAINTEXT", None),
    ],
)
def test_keda_is_told_of_secrets_only_where_there_are_some(helm: str, given: str, parameters: list[str] | None) -> None:
    manifests = rendered(helm, *GIVEN, "--set", "services.planner.autoscaling.by=lag", "--set", given)
    triggers = named(manifests)["ScaledObject", "r-restow-planner"]["spec"]["triggers"]
    assert all(("authenticationRef" in trigger) == (parameters is not None) for trigger in triggers)
    found = [one["spec"] for one in manifests if one["kind"] == "TriggerAuthentication"]
    told = [[one["parameter"] for rows in spec.values() for one in rows] for spec in found]
    assert told == ([] if parameters is None else [parameters])


def test_two_long_names_that_begin_alike_stay_two_and_every_name_fits(helm: str) -> None:
    def names(release: str) -> set[str]:
        done = run(helm, "template", release, CHART, *GIVEN)
        assert done.returncode == 0, done.stderr
        return {one["metadata"]["name"] for one in yaml.safe_load_all(done.stdout) if one}

    one, other = (names(f"production-openstack-region-north-{end}") for end in ("one-healing", "one-headless"))
    assert not one & other
    assert max(len(name) for name in one) <= 63
    assert names("a.b") >= {"a-b-restow"}
    digit = run(helm, "template", "1restow", CHART, *GIVEN)
    assert "fullnameOverride: a name that begins with a letter" in digit.stderr


def test_the_label_with_the_charts_version_is_one_that_kubernetes_takes(helm: str, tmp_path: Path) -> None:
    run(helm, "package", CHART, "--version", "0.1.0+build.7", "--destination", tmp_path)
    done = run(helm, "template", "r", next(tmp_path.glob("*.tgz")), *GIVEN)
    assert "helm.sh/chart: restow-0.1.0_build.7" in done.stdout


def test_the_test_asks_every_service_that_runs(helm: str) -> None:
    def asked(*values: str) -> set[str]:
        manifests = rendered(helm, *values)
        pod = named(manifests)["Pod", "r-restow-test"]
        (services,) = re.findall(r"^SERVICES = (.*)$", pod["spec"]["containers"][0]["args"][0], re.MULTILINE)
        compile(pod["spec"]["containers"][0]["args"][0], "test", "exec")
        for name in json.loads(services):
            assert named(manifests)["Service", name]["spec"]["clusterIP"] == "None"
            (rule,) = named(manifests)["NetworkPolicy", name]["spec"]["ingress"]
            peers = [peer["podSelector"].get("matchLabels", {}) for peer in rule["from"] if "podSelector" in peer]
            assert any(peer and peer.items() <= pod["metadata"]["labels"].items() for peer in peers), name
        return set(json.loads(services))

    assert asked(*GIVEN) == {f"r-restow-{name}" for name in ("api", "detector", "executor", "planner")}
    assert asked(*GIVEN, "--set", "services.planner.replicas=0") == {
        f"r-restow-{name}" for name in ("api", "detector", "executor")
    }
    assert asked("--set", "mode=embedded") == {"r-restow-embedded"}


def test_labels_and_annotations_of_pods_reach_every_pod_of_the_chart(helm: str) -> None:
    for one in rendered(helm, *GIVEN, "--set", "podLabels.team=a", "--set-string", "podAnnotations.inject=false"):
        if one["kind"] in ("Deployment", "Job", "CronJob", "Pod"):
            about = (one if one["kind"] == "Pod" else template(one))["metadata"]
            assert about["labels"]["team"] == "a", one["metadata"]["name"]
            assert about["annotations"]["inject"] == "false", one["metadata"]["name"]


def test_the_collector_of_traces_can_be_reached_and_jobs_have_none(helm: str) -> None:
    manifests = rendered(helm, *GIVEN, "--set", "settings.RESTOW_OTLP_ENDPOINT=http://c:4318")
    for service in ("api", "detector", "executor", "planner"):
        assert (4318, "TCP") in egress(manifests, service)
        assert containers(manifests)[service]["RESTOW_OTLP_ENDPOINT"] == "http://c:4318"
    for job in ("migrate", "topics", "retention"):
        assert (4318, "TCP") not in egress(manifests, job)
        assert "RESTOW_OTLP_ENDPOINT" not in containers(manifests)[job]
    by_secret = containers(rendered(helm, "--values", CHART / "ci" / "services-values.yaml"))
    assert by_secret["api"]["RESTOW_OTLP_ENDPOINT"] == ("restow-traces", "endpoint")
    assert "RESTOW_OTLP_ENDPOINT" not in by_secret["migrate"]


def test_what_a_platform_asks_for_has_its_value(helm: str) -> None:
    manifests = rendered(
        helm, *GIVEN, "--set", "nodeSelector.pool=all,services.planner.nodeSelector.pool=large,spreadForced=true,"
        "services.api.image=r.example/api@sha256:1,embedded.image=x,extraEnv.HTTPS_PROXY=http://proxy:1,"
        "serviceAccount.annotations.role=a,serviceAccount.name=mine,runAsUser=1000600000,service.type=NodePort,"
        "service.nodePort=30080", "--set-json", 'networkPolicy.apiFrom=[{"ipBlock": {"cidr": "192.0.2.0/24"}}]',
    )  # fmt: skip
    by_name = dict(pods(manifests))
    planner, executor = by_name["Deployment r-restow-planner"], by_name["Deployment r-restow-executor"]
    assert (planner["nodeSelector"], executor["nodeSelector"]) == ({"pool": "large"}, {"pool": "all"})
    assert {one["whenUnsatisfiable"] for one in planner["topologySpreadConstraints"]} == {"DoNotSchedule"}
    for name in ("Deployment r-restow-api", "Job r-restow-migrate", "Deployment r-restow-simulated-cloud"):
        assert by_name[name]["containers"][0]["image"] == "r.example/api@sha256:1"
    assert all(told["HTTPS_PROXY"] == "http://proxy:1" for told in containers(manifests).values() if told)
    assert planner["serviceAccountName"] == "mine"
    assert named(manifests)["ServiceAccount", "mine"]["metadata"]["annotations"]["role"] == "a"
    assert planner["securityContext"]["runAsUser"] == 1000600000
    assert named(manifests)["Service", "r-restow"]["spec"]["ports"][0]["nodePort"] == 30080
    theirs = rendered(helm, *GIVEN, "--set", "runAsUser=null,serviceAccount.create=false,serviceAccount.name=theirs")
    assert not [one for one in theirs if one["kind"] == "ServiceAccount"]
    for name, pod in pods(theirs):
        assert pod["serviceAccountName"] == "theirs", name
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(pod["securityContext"]), name


def test_what_runs_before_is_gone_when_it_has_succeeded(helm: str) -> None:
    found = [
        (one["metadata"]["name"], one["metadata"]["annotations"]["helm.sh/hook-delete-policy"])
        for one in rendered(helm, *GIVEN)
        if "pre-install" in one["metadata"].get("annotations", {}).get("helm.sh/hook", "")
    ]
    assert len(found) == 5, "two Jobs, the network policy of each, a service account"
    assert {policy for _, policy in found} == {"before-hook-creation,hook-succeeded"}


def test_a_host_for_all_names_is_a_name_and_no_alias(helm: str) -> None:
    manifests = rendered(helm, *GIVEN, "--set", "ingress.enabled=true,ingress.host=*.example,ingress.tlsSecret=t")
    spec = named(manifests)["Ingress", "r-restow"]["spec"]
    assert (spec["rules"][0]["host"], spec["tls"][0]["hosts"]) == ("*.example", ["*.example"])


def test_each_alert_names_its_page_where_the_pages_are(helm: str) -> None:
    base = "https://pages.example/restow/runbooks"
    manifests = rendered(helm, *GIVEN, "--set", f"prometheusRule.enabled=true,prometheusRule.runbooks={base}")
    groups = named(manifests)["PrometheusRule", "r-restow"]["spec"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert alerts
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == f"{base}/{rule['alert']}.md"


def test_what_is_taken_away_with_null_is_named() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def looked(where: str, described: Manifest, given: Any) -> None:
        described = schema["definitions"].get(described.get("$ref", "").rpartition("/")[2], described)
        if isinstance(given, dict) and "properties" in described and not where.endswith(".resources"):
            has_default = {name for name, value in given.items() if value is not None} - {"runAsUser"}
            assert has_default <= set(described["required"]), where
            for name, one in given.items():
                looked(f"{where}.{name}", described["properties"][name], one)

    looked("values", schema, values)


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

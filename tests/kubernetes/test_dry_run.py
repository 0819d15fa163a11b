"""Every mode of the chart before the real API server: nothing is refused, and nothing breaks the restricted profile."""

from pathlib import Path

import pytest
import yaml

from support.kubernetes import CHART, Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(300)]

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
CUSTOM = {
    "HTTPRoute",
    "KafkaTopic",
    "PodMonitor",
    "PrometheusRule",
    "ScaledObject",
    "ServiceMonitor",
    "TriggerAuthentication",
}
DRY = "restow-dry"


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_takes_every_mode_without_a_warning(cluster: Cluster, values: Path) -> None:
    cluster.namespace(DRY, **{"pod-security.kubernetes.io/warn": "restricted"})
    rendered = cluster.helm("template", "r", str(CHART), "-n", DRY, "-f", str(values))
    known = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] not in CUSTOM]
    accounts = [one for one in known if one["kind"] == "ServiceAccount"]
    cluster.apply(*accounts, namespace=DRY)  # a pod is admitted only beside its own
    done = cluster.tried("kubectl", "apply", "-n", DRY, "--dry-run=server", "-f", "-", given=yaml.safe_dump_all(known))
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert done.stdout.count("(server dry run)") == len(known)


def test_a_pod_that_breaks_the_profile_is_refused_there(cluster: Cluster) -> None:
    """The check above could not fail otherwise."""
    cluster.namespace(DRY)
    container = {"name": "c", "image": "restow/api:0.1.0", "securityContext": {"privileged": True}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    done = cluster.tried("kubectl", "apply", "-n", DRY, "--dry-run=server", "-f", "-", given=yaml.safe_dump(pod))
    assert "violates PodSecurity" in done.stderr

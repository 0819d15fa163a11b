"""A first look by what the chart's notes say: one pod, a host dies, the console shows it healed; in three minutes."""

import time

import pytest

from support.kubernetes import CHART, Cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(600)]

LOOK = "restow-look"
POD = "deployment/restow-embedded"
LIMIT_S = 180.0


def test_from_helm_install_to_the_first_healed_host_in_the_console_in_three_minutes(cluster: Cluster) -> None:
    cluster.namespace(LOOK)
    began = time.monotonic()
    said = cluster.helm(
        "install", "restow", str(CHART), "-n", LOOK, "--set", "mode=embedded", "--wait", "--timeout", "3m"
    )
    ready_s = time.monotonic() - began
    for command in (
        f"exec {POD} -- cat /data/admin.key",
        f"exec {POD} -- restow fault host-crash host-2",
        "helm test restow",
    ):
        assert command in said
    key = cluster.inside(LOOK, POD, "cat", "/data/admin.key").strip()
    cluster.inside(LOOK, POD, "restow", "fault", "host-crash", "host-2")
    cluster.program(LOOK, POD, "console", "http://127.0.0.1:8080", key, str(LIMIT_S))
    healed_s = time.monotonic() - began
    print(f"\nready after {ready_s:.0f} s, healed after {healed_s:.0f} s")
    assert healed_s < LIMIT_S
    cluster.helm("test", "restow", "-n", LOOK, "--timeout", "2m")


def test_the_data_outlive_the_pod(cluster: Cluster) -> None:
    key = cluster.inside(LOOK, POD, "cat", "/data/admin.key")
    cluster.kubectl("delete", "pod", "-n", LOOK, "-l", "app.kubernetes.io/component=embedded")
    cluster.rolled_out(LOOK, POD)
    assert cluster.inside(LOOK, POD, "cat", "/data/admin.key") == key
    assert "failed-host" in cluster.inside(LOOK, POD, "restow", "incidents", "list")
    cluster.helm("uninstall", "restow", "-n", LOOK, "--wait")

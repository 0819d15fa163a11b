"""From the version before to this one and back while stories are open; and what is left after removal."""

import time
from pathlib import Path
from typing import Any

import pytest

from support.installed import DATA, MANIFESTS, NAME, RELEASE, WATCHERS, Installed, peers
from support.kubernetes import until
from support.pressure import Load, judge

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(1800)]

ENDS_S = 90.0  # helm does not wait for pods to end; each has a minute
KINDS = "deployments,jobs,pods,services,configmaps,networkpolicies,poddisruptionbudgets,serviceaccounts,secrets,pvc"


CLOUD = {"kind": "address", "address": f"http://cloud.{DATA}.svc:8090"}  # one that no upgrade replaces


MAKE_KEY = (
    "import os, subprocess as s, time; "
    "s.run(['restow', 'keys', 'create', f'tests-{int(time.time())}', '--role', 'admin', "
    "'--database', os.environ['RESTOW_DATABASE_URL']], check=True)"
)


def before(installed: Installed) -> Path:
    """The sources of the version before: of the last commit that changed a migration."""
    found = installed.cluster.environment.get("RESTOW_BEFORE")
    if not found:
        pytest.skip("needs the repository with its history, or RESTOW_BEFORE")
    return Path(found)


def old_values(installed: Installed) -> dict[str, Any]:
    """The same installation, in the words of the chart of that time."""
    kept = ("policy",)
    return {
        **{name: installed.values[name] for name in kept},
        "image": {"tag": "before"},
        "cloud": CLOUD,
        "database": {"existingSecret": "database"},
        "kafka": {"bootstrap": f"kafka.{DATA}.svc:9093", "ports": [9093]},
        "settings": {
            "RESTOW_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "RESTOW_KAFKA_USERNAME": "restow",
            "RESTOW_KAFKA_CA_FILE": "/etc/restow-files/ca.crt", "RESTOW_KAFKA_PARTITIONS": "8",
        },
        "secretSettings": {"RESTOW_KAFKA_PASSWORD": {"secret": "kafka-user", "key": "password"}},
        "secretFiles": "authority",
        "services": {name: {"replicas": 2} for name in ("api", "detector", "executor", "planner")},
        "networkPolicy": {"apiFrom": peers(WATCHERS)},
    }  # fmt: skip


def left(installed: Installed) -> set[str]:
    found = installed.cluster.get(KINDS, "-n", RELEASE)["items"]
    return {f"{one['kind']}/{one['metadata']['name']}" for one in found}


OURS = {f"Secret/{name}" for name in ("database", "authority", "kafka-user", "api-keys")}
OF_THE_CLUSTER = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}


def test_open_stories_go_on_through_an_upgrade_and_a_rollback(installed: Installed) -> None:
    installed.cluster.helm("uninstall", NAME, "-n", RELEASE, "--wait")
    installed.cluster.kubectl("apply", "-n", DATA, "-f", str(MANIFESTS / "cloud.yaml"))
    installed.cluster.rolled_out(DATA, "deployment/cloud")
    chart = before(installed) / "deploy" / "helm" / "restow"
    old = Installed(installed.cluster, installed.folder, installed.key, old_values(installed), chart)
    old.install()
    key = old.cluster.inside(RELEASE, f"deployment/{NAME}-api", "python", "-c", MAKE_KEY).split()[-1]
    load = Load(installed.with_key(key), seed=3)
    load.start()
    time.sleep(20)
    now = installed.with_key(key)
    now.values = {**installed.values, "cloud": CLOUD}
    now.upgrade()
    time.sleep(20)
    installed.cluster.helm("rollback", NAME, "1", "-n", RELEASE, "--wait", "--timeout", "8m", timeout_s=600)
    time.sleep(20)
    load.stop()
    print(f"\n{judge(old.with_key(key), load)}")


def test_removal_leaves_what_the_page_says_and_nothing_else(installed: Installed) -> None:
    installed.cluster.helm("uninstall", NAME, "-n", RELEASE, "--wait")
    stays = OURS | OF_THE_CLUSTER | {f"Pod/{NAME}-test"}
    until(lambda: left(installed) <= stays, "all pods have ended", within_s=ENDS_S)

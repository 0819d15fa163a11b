"""Restow installed by its chart on a cluster of the tests, beside a Kafka and a PostgreSQL of their own."""

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from restow_api import keys
from support.kubernetes import CHART, ROOT, Cluster
from support.tls import Authority

RELEASE, DATA, WATCHERS, STRANGERS = "restow-tests", "restow-data", "restow-watchers", "restow-strangers"
MANIFESTS = ROOT / "tests" / "kubernetes" / "manifests"
DOMAINS = ("d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8")
NAME = "restow"
API = f"http://{NAME}.{RELEASE}.svc"
POLICY: dict[str, Any] = {
    "format": "restow.policy/1",
    "evidence": {"quorum": 2, "patience_s": 2, "returned_s": 3, "poll_s": 1, "source_silent_s": 10},
    "blast_radius": {"hosts": 3, "share": 0.5, "window_s": 10},
    "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
}


def peers(namespace: str) -> list[dict[str, Any]]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]


@dataclass
class Installed:
    """The release, and the key of its admin."""

    cluster: Cluster
    folder: Path
    key: str
    values: dict[str, Any]
    chart: Path = CHART

    def _values(self) -> str:
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(self.values))
        return str(file)

    def install(self, *words: str) -> str:
        return self._helm("install", *words)

    def upgrade(self, *words: str) -> str:
        return self._helm("upgrade", *words)

    def _helm(self, what: str, *words: str) -> str:
        return self.cluster.helm(
            what, NAME, str(self.chart), "-n", RELEASE, "-f", self._values(), "--wait", "--timeout", "8m", *words,
            timeout_s=600,
        )  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Over HTTP, from a pod that policy lets in, through the Service."""
        answer = self.cluster.program(
            WATCHERS, "deployment/watcher", "ask", method, API + path, self.key, json.dumps(body), json.dumps(headers)
        )
        return answer["status"], answer["body"]

    def with_key(self, key: str) -> "Installed":
        """The same, asked by somebody else."""
        return replace(self, key=key)

    def judged(self, *accepted: str) -> dict[str, Any]:
        """What the database, the broker and the cloud say of the whole story (tests/kubernetes/programs/judge.py)."""
        found: dict[str, Any] = self.cluster.program(
            RELEASE, f"deployment/{NAME}-executor", "judge", json.dumps(accepted), timeout_s=300
        )
        return found

    def pods(self, component: str) -> list[dict[str, Any]]:
        return self.cluster.pods(RELEASE, f"app.kubernetes.io/component={component}")


def prepare(cluster: Cluster, folder: Path) -> Installed:
    """Namespaces, Secrets, Kafka and PostgreSQL; nothing of Restow is installed yet."""
    passwords = {name: secrets.token_urlsafe(18) for name in ("broker", "restow", "watcher", "database")}
    authority = Authority(folder)
    cluster.namespace(RELEASE, restow_tests="release")
    cluster.namespace(DATA, restow_tests="data")
    cluster.namespace(WATCHERS, restow_tests="watchers")
    cluster.namespace(STRANGERS, restow_tests="strangers")
    _servers(cluster, authority, passwords)
    key_id, secret = keys.new_key()
    key = f"rk_{key_id}_{secret}"
    url = f"postgresql://restow:{passwords['database']}@postgres.{DATA}.svc:5432/restow"
    cluster.secret(RELEASE, "database", {"url": url})
    cluster.secret(RELEASE, "authority", {"ca.crt": authority.certificate})
    cluster.secret(RELEASE, "kafka-user", {"username": "restow", "password": passwords["restow"]})
    cluster.secret(RELEASE, "api-keys", {"keys": f"tests admin {key}\n"})
    cluster.secret(WATCHERS, "kafka-user", {"username": "watcher", "password": passwords["watcher"]})
    cluster.secret(WATCHERS, "authority", {"ca.crt": authority.certificate})
    for namespace, name in ((WATCHERS, "watcher"), (STRANGERS, "stranger")):
        text = (MANIFESTS / "client.yaml").read_text().replace("NAME", name)
        cluster.kubectl("apply", "-n", namespace, "-f", "-", given=text)
    for name in ("statefulset/kafka", "statefulset/postgres"):
        cluster.rolled_out(DATA, name)
    return Installed(cluster, folder, key, _values())


def _servers(cluster: Cluster, authority: Authority, passwords: dict[str, str]) -> None:
    certificate, key = authority.signed("kafka", f"kafka.{DATA}.svc", "localhost")
    cluster.secret(DATA, "kafka-server", {"server.pem": key + certificate, "ca.crt": authority.certificate})
    cluster.secret(
        DATA, "kafka-broker",
        {f"{name.upper()}_PASSWORD": passwords[name] for name in ("broker", "restow", "watcher")},
    )  # fmt: skip
    certificate, key = authority.signed("postgres", f"postgres.{DATA}.svc")
    cluster.secret(DATA, "postgres-server", {"tls.crt": certificate, "tls.key": key})
    cluster.secret(DATA, "postgres-admin", {"POSTGRES_PASSWORD": passwords["database"]})
    cluster.kubectl("apply", "-n", DATA, "-f", str(MANIFESTS / "data.yaml"))


def _values() -> dict[str, Any]:
    little = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    return {
        "database": {"existingSecret": "database", "tls": {"mode": "verify-full", "existingSecret": "authority"}},
        "kafka": {
            "bootstrap": f"kafka.{DATA}.svc:9093", "ports": [9093], "protocol": "SASL_SSL",
            "sasl": {"existingSecret": "kafka-user"}, "tls": {"existingSecret": "authority"},
        },
        "topics": {"partitions": 8},
        "apiKeys": {"existingSecret": "api-keys"},
        "policy": POLICY,
        "simulatedCloud": {"hosts": 6, "serversPerHost": 4, "domains": list(DOMAINS)},
        "services": {name: {"replicas": 1, "resources": little} for name in ("api", "detector", "executor", "planner")},
        "networkPolicy": {
            "apiFrom": peers(WATCHERS), "databaseTo": peers(DATA), "kafkaTo": peers(DATA),
        },
    }  # fmt: skip

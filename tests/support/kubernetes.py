"""A Kubernetes cluster for tests: the one that KUBECONFIG names, or one of processes, started here."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAB = ROOT / "tests" / "lab" / "k8s"
CHART = ROOT / "deploy" / "helm" / "restow"
PROGRAMS = ROOT / "tests" / "kubernetes" / "programs"
NEEDED = ("kubectl", "helm")
OF_THE_LAB = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "iptables", "java")
MISSING = (3, 69)  # exit codes of the labs for want of a tool
COMMAND_S = 300.0
MIGRATIONS = "shared/src/restow/database/migrations/versions"

Manifest = dict[str, Any]


@dataclass
class Cluster:
    """`kubectl` and `helm` on one cluster. A command that fails raises AssertionError with what it said."""

    environment: Mapping[str, str]
    helm_path: str = "helm"
    lab: Path | None = None
    namespaces: list[str] = field(default_factory=list)

    def run(self, *command: str, given: str | None = None, timeout_s: float = COMMAND_S) -> str:
        done = self.tried(*command, given=given, timeout_s=timeout_s)
        assert done.returncode == 0, f"{' '.join(command)[:400]}: {(done.stderr + done.stdout)[-3000:]}"
        return done.stdout

    def tried(
        self, *command: str, given: str | None = None, timeout_s: float = COMMAND_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=dict(self.environment),
            check=False,
        )

    def kubectl(self, *words: str, given: str | None = None, timeout_s: float = COMMAND_S) -> str:
        return self.run("kubectl", *words, given=given, timeout_s=timeout_s)

    def helm(self, *words: str, timeout_s: float = COMMAND_S) -> str:
        return self.run(self.helm_path, *words, timeout_s=timeout_s)

    def get(self, *words: str) -> Manifest:
        found: Manifest = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def apply(self, *manifests: Manifest, namespace: str | None = None) -> None:
        where = () if namespace is None else ("-n", namespace)
        self.kubectl("apply", *where, "-f", "-", given=yaml.safe_dump_all(manifests))

    def namespace(self, name: str, **labels: str) -> None:
        """A namespace that enforces the restricted Pod Security profile; gone at the end of the tests."""
        labels = {
            "pod-security.kubernetes.io/enforce": "restricted",
            **{key.replace("_", "-"): labels[key] for key in labels},
        }
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        if name not in self.namespaces:
            self.namespaces.append(name)

    def secret(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        metadata = {"name": name, "namespace": namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)})

    def inside(self, namespace: str, target: str, *command: str, timeout_s: float = COMMAND_S) -> str:
        """What a command says that runs in a pod (`deployment/NAME` for any of its pods)."""
        return self.kubectl("exec", "-n", namespace, target, "--", *command, timeout_s=timeout_s)

    def program(self, namespace: str, target: str, name: str, *words: str, timeout_s: float = COMMAND_S) -> Any:
        """What one of tests/kubernetes/programs finds out in a pod: its last line, which is JSON."""
        text = (PROGRAMS / f"{name}.py").read_text()
        said = self.inside(namespace, target, "python", "-c", text, *words, timeout_s=timeout_s)
        return json.loads(said.strip().splitlines()[-1])

    def pods(self, namespace: str, selector: str) -> list[Manifest]:
        """Those that run and are not on their way out."""
        return [
            pod
            for pod in self.get("pods", "-n", namespace, "-l", selector)["items"]
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def rolled_out(self, namespace: str, what: str, *, within_s: int = 180) -> None:
        """Wait until all of it is ready. Raises AssertionError with what its pods and the cluster say."""
        done = self.tried("kubectl", "rollout", "status", "-n", namespace, what, f"--timeout={within_s}s")
        if done.returncode != 0:
            said = [
                self.tried("kubectl", *words, "-n", namespace, "--tail=40" if words[0] == "logs" else "-o=wide")
                for words in (("get", "pods"), ("get", "events"), ("logs", what), ("logs", what, "--previous"))
            ]
            raise AssertionError(f"{what} is not ready: " + "\n".join(one.stdout + one.stderr for one in said)[-6000:])

    def process_of(self, namespace: str, pod: str, container: str) -> int:
        """Its process id on this machine; skips where the node is another machine."""
        if self.lab is None:
            pytest.skip("needs the node itself: only on the cluster that the tests start")
        return int((self.lab / "pods" / f"{namespace}_{pod}" / f"{container}.json.pid").read_text())

    def end(self) -> None:
        for name in self.namespaces:
            self.tried("kubectl", "delete", "namespace", name, "--wait=false")


def until(true: Callable[[], bool], what: str, *, within_s: float, every_s: float = 1.0) -> None:
    """Wait until it is so. Raises AssertionError."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)


def a_cluster(folder: Path) -> Iterator[Cluster]:
    """The cluster of KUBECONFIG, or one that is started in `folder`; skips with one line that says what is missing."""
    binaries = os.environ.get("BIN") or str(Path.home() / ".cache" / "k8s-lab" / "bin")
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}
    lab = not environment.get("KUBECONFIG")
    missing = [
        name for name in (*NEEDED, *(OF_THE_LAB if lab else ())) if shutil.which(name, path=environment["PATH"]) is None
    ]
    if missing:
        pytest.skip(
            f"missing: {', '.join(missing)}; name a cluster in KUBECONFIG, or build one: tests/lab/k8s/build.sh all"
        )
    if lab and ROOT.is_relative_to("/tmp"):
        pytest.skip("missing: a checkout outside /tmp, where each pod of the lab has a folder of its own")
    if lab:
        environment |= {"RUN": str(LAB / "images.json"), "RESTOW_SOURCE": str(ROOT), "RESTOW_VENV": str(venv())}
        if earlier := version_before(folder.parent / "before"):
            environment["RESTOW_BEFORE"] = str(earlier)
        environment.setdefault("KAFKA_LIBS", str(Path.home() / ".cache" / "kafka-libs"))
        if not list(Path(environment["KAFKA_LIBS"]).glob("kafka_*.jar")):
            _done([LAB.parent / "kafka" / "kafka.sh", "get"], environment)
        environment["KUBECONFIG"] = _done([LAB / "cluster.sh", "up", folder], environment).strip()
    cluster = Cluster(environment, lab=folder if lab else None)
    try:
        yield cluster
    finally:
        cluster.end()
        if lab:
            subprocess.run([LAB / "cluster.sh", "down", folder], env=environment, timeout=120, check=False)


def _done(command: list[str | Path], environment: Mapping[str, str]) -> str:
    """What it says. Skips with its one line where a tool is missing."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode in MISSING:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def version_before(folder: Path) -> Path | None:
    """The sources at the last commit that changed a migration, put in `folder`; None without its history."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run(
        [*git, "log", "-1", "--format=%H", "--", MIGRATIONS], capture_output=True, text=True, check=False
    )
    if found.returncode != 0 or not found.stdout.strip():
        return None
    folder.mkdir(parents=True)
    archive = subprocess.run([*git, "archive", found.stdout.strip()], capture_output=True, check=False)
    if archive.returncode != 0:
        return None
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def venv() -> Path:
    """Where the libraries of the running interpreter are: the pods of the lab use them too."""
    import sys

    return Path(sys.prefix)

"""The page on care, its commands run as they stand there: passwords replaced under load, a backup restored."""

import base64
import re
import secrets
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.installed import DATA, RELEASE, Installed
from support.kubernetes import ROOT, until
from support.pressure import Load, judge

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(1800)]

PAGE = ROOT / "docs" / "care.md"
EVACUATE = {"format": "restow.request/1", "goal": "evacuate", "hosts": ["host-2"], "domain": "d2", "mode": "propose"}
ENDS_S = 120.0  # a pod that is replaced has a minute
IN_KAFKA = """\
kubectl exec -n {data} kafka-0 -- bash -c '
  cd /tmp
  printf "%s\\n" security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 ssl.truststore.type=PEM \\
    ssl.truststore.location=/etc/kafka-server/ca.crt >admin.properties
  grep -h jaas.config server.properties | sed s/^listener.name.clients.scram-sha-512.// >>admin.properties
  KAFKA_HEAP_OPTS=-Xmx128m exec /opt/kafka/bin/kafka-configs.sh "$@"' -- "$@"
"""
IN_POSTGRES = """kubectl exec -n {data} postgres-0 -- sh -c 'cd /tmp && exec "$@"' -- {program} "$@"\n"""


def block(words: str) -> str:
    """The first indented lines of the page after these words."""
    found = re.search(r"(?m)^    .+(?:\n    .+)*", PAGE.read_text().split(words, 1)[1])
    assert found, words
    return textwrap.dedent(found.group())


@dataclass
class Shell:
    """Where a person types the commands of the page: in the release's namespace, beside the chart and its values."""

    installed: Installed
    folder: Path
    admin: str
    """The database, as its administrator."""

    def database(self) -> str:
        """Its URL in the Secret, as seen from beside the server."""
        held = self.installed.cluster.get("secret", "database", "-n", RELEASE)["data"]["url"]
        url = urlsplit(base64.b64decode(held).decode())
        return f"postgresql://{url.username}:{url.password}@{url.path}?host=/tmp"

    def type(self, commands: str, **names: str) -> str:
        for name, value in names.items():
            commands = commands.replace(name, value)
        commands = commands.replace("postgres:5432", f"postgres.{DATA}.svc:5432")
        commands = commands.replace("kafka:9093", f"kafka.{DATA}.svc:9093").replace("restow-database", "database")
        environment = {
            **self.installed.cluster.environment,
            "PATH": f"{self.folder / 'bin'}:{self.installed.cluster.environment['PATH']}",
            "KUBECONFIG": str(self.folder / "kubeconfig"), "ADMIN": self.admin, "DATABASE": self.database(),
        }  # fmt: skip
        done = subprocess.run(
            ["sh", "-euxc", commands], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=1200,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def shell(installed: Installed) -> Shell:
    folder = installed.folder
    binaries = folder / "bin"
    binaries.mkdir()
    texts = {"kafka-configs.sh": IN_KAFKA.format(data=DATA)}
    texts |= {name: IN_POSTGRES.format(data=DATA, program=name) for name in ("psql", "pg_dump", "pg_restore")}
    for name, text in texts.items():
        (binaries / name).write_text(f"#!/bin/sh\n{text}")
        (binaries / name).chmod(0o755)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(Path(installed.cluster.environment["KUBECONFIG"]).read_text())
    kubeconfig.chmod(0o600)
    installed.cluster.kubectl(
        "config", "set-context", "--current", f"--namespace={RELEASE}", f"--kubeconfig={kubeconfig}"
    )
    password = secrets.token_urlsafe(12)
    made = f"CREATE ROLE admin SUPERUSER LOGIN PASSWORD '{password}'"
    as_first = 'PGPASSWORD=$POSTGRES_PASSWORD exec psql -h /tmp -U restow -c "$0"'
    installed.cluster.inside(DATA, "postgres-0", "sh", "-c", as_first, made)
    return Shell(installed, folder, f"postgresql://admin:{password}@/restow?host=/tmp")


@pytest.fixture
def load(installed: Installed, shell: Shell) -> Iterator[Load]:
    running = Load(installed, seed=5)
    running.start()
    yield running
    if not running.found:
        running.stop()


def users(shell: Shell) -> set[str]:
    """Who is logged in at the database over the network."""
    asked = "SELECT DISTINCT usename FROM pg_stat_activity WHERE client_addr IS NOT NULL"
    return set(shell.type(f'psql "$ADMIN" -At -c "{asked}"').split())


def other_way_round(commands: str) -> str:
    """The second user's place is taken by the first."""
    other = {"restow": "restow-b", "restow-b": "restow"}
    return re.sub(r"(?<=entity-name )restow(?:-b)?|(?<=username=)restow-b", lambda one: other[one.group()], commands)


def test_a_second_user_of_the_database_and_of_the_broker_and_no_request_fails(shell: Shell, load: Load) -> None:
    new = {"NEW": secrets.token_urlsafe(12)}
    shell.type(block("**The password of PostgreSQL.**"), **new)
    until(lambda: users(shell) == {"restow_b"}, "all are the second user", within_s=ENDS_S)
    shell.type(block("**The password of Kafka.**"), **new)
    load.stop()
    assert not load.found["failed"], load.found["failed"][:5]
    print(f"\nsecond users: {load.found['requests']} requests, none failed; {judge(shell.installed, load)}")


def test_the_next_time_it_is_the_first_user_again(shell: Shell, load: Load) -> None:
    new = {"NEW": secrets.token_urlsafe(12)}
    shell.type(block("The next time it is the first user's turn"), **new)
    until(lambda: users(shell) == {"restow"}, "all are the first user", within_s=ENDS_S)
    shell.type(other_way_round(block("**The password of Kafka.**")), **new)
    load.stop()
    assert not load.found["failed"], load.found["failed"][:5]
    print(f"\nfirst users: {load.found['requests']} requests, none failed; {judge(shell.installed, load)}")


def test_passwords_changed_in_place_lose_nothing(shell: Shell, load: Load) -> None:
    new = {"NEW": secrets.token_urlsafe(12)}
    shell.type(block("**A password changed in place.**"), **new)
    load.stop()
    failed = len(load.found["failed"])
    print(f"\nin place: {load.found['requests']} requests, {failed} failed; {judge(shell.installed, load)}")


def test_a_backup_is_restored_and_what_was_open_goes_on(shell: Shell) -> None:
    ask = shell.installed.ask

    def waits_for(plan: str, *states: str) -> None:
        until(lambda: ask("GET", f"/v1/plans/{plan}")[1]["state"] in states, f"{plan} {states}", within_s=240)

    status, made = ask("POST", "/v1/plans", EVACUATE)
    assert status == 202, made
    waits_for(made["id"], "proposed")
    shell.type(block("With the services running:"))
    assert ask("POST", f"/v1/plans/{made['id']}/reject", {"why": "after the backup"})[0] == 202
    waits_for(made["id"], "rejected")
    restore = block("restore into an empty database, and start them again:")
    around = block("With the chart, around the restore")
    assert "# here the restore, as above" in around
    shell.type(around.replace("# here the restore, as above", restore))
    assert ask("GET", f"/v1/plans/{made['id']}")[1]["state"] == "proposed"
    assert ask("POST", f"/v1/plans/{made['id']}/approve")[0] == 202
    waits_for(made["id"], "finished", "stale")

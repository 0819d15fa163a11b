"""The command as a process: comes up, says so, drains on a signal, and ends with a code that tells why."""

import contextlib
import http.client
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from urllib.error import HTTPError, URLError

import pytest

from support.processes import free_port

COMMAND = [sys.executable, "-m", "restow.commands.main"]
UP_S = 60


def environment(**given: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if not key.startswith("RESTOW_")}, **given}


@contextlib.contextmanager
def process(*arguments: str, **variables: str) -> Iterator[subprocess.Popen]:
    running = subprocess.Popen(
        [*COMMAND, *arguments], env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=30)


def ended(*arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(**variables), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def fetched(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until_ready(url: str) -> None:
    until = time.monotonic() + UP_S
    while True:
        with contextlib.suppress(URLError, ConnectionError, TimeoutError):
            status, _ = fetched(f"{url}/readyz")
            if status == 200:
                return
        assert time.monotonic() < until, f"{url} is not ready in {UP_S} s"
        time.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_runs_everything_and_ends_well_on_a_signal(tmp_path, number):
    for _ in range(2):  # the second time on the same data
        with process("up", "--port", "0", "--data", f"{tmp_path}/data", "--speed", "10") as running:
            line = running.stdout.readline()
            url = line.split("Console and API: ")[1].split()[0].rstrip("/")
            until_ready(url)
            assert fetched(f"{url}/livez")[0] == 200
            assert "restow_events_handled_total" in fetched(f"{url}/metrics")[1]
            key = tmp_path / "data" / "admin.key"
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
            running.send_signal(number)
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 0, errors
            assert "Traceback" not in errors


def test_a_stopping_process_says_so_and_serves_on_without_holding_connections(tmp_path):
    with process("up", "--port", "0", "--data", f"{tmp_path}/data", RESTOW_STOP_DELAY_S="3") as running:
        url = running.stdout.readline().split("Console and API: ")[1].split()[0].rstrip("/")
        until_ready(url)
        held = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)

        def asked() -> tuple[int, str | None]:
            held.request("GET", "/livez")
            with held.getresponse() as answer:
                answer.read()
                return answer.status, answer.getheader("connection")

        assert asked() == (200, None)
        running.send_signal(signal.SIGTERM)
        until = time.monotonic() + 3
        while fetched(f"{url}/readyz")[0] == 200:
            assert time.monotonic() < until
        assert "this process is stopping" in fetched(f"{url}/readyz")[1]
        assert asked() == (200, "close")
        held.close()
        _, errors = running.communicate(timeout=60)
        assert running.returncode == 0, errors


def until_told(url: str, path: str, *, status: int, said: str) -> None:
    until = time.monotonic() + UP_S
    seen = (0, "")
    while seen[0] != status or said not in seen[1]:
        assert time.monotonic() < until, f"{url}{path} tells {seen}, not {status} with {said}"
        with contextlib.suppress(URLError, ConnectionError, TimeoutError):
            seen = fetched(url + path)
        time.sleep(0.1)


def asked_to_stop(running: subprocess.Popen, *, within_s: float) -> str:
    began = time.monotonic()
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert time.monotonic() - began < within_s
    assert "Traceback" not in errors
    return errors


@pytest.mark.parametrize("service", ["executor", "api"])
def test_a_container_without_its_database_lives_tells_what_it_waits_for_and_stops_when_asked(service):
    port = free_port()
    with process(
        "run", service, RESTOW_DATABASE_URL="postgresql://restow:pears@127.0.0.1:9/x", RESTOW_HTTP_HOST="127.0.0.1",
        RESTOW_HTTP_PORT=str(port), RESTOW_START_TIMEOUT_S="1", RESTOW_LOG_LVEL="debug",
    ) as running:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        until_told(url, "/readyz", status=503, said="RESTOW_DATABASE_URL=postgresql+asyncpg://restow:***@127.0.0.1:9/x")
        time.sleep(2)  # longer than commands wait
        assert running.poll() is None
        assert fetched(f"{url}/livez")[0] == 200
        assert "process_start_time_seconds" in fetched(f"{url}/metrics")[1]
        assert fetched(f"{url}/v1/plans")[0] == 503
        errors = asked_to_stop(running, within_s=5)
    assert "pears" not in errors
    assert errors.count("away: waiting for it") == 1  # and again a minute later
    (warning,) = (json.loads(line) for line in errors.splitlines() if "RESTOW_LOG_LVEL" in line)
    assert (warning["level"], warning["closest"]) == ("warning", "RESTOW_LOG_LEVEL")


def test_a_container_without_its_broker_runs_tells_what_it_waits_for_and_stops_when_asked(tmp_path):
    shared = {
        "RESTOW_DATABASE_URL": f"sqlite:///{tmp_path}/t.db", "RESTOW_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "RESTOW_START_TIMEOUT_S": "1", "RESTOW_HTTP_HOST": "127.0.0.1",
    }  # fmt: skip
    assert ended("db", "upgrade", **shared)[0] == 0
    port = free_port()
    with process("run", "executor", **shared, RESTOW_HTTP_PORT=str(port)) as running:
        url = f"http://127.0.0.1:{port}"
        until_told(url, "/readyz", status=503, said="RESTOW_KAFKA_BOOTSTRAP=127.0.0.1:9: waiting for the broker")
        time.sleep(2)
        assert running.poll() is None
        assert fetched(f"{url}/livez")[0] == 200
        assert "restow_broker_away_seconds" in fetched(f"{url}/metrics")[1]
        asked_to_stop(running, within_s=12)


def test_the_front_door_is_open_while_the_broker_is_away_and_tells_of_it(tmp_path):
    shared = {"RESTOW_DATABASE_URL": f"sqlite:///{tmp_path}/t.db", "RESTOW_KAFKA_BOOTSTRAP": "127.0.0.1:9"}
    assert ended("db", "upgrade", **shared)[0] == 0
    (tmp_path / "keys").write_text(ended("keys", "generate", "ann", "--role", "admin")[1])
    port = free_port()
    with process(
        "run", "api", **shared, RESTOW_HTTP_HOST="127.0.0.1", RESTOW_HTTP_PORT=str(port),
        RESTOW_API_KEYS_FILE=f"{tmp_path}/keys",
    ) as running:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        until_ready(url)
        until_told(url, "/metrics", status=200, said="restow_broker_away_seconds 3.")
        headers = {"Authorization": f"Bearer {(tmp_path / 'keys').read_text().split()[2]}"}
        body = b'{"format": "restow.request/1", "goal": "evacuate", "hosts": ["host-1"]}'
        asked = urllib.request.Request(
            f"{url}/v1/plans", data=body, headers={**headers, "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            plan = json.loads(answer.read())["id"]
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/plans/{plan}", headers=headers)) as answer:
            assert json.loads(answer.read())["state"] == "requested"
        asked_to_stop(running, within_s=15)


def test_a_command_without_its_database_ends_with_5_and_says_what_it_tried():
    code, _, errors = ended(
        "db", "upgrade", RESTOW_DATABASE_URL="postgresql://restow:pears@127.0.0.1:9/x", RESTOW_START_TIMEOUT_S="1"
    )
    assert code == 5
    assert "RESTOW_DATABASE_URL=postgresql+asyncpg://restow:***@127.0.0.1:9/x (tried for 1 s)" in errors
    assert "pears" not in errors
    assert "Traceback" not in errors


def test_a_command_without_its_broker_ends_with_5_and_says_what_it_tried():
    code, _, errors = ended("topics", "create", RESTOW_KAFKA_BOOTSTRAP="127.0.0.1:9", RESTOW_START_TIMEOUT_S="1")
    assert code == 5
    assert "RESTOW_KAFKA_BOOTSTRAP=127.0.0.1:9: no broker to work with (PLAINTEXT, tried for 1 s)" in errors


def test_what_is_forgotten_waits_for_no_broker(tmp_path):
    shared = {
        "RESTOW_DATABASE_URL": f"sqlite:///{tmp_path}/t.db", "RESTOW_KAFKA_BOOTSTRAP": "127.0.0.1:9",
    }  # fmt: skip
    assert ended("db", "upgrade", **shared)[0] == 0
    code, out, errors = ended("db", "forget", "--keep-days", "60", **shared)
    assert code == 0, errors
    assert "how long the broker keeps events was not told, 28 days by the settings: RESTOW_KAFKA_BOOTSTRAP" in out
    assert "nothing is old enough" in out
    code, _, errors = ended("db", "forget", "--keep-days", "28", **shared)
    assert code == 2
    assert "more than the 672 hours that the broker keeps" in errors


@pytest.mark.real
def test_what_is_done_is_remembered_for_as_long_as_the_broker_may_deliver_it_again(tmp_path, real_kafka):
    shared = {
        "RESTOW_DATABASE_URL": f"sqlite:///{tmp_path}/t.db", "RESTOW_KAFKA_BOOTSTRAP": real_kafka.address,
        "RESTOW_KAFKA_TOPIC_PREFIX": f"t{os.urandom(4).hex()}.", "RESTOW_KAFKA_PARTITIONS": "1",
    }  # fmt: skip
    assert ended("db", "upgrade", **shared)[0] == 0
    assert "created " in ended("topics", "create", **shared, RESTOW_KAFKA_HEALING_HOURS="2400")[1]
    out = ended("db", "forget", "--keep-days", "60", **shared)[1]
    assert "what is done is remembered for 107 days: the broker may deliver it again for so long" in out
    out = ended("topics", "create", **{**shared, "RESTOW_KAFKA_PARTITIONS": "2"})[1]
    assert "restow.healing.v1 is kept for 672 h, was 2400 h" in out
    assert "restow.healing.v1 has 1 partitions, asked for are 2" in out
    assert ended("db", "forget", "--keep-days", "60", **shared)[1] == "nothing is old enough\n"


def test_a_container_on_an_old_schema_ends_with_1_and_says_what_to_do(tmp_path):
    code, _, errors = ended("run", "executor", RESTOW_DATABASE_URL=f"sqlite:///{tmp_path}/t.db")
    assert code == 1
    assert "run `restow db upgrade`" in errors


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["run", "cook"], {}, "SERVICE: got 'cook', expected one of"),
        (["run", "executor"], {}, "RESTOW_DATABASE_URL: got '(absent)'"),
        (["up", "--snapshot", "/nowhere.json"], {}, "--snapshot: got '/nowhere.json', expected a readable file"),
        (["up"], {"RESTOW_HTTP_PORT": "many", "RESTOW_LOG_LEVEL": "loud"}, "RESTOW_LOG_LEVEL: got 'loud'"),
        (["up", "--speed", "-1"], {}, "--speed"),
        (["topics", "create"], {}, "RESTOW_KAFKA_BOOTSTRAP"),
        (["dead", "replay"], {}, "either an id or --all"),
        (["schema", "nothing"], {}, "NAME: got 'nothing'"),
        (["sing"], {}, "sing"),
    ],
)
def test_wrong_use_ends_with_2_and_names_what_is_wrong(arguments, variables, said):
    code, _, errors = ended(*arguments, **variables)
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors


def test_a_reader_that_leaves_early_is_no_error():
    for _ in range(3):
        with subprocess.Popen(
            [*COMMAND, "schema", "restow.command.plan.request"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            running.stdout.close()
            errors = running.stderr.read()
            assert (running.wait(timeout=30), errors) == (0, b"")


def test_the_schema_of_a_format_is_printed_as_json():
    code, out, _ = ended("schema", "cloud")
    assert code == 0
    assert json.loads(out)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.real
def test_services_in_processes_of_their_own_get_ready_and_drain_over_kafka_and_postgresql(real_kafka, postgres_url):
    shared = {
        "RESTOW_DATABASE_URL": postgres_url, "RESTOW_KAFKA_BOOTSTRAP": real_kafka.address, "RESTOW_HTTP_PORT": "0",
        "RESTOW_CLOUD": "simulated:?hosts=4",
    }  # fmt: skip
    assert ended("db", "upgrade", **shared)[0] == 0
    with process("run", "planner", **shared) as one, process("run", "executor", "detector", **shared) as two:
        for running in (one, two):
            for line in running.stderr:
                if '"ready"' in line:
                    until_ready(json.loads(line)["url"])
                    break
            else:
                pytest.fail("ended before it was ready")
        for running in (one, two):
            running.send_signal(signal.SIGTERM)
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 0, errors

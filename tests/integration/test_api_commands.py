"""The commands against a front door that listens: what is printed, and with which exit code they end."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from restow.commands.main import run
from restow.messages.events import PlanProposed, PlanState
from support.front_door import FrontDoor, a_front_door


@dataclass
class Listening:
    door: FrontDoor
    server: uvicorn.Server
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def does(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listening]:
    ready, kept = threading.Event(), []

    async def serve() -> None:
        async with a_front_door(tmp_path) as door:
            server = uvicorn.Server(uvicorn.Config(door.app, port=0, log_level="error", timeout_graceful_shutdown=5))
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            kept.append(Listening(door, server, asyncio.get_running_loop()))
            ready.set()
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    (made,) = kept
    (tmp_path / "admin.key").write_text(made.door.keys["admin"] + "\n")
    monkeypatch.delenv("RESTOW_KEY", raising=False)
    monkeypatch.setenv("RESTOW_URL", made.url)
    monkeypatch.setenv("RESTOW_DATA_DIR", str(tmp_path))
    yield made
    made.door.app.state.front.stopping = True
    made.server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["plans", "submit", "--goal", "evacuate", "--host", "host-1", *words]) == 0
    return capsys.readouterr().out.strip()


async def answered(door: FrontDoor, plan: str, outcome: str, *ends: str) -> None:
    command = next(event for event in await door.log() if event.subject == plan)
    proposed = PlanProposed(plan=plan, outcome=outcome, mode="propose", document="sha256:0", snapshot="sha256:0",
                            goal="evacuate", steps=0, moved_mib=0, makespan_s=0.0, blockers=0)  # fmt: skip
    await door.tell(
        door.effect(command, "restow.plan.proposed", proposed),
        *(door.effect(command, f"restow.plan.{end}", PlanState(plan=plan, by="t", why="so it is")) for end in ends),
    )


def test_a_plan_is_asked_for_looked_at_and_decided(listening: Listening, capsys):
    plan = asked(capsys, "--reason", "kernel")
    assert run(["plans", "list"]) == 0
    assert plan in capsys.readouterr().out
    assert run(["plans", "show", plan, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["request"]["reason"] == "kernel"
    assert run(["plans", "approve", plan]) == 1
    assert "requested" in capsys.readouterr().err
    listening.does(answered(listening.door, plan, "plan"))
    assert run(["plans", "approve", plan, "--why", "good"]) == 0
    assert run(["plans", "show", plan]) == 0
    assert "proposed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "end", "code"), [("plan", "finished", 0), ("plan", "failed", 1), ("impossible", "failed", 1),
                                 ("undecided", "failed", 1), ("plan", "cancelled", 1)],
)  # fmt: skip
def test_watching_ends_with_the_plan_and_tells_how(listening: Listening, capsys, outcome: str, end: str, code: int):
    plan = asked(capsys)
    listening.does(answered(listening.door, plan, outcome, end))
    assert run(["plans", "watch", plan]) == code
    assert f"plan.{end}" in capsys.readouterr().out


def test_a_watcher_sees_what_comes_later(listening: Listening, capsys):
    plan = asked(capsys)
    codes: list[int] = []
    watching = threading.Thread(target=lambda: codes.append(run(["plans", "watch", plan])))
    watching.start()
    listening.does(answered(listening.door, plan, "plan", "finished"))
    watching.join(20)
    assert codes == [0]


def test_bad_input_names_the_field_and_ends_with_2(listening: Listening, capsys, tmp_path: Path):
    assert run(["plans", "submit", "--goal", "evacuate", "--host", "hots-1"]) == 2
    assert "hosts.0" in (told := capsys.readouterr().err)
    assert "host-1" in told
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for words in (["plans", "submit"], ["plans", "submit", str(broken)], ["plans", "submit", "no-such-file"],
                  ["fault", "flood", "host-1"], ["fault", "host-crash"], ["keys", "create", "x y", "--role", "viewer"],
                  ["keys", "create", "x", "--role", "root"], ["policies", "validate", "no-such-file"]):  # fmt: skip
        assert run(words) == 2, words
        assert capsys.readouterr().err, words


def test_not_allowed_and_not_reachable_end_with_5(listening: Listening, capsys, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("RESTOW_KEY", listening.door.keys["viewer"])
    assert run(["plans", "submit", "--goal", "rebalance"]) == 5
    assert "role" in capsys.readouterr().err
    monkeypatch.setenv("RESTOW_KEY", "nonsense")
    assert run(["hosts", "list"]) == 5
    monkeypatch.delenv("RESTOW_KEY")
    assert run(["hosts", "list", "--data", str(tmp_path / "nowhere")]) == 5
    assert "admin.key" in capsys.readouterr().err
    assert run(["hosts", "list", "--url", "http://127.0.0.1:1"]) == 5
    assert "does not answer" in capsys.readouterr().err


def test_keys_are_made_once_and_revoked(listening: Listening, capsys):
    assert run(["keys", "create", "ci", "--role", "viewer"]) == 0
    key = capsys.readouterr().out.split()[-1]
    assert key.startswith("rk_")
    assert run(["keys", "list"]) == 0
    assert key not in (listed := capsys.readouterr().out)
    assert "ci" in listed
    assert run(["keys", "revoke", "ci"]) == 0
    assert run(["keys", "revoke", "ci"]) == 1


def test_a_first_key_can_be_made_on_the_database_itself(listening: Listening, capsys, monkeypatch, tmp_path: Path):
    assert run(["keys", "create", "first", "--role", "admin", "--database", f"sqlite:///{tmp_path}/t.db"]) == 0
    monkeypatch.setenv("RESTOW_KEY", capsys.readouterr().out.split()[-1])
    assert run(["keys", "list", "--json"]) == 0
    assert "first" in [one["name"] for one in json.loads(capsys.readouterr().out)]


def test_the_rest_of_the_front_door_is_there(listening: Listening, capsys, tmp_path: Path):
    snapshot, policy = tmp_path / "cloud.json", tmp_path / "policy.yaml"
    assert run(["snapshot", "-o", str(snapshot)]) == 0
    assert json.loads(snapshot.read_text())["format"] == "restow.cloud/1"
    assert run(["policies", "show"]) == 0
    policy.write_text(capsys.readouterr().out)
    for words in (
        ["policies", "validate", str(policy)],
        ["policies", "put", str(policy)],
        ["hosts", "list"],
        ["hosts", "show", "host-1"],
        ["servers", "list", "--host", "host-1"],
        ["servers", "show", "s1"],
        ["incidents", "list"],
        ["events", "list", "--topic", "all"],
        ["hosts", "maintenance", "host-1"],
        ["hosts", "maintenance", "host-1", "--off"],
        ["fault", "host-crash", "host-1"],
        ["fault", "clear"],
    ):
        assert run(words) == 0, (words, capsys.readouterr())
    assert run(["hosts", "show", "host-9"]) == 1
    assert listening.door.ports[0].faults == [("host-crash", "host-1"), ("clear", None)]


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://door", "http://", "http://door:port", "door"])
def test_an_address_that_is_none_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, url: str):
    monkeypatch.setenv("RESTOW_URL", url)
    monkeypatch.setenv("RESTOW_KEY", "k")
    assert run(["hosts", "list"]) == 2
    assert "RESTOW_URL" in capsys.readouterr().err


def test_a_fault_is_not_cleared_on_a_host_that_is_not_there(listening: Listening, capsys):
    assert run(["fault", "clear", "host-9"]) == 2
    assert "host-1" in capsys.readouterr().err


def test_a_host_in_maintenance_is_listed_so(listening: Listening, capsys):
    assert run(["hosts", "maintenance", "host-1"]) == 0
    assert run(["hosts", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("host-1"))
    assert "up, maintenance" in line


def test_a_policy_that_heals_nothing_is_put_with_a_warning(listening: Listening, capsys, tmp_path: Path):
    (tmp_path / "policy.yaml").write_text("format: restow.policy/1\nrules: []\n")
    for verb in ("validate", "put"):
        assert run(["policies", verb, str(tmp_path / "policy.yaml")]) == 0
        assert "no incident is healed" in capsys.readouterr().err

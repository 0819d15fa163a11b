"""The executor killed on a real OpenStack at every write of a step of every kind, and right after the cloud was asked.

One process after the other works on the same journal, each killed by SIGKILL at its own moment of the same step; the
last one is left alive. What Nova itself keeps of it must show that it was asked once.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from restow.database.engine import Database, event_of
from restow.database.schema import upgrade
from restow.database.tables import EventRow
from restow.messages.plan import Action
from restow_executor.actions import ACTIONS
from support import mortal_executor
from support.executing import ENDS, put_approved, step
from support.openstack_lab import FOLDER, HOSTS, until
from support.port_beds import DOMAIN
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
AT_ONCE = 6  # stories; each mostly waits
STORY_S = 500.0
LEASE_S = 3.0
SERVERS = {
    "live": HOSTS[0], "cold": HOSTS[0], "start": HOSTS[2], "stop": HOSTS[2], "shelve": HOSTS[2], "dead": HOSTS[7],
}  # fmt: skip
DEAD, ALSO_DEAD, CLOSED, EMPTY, OFF = HOSTS[7], HOSTS[9], HOSTS[4], HOSTS[5], HOSTS[6]


@dataclass(frozen=True)
class Story:
    """The step "it" of one kind; `call` is what it asks of the cloud, `first` the steps before it."""

    call: str
    it: dict[str, Any]
    first: tuple[Any, ...] = ()
    server: str = ""
    ends: str = ""  # Nova's word for a migration that ended well
    action: str = ""  # or Nova's word for an action on a server
    deaths: tuple[tuple[str, str, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        deaths = (
            ("before", "it", "started"), ("after", "it", "started"), ("after", self.call, "asked"),
            ("before", "it", "ended"), ("after", "it", "ended"),
        )  # fmt: skip
        object.__setattr__(self, "deaths", deaths)


def stories(ids):
    def moved(name, source, target):
        return {"server": ids[name], "source": source, "target": target}

    fenced = (step("fence", Action.FENCE, host=DEAD),)
    here = {name: {"server": ids[name], "source": HOSTS[2]} for name in ("start", "stop", "shelve")}
    return {
        Action.EVACUATE: Story("evacuate", moved("dead", DEAD, HOSTS[8]), fenced, "dead", ends="done"),
        Action.POWER_ON: Story("power", {"host": OFF}),
        Action.POWER_OFF: Story("power", {"host": EMPTY}),
        Action.FENCE: Story("power", {"host": ALSO_DEAD}),
        Action.LIVE_MIGRATE: Story("live_migrate", moved("live", HOSTS[0], HOSTS[1]), (), "live", ends="completed"),
        Action.COLD_MIGRATE: Story("cold_migrate", moved("cold", HOSTS[0], HOSTS[1]), (), "cold", ends="confirmed"),
        Action.START: Story("start", {**here["start"], "target": HOSTS[2]}, (), "start", action="start"),
        Action.STOP: Story("stop", here["stop"], (), "stop", action="stop"),
        Action.SHELVE: Story("shelve", here["shelve"], (), "shelve", action="shelve"),
        Action.DISABLE_HOST: Story("disable", {"host": HOSTS[3]}),
        Action.ENABLE_HOST: Story("enable", {"host": CLOSED}),
    }


@pytest.fixture
def lab(openstack_lab):
    openstack_lab.clean()
    yield openstack_lab
    openstack_lab.clean()


def settings_in(folder: Path) -> Path:
    machine = [sys.executable, str(FOLDER / "machine.py")]
    file = folder / "openstack.yaml"
    probe = {"source": "storage", "command": [*machine, "alive"]}
    power = {"driver": "command", "command": machine}
    document = {"format": "restow.openstack/1", "disks": "shared", "power": power, "probes": [probe]}
    file.write_text(yaml.safe_dump(document))
    return file


async def approve(url: str, story: Story, action: Action) -> None:
    await upgrade(url)
    database = Database(url)
    now = datetime.now(UTC)
    it = step("it", action, after=[one.id for one in story.first], **story.it)
    async with database.writing() as transaction:
        await put_approved(
            transaction, f"p-{action}", [*story.first, it], id=f"approved-{action}", at=now, planned_at=now,
            domain=DOMAIN,
        )  # fmt: skip
    await database.close()


async def told(url: str) -> list[Any]:
    database = Database(url)
    try:
        async with database.reading() as session:
            return [event_of(row) for row in (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()]
    finally:
        await database.close()


def journal_in(folder: Path) -> str:
    return f"sqlite:///{folder}/executor.db"


def lived_through(folder: Path, clouds_file: Path, action: Action, story: Story) -> list[Any]:
    """The whole story; the events that it told."""
    url = journal_in(folder)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RESTOW_") or "LAB" in key},
        "OS_CLIENT_CONFIG_FILE": str(clouds_file), "RESTOW_OPENSTACK_FILE": str(settings_in(folder)),
        "RESTOW_DATABASE_URL": url, "RESTOW_CLOUD": "openstack:lab", "RESTOW_HTTP_HOST": "127.0.0.1",
        "PYTHONPATH": str(Path(mortal_executor.__file__).parents[1]), "RESTOW_HTTP_PORT": "0",
        "RESTOW_EXECUTOR_LEASE_TTL_S": str(LEASE_S), "RESTOW_EXECUTOR_IDLE_S": "0.3",
    }  # fmt: skip
    deadline = time.monotonic() + STORY_S
    for death in (*story.deaths, ()):
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, mortal_executor.__file__, *death], env=environment, stdout=log, stderr=log
            )
        try:
            while process.poll() is None and (death or not ended(url)):
                text = (folder / "log").read_text(errors="replace")[-3000:]
                assert time.monotonic() < deadline, f"{action} {death}: {text}"
                time.sleep(0.2)
            if death:
                assert process.returncode == -signal.SIGKILL, f"{action} {death}: {process.returncode}"
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
    return asyncio.run(told(url))


def ended(url: str) -> bool:
    return any(event.type in ENDS for event in asyncio.run(told(url)))


def prepared(lab):
    """Servers, hosts that are closed, off or dead: what the steps are about."""
    ids = lab.boot(SERVERS, metadata={"lab_live_migration_seconds": "0.5"})
    assert lab.act(ids["start"], {"os-stop": None}) == 202
    lab.machine(OFF, "off")
    services = lab.services()
    for host in (CLOSED, EMPTY):
        lab.cloud.compute.put(f"/os-services/{services[host]['id']}", json={"status": "disabled"}, microversion="2.96")
    for host in (DEAD, ALSO_DEAD):
        lab.machine(host, "crash")
    until("one is stopped", lambda: lab.server(ids["start"])["status"] == "SHUTOFF")
    until("the dead are down", lambda: all(lab.services()[host]["state"] == "down" for host in (DEAD, ALSO_DEAD, OFF)))
    return ids


def test_killed_at_every_write_of_every_kind_of_step_it_asks_nova_once_and_comes_to_its_end(lab, tmp_path, capsys):
    ids = prepared(lab)
    every = stories(ids)
    assert set(every) == {action.name for action in ACTIONS}
    for action, story in every.items():
        (tmp_path / action.value).mkdir()
        asyncio.run(approve(journal_in(tmp_path / action.value), story, action))
    began = time.monotonic()
    with Watcher(lab) as watcher, ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            action: pool.submit(lived_through, tmp_path / action.value, lab.clouds_file, action, story)
            for action, story in every.items()
        }  # fmt: skip
        results = {action: one.result() for action, one in running.items()}
    assert watcher.broken == []
    with capsys.disabled():
        deaths = sum(len(story.deaths) for story in every.values())
        print(f"\n  {deaths} processes killed in {len(every)} kinds of steps, {time.monotonic() - began:.0f} s")
    for action, events in results.items():
        (end,) = [event for event in events if event.type in ENDS]
        assert (end.type, end.data["counts"]) == (
            "restow.plan.finished", {"finished": 1 + len(every[action].first)},
        ), action  # fmt: skip
        changes = Counter((event.type, event.data["step"]) for event in events if event.type.startswith("restow.step."))
        assert set(changes.values()) == {1}, (action, changes)

    for action, story in every.items():
        server = ids.get(story.server, "")
        if story.ends:
            assert [one["status"] for one in lab.migrations(server)] == [story.ends], action
        if story.action:
            actions = lab.get(f"/servers/{server}/os-instance-actions")["instanceActions"]
            before = 1 if story.server == "start" and story.action == "stop" else 0
            assert [one["action"] for one in actions].count(story.action) == 1 + before, action
    ends = {one["name"]: (one["OS-EXT-SRV-ATTR:host"], one["status"]) for one in lab.servers()}
    assert ends == {
        "live": (HOSTS[1], "ACTIVE"), "cold": (HOSTS[1], "ACTIVE"), "dead": (HOSTS[8], "ACTIVE"),
        "start": (HOSTS[2], "ACTIVE"), "stop": (HOSTS[2], "SHUTOFF"), "shelve": (None, "SHELVED_OFFLOADED"),
    }  # fmt: skip
    services = lab.services()
    assert {host for host, one in services.items() if one["forced_down"]} == {DEAD, ALSO_DEAD}
    assert {host for host, one in services.items() if one["status"] == "disabled"} == {HOSTS[3], EMPTY}
    powers = {host: lab.machine(host, "status").strip() for host in (DEAD, ALSO_DEAD, EMPTY, OFF)}
    assert powers == {DEAD: "off", ALSO_DEAD: "off", EMPTY: "off", OFF: "on"}

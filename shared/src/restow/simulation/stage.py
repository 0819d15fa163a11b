"""The demonstration's stage: every service in this process, a real HTTP port on loopback, then the verdict."""

import asyncio
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import httpx2
from rich.console import Console
from rich.table import Table

from restow.clock import ScaledClock
from restow.cloud.connect import connect
from restow.cloud.model import Cloud
from restow.cloud.simulated.cloud import SimulatedClouds
from restow.cloud.simulated.options import SimulationOptions
from restow.cloud.snapshot import read_cloud
from restow.database.engine import Database
from restow.database.schema import upgrade_database
from restow.runtime.blocking import ThreadBlocking
from restow.runtime.health import HttpServer
from restow.runtime.installation import Installation
from restow.runtime.logs import set_up_logs
from restow.runtime.run import first_start, lease_times, random_id
from restow.runtime.service import Context
from restow.simulation.demo import Act, Story, StoryError
from restow.simulation.witness import Verdict, Witness, as_json, installed_referee

DEMO_HOSTS = 12


def run_demo(*, snapshot: Path | None, speed: float, seed: int, report: Path | None) -> bool:
    """Play the story and judge it; True if every act went well and every promise held."""
    set_up_logs(level="error", form="console")
    console = Console()
    given = read_cloud(snapshot.read_bytes(), what=str(snapshot)) if snapshot else None
    data = Path(tempfile.mkdtemp(prefix="restow-demo-"))
    try:
        acts, verdicts = asyncio.run(_play(console, data, given, speed=speed, seed=seed))
    finally:
        shutil.rmtree(data, ignore_errors=True)
    _print(console, acts, verdicts)
    if report is not None:
        report.write_text(as_json(verdicts, seed=seed, at=datetime.now(UTC)), encoding="utf-8")
    return bool(acts) and all(act.held for act in acts) and all(verdict.held for verdict in verdicts)


async def _play(
    console: Console, data: Path, given: Cloud | None, *, speed: float, seed: int
) -> tuple[list[Act], tuple[Verdict, ...]]:
    clock = ScaledClock(datetime.now(UTC), speed=speed)
    database = Database(f"sqlite:///{data}/restow.db")
    await upgrade_database(database)
    options = SimulationOptions(service_down_time_s=10.0, live_migrations_per_source_max=2)
    url = f"simulated:?hosts={DEMO_HOSTS}" if given is None else "simulated:"
    clouds = connect(url, clock=clock, snapshot=given, seed=seed, options=options)
    assert isinstance(clouds, SimulatedClouds)
    blocking = ThreadBlocking(2)
    context = Context(
        clock=clock,
        database=database,
        clouds=clouds,
        blocking=blocking,
        instance="demo",
        new_id=random_id,
        environment=lease_times(speed),
    )
    await first_start(database, clock, data)
    key = (data / "admin.key").read_text(encoding="utf-8").strip()
    installation = Installation(context)
    await installation.start()
    app = installation.app
    assert app is not None, "the demonstration needs the api: install restow-api"
    app.state.checks = list(installation.checks())
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    size = sum(len(cloud.given.servers) for cloud in map(clouds.port, clouds.domains()))
    hosts = sum(len(cloud.given.hosts) for cloud in map(clouds.port, clouds.domains()))
    console.print(f"{hosts} hosts, {size} servers, {speed:g} simulated seconds a second; console at {server.url}/")
    try:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=60.0) as http:
            acts = await Story(http, console).play()
        simulated = {name: clouds.port(name) for name in clouds.domains()}
        verdicts = await Witness(simulated, database, installed_referee()).judge(settled=False)
    except StoryError as error:
        console.print(f"[red]{error}")
        acts, verdicts = [], ()
    finally:
        await installation.stop(drain_s=5.0)
        await server.stop()
        blocking.close()
        await database.close()
    return acts, verdicts


def _print(console: Console, acts: list[Act], verdicts: tuple[Verdict, ...]) -> None:
    story = Table(title="The story", show_lines=False)
    for column in ("", "act", "what came of it"):
        story.add_column(column, overflow="fold")
    for act in acts:
        story.add_row("[green]ok[/green]" if act.held else "[red]NO[/red]", act.title, act.facts)
    console.print(story)
    promises = Table(title="The promises")
    for column in ("", "promise", "what was looked at"):
        promises.add_column(column, overflow="fold")
    for verdict in verdicts:
        mark = "[green]held[/green]" if verdict.held else "[red]BROKEN[/red]"
        promises.add_row(mark, f"{verdict.promise}. {verdict.text}", verdict.facts)
    console.print(promises)

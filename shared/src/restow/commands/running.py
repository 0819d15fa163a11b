"""Commands that run things: `up`, `run`, `simulated-cloud`. They wire; `restow.runtime.run` does the work."""

import asyncio
import os
import platform
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from restow.cloud.model import Cloud
    from restow.runtime.settings import Settings

Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)]
SEED_MAX = 2**63 - 1
SPEED_MAX = 100_000.0
LOCK = "in-use"


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("run")(run)
    app.command("simulated-cloud")(simulated_cloud)


def up(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
    data: Annotated[
        Path | None, typer.Option(help="Where the database and the first key are kept [default: RESTOW_DATA_DIR].")
    ] = None,
    snapshot: Annotated[Path | None, typer.Option(help="A cloud to simulate, in the format restow.cloud/1.")] = None,
    cloud: Annotated[
        str | None, typer.Option(help="A cloud of clouds.yaml, or a URL, in place of a simulated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated cloud.", min=0, max=SEED_MAX)] = 1,
    speed: Annotated[float, typer.Option(help="Simulated seconds in a second.", min=0.01, max=SPEED_MAX)] = 1.0,
) -> None:
    """Every installed service in one process, on a simulated cloud unless told otherwise.

    A simulated cloud begins anew with each start; the database with its plans and keys stays.
    """
    from restow.errors import BadInputError, FieldError
    from restow.runtime.logs import set_up_logs
    from restow.runtime.settings import read_settings

    given: dict[str, Any] = {"http_host": host, "http_port": port, **({} if data is None else {"data_dir": data})}
    form = {} if os.environ.get("RESTOW_LOG_FORMAT") else {"log_format": "console"}
    settings = read_settings(os.environ, **given, **form)
    if snapshot is not None and cloud is not None:
        raise BadInputError("usage", (FieldError("--cloud", cloud, "either --snapshot or --cloud"),))
    url = settings.cloud if cloud is None else cloud if ":" in cloud else f"openstack:{cloud}"
    simulated = url.startswith("simulated")
    if not simulated and (speed != 1.0 or snapshot is not None):
        name, value = ("--speed", str(speed)) if speed != 1.0 else ("--snapshot", str(snapshot))
        raise BadInputError("usage", (FieldError(name, value, f"none with the cloud {url}: only time we simulate"),))
    set_up_logs(level=settings.log_level, form=settings.log_format)
    asyncio.run(_up(settings, url=url, snapshot=snapshot, seed=seed, speed=speed if simulated else None))


async def _up(settings: "Settings", *, url: str, snapshot: Path | None, seed: int, speed: float | None) -> None:
    from restow.errors import BadInputError, FieldError

    start = None if snapshot is None else _read_snapshot(snapshot)
    folder = settings.data_dir.expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        expected = f"a folder to write to ({error.strerror})"
        raise BadInputError("usage", (FieldError("--data", str(folder), expected),)) from error
    with _held(folder):
        await _live(settings, folder, url=url, start=start, seed=seed, speed=speed)


async def _live(
    settings: "Settings", folder: Path, *, url: str, start: "Cloud | None", seed: int, speed: float | None
) -> None:
    from restow.clock import Clock, ScaledClock, SystemClock
    from restow.cloud.connect import connect
    from restow.database.engine import Database
    from restow.database.schema import upgrade_database
    from restow.runtime.run import Process, first_start, latest_time, lease_times

    secret = settings.database_url
    database = Database(secret.get_secret_value() if secret else f"sqlite:///{folder / 'restow.db'}")
    await upgrade_database(database)
    clock: Clock = SystemClock()
    if speed is not None:
        now, newest = clock.now(), await latest_time(database)
        clock = ScaledClock(now if newest is None else max(now, newest), speed=speed)
    clouds = connect(url, clock=clock, snapshot=start, seed=seed)
    await first_start(database, clock, folder)
    environment = {**lease_times(speed or 1.0), **os.environ, "RESTOW_DATA_DIR": str(folder)}
    process = Process(settings, clock, database, clouds, environment)

    def tell(address: str) -> None:
        key = folder / "admin.key"
        _say(f"Restow is up. Console and API: {address}/" + (f"   key: {key}" if key.exists() else ""))
        _say("Stop it with Ctrl-C.")

    process.on_ready = tell
    await process.run()


def _held(folder: Path) -> IO[str]:
    """The folder kept for this process as long as the file is open: two would act on one database, each for itself.

    The kernel lets go of it when the process dies, however it does. Raises BadInputError that names who holds it.
    """
    import fcntl

    from restow.errors import BadInputError, FieldError

    try:
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        expected = f"a folder to write to ({error.strerror})"
        raise BadInputError("usage", (FieldError("--data", str(folder), expected),)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with file:
            file.seek(0)
            holder = file.read().strip() or "another process"
        expected = f"a folder that nobody uses: {holder} holds it"
        raise BadInputError("usage", (FieldError("--data", str(folder), expected),)) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node() or 'this machine'} (restow up)\n")
    file.flush()
    return file


def run(
    services: Annotated[list[str], typer.Argument(help="detector, planner, executor, api: those of this process.")],
) -> None:
    """Services of one container; everything else comes from RESTOW_… variables."""
    from restow.errors import BadInputError, FieldError
    from restow.runtime.installation import installed
    from restow.runtime.logs import set_up_logs
    from restow.runtime.run import run_services
    from restow.runtime.settings import read_settings

    for name in services:
        if name not in installed():
            raise BadInputError("usage", (FieldError("SERVICE", name, "one of " + ", ".join(installed())),))
    settings = read_settings(os.environ)
    settings.database()
    set_up_logs(level=settings.log_level, form=settings.log_format)
    asyncio.run(run_services(dict.fromkeys(services), settings, os.environ))


def simulated_cloud(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8090,
    snapshot: Annotated[Path | None, typer.Option(help="A cloud to simulate, in the format restow.cloud/1.")] = None,
    cloud: Annotated[str, typer.Option(help="simulated: with its options, for example simulated:?hosts=20")] = (
        "simulated:"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the simulated cloud.", min=0, max=SEED_MAX)] = 1,
) -> None:
    """The simulated cloud alone, over HTTP, for services that run in other processes."""
    from restow.clock import SystemClock
    from restow.cloud.connect import connect
    from restow.cloud.simulated.cloud import SimulatedClouds
    from restow.cloud.simulated.server import app
    from restow.errors import BadInputError, FieldError
    from restow.runtime.logs import set_up_logs
    from restow.runtime.settings import read_settings

    settings = read_settings(os.environ)
    start = None if snapshot is None else _read_snapshot(snapshot)
    clouds = connect(cloud, clock=SystemClock(), snapshot=start, seed=seed)
    if not isinstance(clouds, SimulatedClouds):
        raise BadInputError("usage", (FieldError("--cloud", cloud, "simulated: with its options"),))
    set_up_logs(level=settings.log_level, form=settings.log_format)
    asyncio.run(_serve(app(clouds), host=host, port=port))


async def _serve(app: object, *, host: str, port: int) -> None:
    import signal

    from restow.runtime.health import HttpServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = HttpServer(app, host=host, port=port)
    await server.start()
    _say(f"The simulated cloud is up: {server.url}")
    await stop.wait()
    await server.stop()


def _read_snapshot(file: Path) -> "Cloud":
    from restow.cloud.snapshot import read_cloud
    from restow.errors import BadInputError, FieldError

    try:
        body = file.read_bytes()
    except OSError as error:
        expected = f"a readable file ({error.strerror})"
        raise BadInputError("usage", (FieldError("--snapshot", str(file), expected),)) from error
    return read_cloud(body, what=str(file))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

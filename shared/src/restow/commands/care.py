"""Commands that care for an installation: `db`, `topics`, `dead`, `schema`, `version`."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from restow.database.engine import Database
    from restow.log.dead import Letter
    from restow.runtime.settings import Settings

T = TypeVar("T")
REASON_SHOWN = 100
ASK_BROKER_S = 10.0


def register(app: typer.Typer) -> None:
    db = typer.Typer(help="The database: its schema, and how long it remembers.", no_args_is_help=True)
    db.command("upgrade")(upgrade)
    db.command("forget")(forget)
    db.command("revise", hidden=True)(revise)
    app.add_typer(db, name="db")
    topics = typer.Typer(help="The topics of the broker.", no_args_is_help=True)
    topics.command("create")(create)
    app.add_typer(topics, name="topics")
    dead = typer.Typer(help="Events that could not be handled.", no_args_is_help=True)
    dead.command("list")(list_dead)
    dead.command("replay")(replay)
    app.add_typer(dead, name="dead")
    app.command("schema")(schema)
    app.command("version")(version)


def upgrade() -> None:
    """Bring the database at RESTOW_DATABASE_URL to this version's schema; again does nothing."""
    from restow.database.schema import upgrade_database

    _say(f"schema {_with_database(upgrade_database)}")


def forget(
    *,
    keep_days: Annotated[int, typer.Option(help="Stories that ended longer ago go.", min=1)] = 90,
    keep_audit_days: Annotated[int, typer.Option(help="The same for the audit.", min=1)] = 400,
) -> None:
    """Forget stories that ended long ago; those that have not ended stay. For a nightly job."""
    from datetime import UTC, datetime

    from restow.database.retention import forget as forget_stories
    from restow.errors import BadInputError, FieldError
    from restow.runtime.logs import set_up_logs
    from restow.runtime.settings import read_settings

    settings = read_settings(os.environ)
    hours = max(settings.kafka_commands_hours, settings.kafka_healing_hours, settings.kafka_telemetry_hours)
    if keep_days * 24 <= hours:
        expected = f"more than the {hours} hours that the broker keeps: what it may deliver again must be known here"
        raise BadInputError("usage", (FieldError("--keep-days", keep_days, expected),))
    set_up_logs(level="warning", form="console")
    keep, keep_audit = timedelta(days=keep_days), timedelta(days=keep_audit_days)
    keep_inbox = max(keep, _held_by_the_broker(settings, configured=timedelta(hours=hours)))
    if keep_inbox > keep:
        _say(f"what is done is remembered for {_days(keep_inbox)}: the broker may deliver it again for so long")
    now = datetime.now(UTC)
    gone = _with_database(
        lambda database: forget_stories(database, now=now, keep=keep, keep_audit=keep_audit, keep_inbox=keep_inbox)
    )
    _say(", ".join(f"{many} of {name}" for name, many in sorted(gone.items())) or "nothing is old enough")


def _held_by_the_broker(settings: "Settings", *, configured: timedelta) -> timedelta:
    """For how long the broker may have an event; where it cannot be asked, what the settings say."""
    from restow.database.retention import FOR_EVER
    from restow.log.kafka import BrokerAwayError, BrokerRefusesError, held_at_most
    from restow.runtime.run import kafka_access

    if not settings.kafka_bootstrap:
        return configured
    try:
        held = asyncio.run(held_at_most(kafka_access(settings), timeout_s=ASK_BROKER_S))
    except (BrokerAwayError, BrokerRefusesError) as error:
        _say(f"how long the broker keeps events was not told, {_days(configured)} by the settings: {error}")
        return configured
    return FOR_EVER if held is None else held


def _days(span: timedelta) -> str:
    from restow.database.retention import FOR_EVER

    return "ever" if span >= FOR_EVER else f"{span.total_seconds() / 86_400:.3g} days"


def revise(
    message: Annotated[str, typer.Argument(help="What the revision does, in a few words.")],
    number: Annotated[str, typer.Argument(help="Its number: four digits, one more than the last.")],
) -> None:
    """For developers: write the migration from the last revision to the rows of all installed services."""
    from tempfile import TemporaryDirectory

    from restow.database.engine import Database
    from restow.database.schema import write_revision

    async def write(folder: str) -> Path:
        database = Database(f"sqlite:///{folder}/revise.db")
        try:
            return await write_revision(database, message, revision=number)
        finally:
            await database.close()

    with TemporaryDirectory() as folder:
        _say(f"wrote {asyncio.run(write(folder))}: read it, give it a title, format it")


def create() -> None:
    """Create the topics that are missing, keep all for as long as the settings say, and tell what else differs."""
    from restow.errors import BadInputError, FieldError
    from restow.log.kafka import arrange_topics
    from restow.runtime.logs import set_up_logs
    from restow.runtime.run import kafka_access, topic_settings
    from restow.runtime.settings import read_settings

    settings = read_settings(os.environ)
    if not settings.kafka_bootstrap:
        raise BadInputError("settings", (FieldError("RESTOW_KAFKA_BOOTSTRAP", "(absent)", "HOST:PORT of a broker"),))
    set_up_logs(level="warning", form="console")
    made = asyncio.run(
        arrange_topics(kafka_access(settings), topic_settings(settings), timeout_s=settings.start_timeout_s)
    )
    _say("created " + ", ".join(made.created) if made.created else "all topics are there")
    for line in made.changed:
        _say(f"changed: {line}")
    for line in made.left:
        _say(f"differs: {line}")


def list_dead(
    *,
    every: Annotated[bool, typer.Option("--all", help="Those replayed as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the whole event.")] = False,
) -> None:
    """Events set aside, newest first, each with its reason."""
    from restow.log.dead import list_letters

    letters = _with_database(lambda database: list_letters(database, every=every))
    for letter in letters:
        _say(_as_json(letter) if as_json else _as_line(letter))
    if not letters and not as_json:
        _say("no dead letters")


def replay(
    letter: Annotated[str | None, typer.Argument(help="Which one, by its id.", metavar="ID")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that are dead.")] = False,
) -> None:
    """Have events delivered again, by the running service of their consumer group."""
    from restow.errors import BadInputError, FieldError
    from restow.log.dead import order_replay

    if (letter is None) != every:
        raise BadInputError("usage", (FieldError("ID", letter, "either an id or --all"),))
    count = _with_database(lambda database: order_replay(database, letter))
    _say(f"{count} ordered to be delivered again; see `restow dead list` for what became of them")


def schema(name: Annotated[str | None, typer.Argument(help="A format or event type.", metavar="NAME")] = None) -> None:
    """The JSON Schema of a format or an event's data; without a name, the names."""
    import json

    from restow.errors import BadInputError, FieldError
    from restow.messages.schemas import SCHEMAS

    if name is None:
        for each in SCHEMAS:
            _say(each)
        return
    chosen = {**SCHEMAS, **{key.removeprefix("restow.").removesuffix("/1"): make for key, make in SCHEMAS.items()}}
    if name not in chosen:
        raise BadInputError("usage", (FieldError("NAME", name, "one that `restow schema` lists"),))
    _say(json.dumps(chosen[name](), indent=2, ensure_ascii=False))


def version() -> None:
    """The version of this command."""
    from restow import __version__

    _say(f"restow {__version__}")


def _with_database(work: Callable[["Database"], Awaitable[T]]) -> T:
    from restow.database.engine import Database
    from restow.runtime.run import wait_for_database
    from restow.runtime.settings import read_settings

    settings = read_settings(os.environ)
    local = settings.data_dir.expanduser() / "restow.db"
    url = settings.database() if settings.database_url or not local.exists() else f"sqlite:///{local}"

    async def life() -> T:
        database = Database(url)
        try:
            await wait_for_database(database, timeout_s=settings.start_timeout_s)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(life())


def _as_line(letter: "Letter") -> str:
    reason = letter.reason if len(letter.reason) <= REASON_SHOWN else letter.reason[: REASON_SHOWN - 1] + "…"
    about = f"{letter.event.type} {letter.event.subject}".strip()
    return f"{letter.id}  {letter.at:%Y-%m-%d %H:%M:%SZ}  {letter.state:8}  {letter.consumer}: {about}: {reason}"


def _as_json(letter: "Letter") -> str:
    import json

    from restow.log.dead import event_as_json

    return json.dumps(
        {
            "id": letter.id, "consumer": letter.consumer, "state": letter.state, "at": letter.at.isoformat(),
            "attempts": letter.attempts, "reason": letter.reason, "event": event_as_json(letter.event),
        },
        ensure_ascii=False,
    )  # fmt: skip


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")

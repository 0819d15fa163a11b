"""The schema brought up to date, and compared with what this version needs. The only importer of Alembic.

A version only adds to the schema, so the version before runs on what a newer one made: after a roll-back.

Migrations run in one transaction under a lock (PostgreSQL: an advisory lock; SQLite: the file's write
lock), so any number of processes may start at once.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from restow.database.engine import Database, DatabaseAwayError, translated
from restow.database.tables import Row
from restow.errors import PermanentError

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x7E57_0107  # any fixed number


class SchemaError(PermanentError):
    """The database's schema is not the one that this version needs."""


async def upgrade(database_url: str) -> str:
    """Bring the database at this URL to the newest revision; the name of the one it has then.

    What a newer version made is left as it is. Raises DatabaseAwayError.
    """
    database = Database(database_url)
    try:
        return await upgrade_database(database)
    finally:
        await database.close()


async def upgrade_database(database: Database, revision: str = "head") -> str:
    """As `upgrade`, for a database that is open."""
    from alembic import command

    def work(connection: Connection) -> str:
        if not _is_newer(_revision(connection)):
            command.upgrade(_config(connection), revision)
        return _revision(connection) or "(empty)"

    return await _locked(database, work)


async def check_current(database: Database) -> None:
    """Raises SchemaError, with what to do, where the schema is older than this version; DatabaseAwayError."""
    needed = _newest()
    try:
        async with database.engine.connect() as connection:
            present = await connection.run_sync(_revision)
    except (SQLAlchemyError, OSError) as error:
        raise translated(error) from error
    if present != needed and not _is_newer(present):
        raise SchemaError(
            f"the database is at schema {present or '(empty)'}, this version needs {needed}: run `restow db upgrade`"
        )


async def differences(database: Database) -> Sequence[Any]:
    """What the migrated schema lacks or has too much, against the rows of every installed service."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    load_rows()

    def work(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "target_metadata": Row.metadata}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), Row.metadata)
        return found

    async with database.engine.connect() as connection:
        return await connection.run_sync(work)


async def write_revision(database: Database, message: str, *, revision: str) -> Path:
    """Write the migration from the database's schema to the rows of every installed service."""
    from alembic import command

    load_rows()

    def work(connection: Connection) -> Path:
        config = _config(connection)
        command.upgrade(config, "head")
        script: Any = command.revision(config, message, autogenerate=True, rev_id=revision)
        return Path(script.path)

    return await _locked(database, work)


def load_rows() -> None:
    """Import every installed service, so that its rows are in `Row.metadata`."""
    for point in sorted(entry_points(group="restow.services"), key=lambda point: point.name):
        point.load()


async def _locked(database: Database, work: Callable[[Connection], T]) -> T:
    try:
        async with database.engine.connect() as connection, connection.begin():
            if database.is_sqlite:
                await connection.execute(text("BEGIN IMMEDIATE"))
            else:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            return await connection.run_sync(work)
    except (SQLAlchemyError, OSError) as error:
        raised = translated(error)
        raise raised if isinstance(raised, DatabaseAwayError) else error from error


def _config(connection: Connection | None = None) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _is_newer(revision: str | None) -> bool:
    """Whether a later version than this one has made that revision: their names are numbers."""
    return revision is not None and revision.isdigit() and int(revision) > int(_newest())


def _newest() -> str:
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest

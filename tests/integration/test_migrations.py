"""The migrations make exactly the tables that the installed services map, on both databases."""

import asyncio

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from restow.database.engine import Database
from restow.database.schema import MIGRATIONS, SchemaError, check_current, differences, upgrade, upgrade_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def database(request, tmp_path):
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/m.db" if sqlite else request.getfixturevalue("postgres_url")
    database = Database(url)
    yield database
    await database.close()


async def test_the_migrated_schema_is_that_of_the_mapped_rows(database):
    await upgrade_database(database)
    assert list(await differences(database)) == [], "run `restow db revise MESSAGE NUMBER`"


async def test_an_old_schema_is_named_with_what_to_do(database):
    with pytest.raises(SchemaError, match=r"schema \(empty\), this version needs .*: run `restow db upgrade`"):
        await check_current(database)
    await upgrade_database(database)
    await check_current(database)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [("create table restow_event (id integer)", "already exists"), ("select * from nowhere", "nowhere")],
)
async def test_what_is_wrong_in_the_schema_is_not_told_as_a_database_that_is_away(database, statement, complaint):
    async with database.writing() as transaction:
        await transaction.session.execute(text("create table restow_event (id integer)"))
    with pytest.raises(DBAPIError, match=complaint):
        async with database.writing() as transaction:
            await transaction.session.execute(text(statement))


async def test_what_a_newer_version_made_is_used_as_it_is(database):
    await upgrade_database(database)
    async with database.writing() as transaction:
        await transaction.session.execute(text("alter table event_log add column colour varchar"))
        await transaction.session.execute(text("update alembic_version set version_num = '9999'"))
    await check_current(database)
    assert await upgrade_database(database) == "9999"


async def test_no_revision_takes_away_what_the_version_before_uses(database):
    before: dict[str, dict[str, bool]] = {}
    for file in sorted((MIGRATIONS / "versions").glob("r*.py")):
        await upgrade_database(database, file.name[1:5])
        async with database.engine.connect() as connection:
            after = await connection.run_sync(columns)
        for table, had in before.items():
            assert set(had) <= set(after[table]), file.name
            assert all(may_be_left_out for name, may_be_left_out in after[table].items() if name not in had), file.name
        before = after
    assert len(before) > 10


def columns(connection):
    """Of each table the columns, and whether a writer that does not know one may leave it out."""
    found = inspect(connection)
    return {
        table: {
            one["name"]: bool(one["nullable"] or one["default"] is not None) for one in found.get_columns(table)
        }
        for table in found.get_table_names()
    }  # fmt: skip


async def test_many_processes_may_migrate_at_once(database):
    others = [Database(database.url) for _ in range(8)]
    revisions = await asyncio.gather(*(upgrade_database(other) for other in others), upgrade(database.url))
    assert len(set(revisions)) == 1
    await check_current(database)
    for other in others:
        await other.close()

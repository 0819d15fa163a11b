"""The migrations make exactly the tables that the installed services map, on both databases."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from restow.database.engine import Database
from restow.database.schema import SchemaError, check_current, differences, upgrade, upgrade_database


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


async def test_many_processes_may_migrate_at_once(database):
    others = [Database(database.url) for _ in range(8)]
    revisions = await asyncio.gather(*(upgrade_database(other) for other in others), upgrade(database.url))
    assert len(set(revisions)) == 1
    await check_current(database)
    for other in others:
        await other.close()

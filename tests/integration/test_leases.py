"""Leases where several processes reach for one at the same moment."""

import asyncio

import pytest

from restow.clock import SystemClock
from restow.database.engine import Database
from restow.database.leases import Leases
from restow.database.tables import Row


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real)])
async def url(request, tmp_path):
    url = f"sqlite:///{tmp_path}/t.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield url
    await database.close()


async def test_of_many_that_are_the_first_to_ask_one_gets_the_lease(url):
    databases = [Database(url) for _ in range(8)]
    for number in range(10):
        leases = [
            Leases(database, SystemClock(), holder=f"process {index}", ttl_s=60)
            for index, database in enumerate(databases)
        ]
        got = await asyncio.gather(*(each.acquire(f"lease {number}") for each in leases))
        (holder,) = [lease for lease in got if lease is not None]
        assert holder.epoch == 1
        await leases[int(holder.holder.split()[1])].release(holder)
        again = await asyncio.gather(*(each.acquire(f"lease {number}") for each in leases))
        assert [lease.epoch for lease in again if lease is not None] == [2]
    for database in databases:
        await database.close()

"""A database that goes away and comes back as the test says, on one that is always there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from restow.database.engine import Database, DatabaseAwayError, Transaction


class FickleDatabase(Database):
    away = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        self._look()
        async with super().reading() as session:
            yield session

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Transaction]:
        self._look()
        async with super().writing() as transaction:
            yield transaction

    def _look(self) -> None:
        if self.away:
            raise DatabaseAwayError("connection refused")

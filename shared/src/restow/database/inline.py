"""SQLite connections of our own: one for services, and one that works in the event loop's own thread.

The second is for simulations on a loop with virtual time: with a second thread the order of events would depend
on the machine. Not for a service: a slow disk would stop its loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, cast

import aiosqlite


class _InPlace:
    """Takes the place of the queue to aiosqlite's thread: what is put is done at once."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, work = item
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  (handed to whoever awaits, as the thread would)
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


class InlineConnection(aiosqlite.Connection):
    """aiosqlite's connection without its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx = cast(Any, _InPlace())

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()  # the thread is not started

    def __del__(self) -> None:
        if self._connection is not None:
            self._connection.close()


def connect_inline(database: str, **options: Any) -> InlineConnection:
    """What SQLAlchemy calls in place of `aiosqlite.connect`."""
    return InlineConnection(partial(sqlite3.connect, database, **options))


class ThreadedConnection(aiosqlite.Connection):
    """aiosqlite's connection, with a thread that does not keep the process alive.

    One that is left in the pool when its database is dropped closes without a word: nothing is lost by it.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True

    def __del__(self) -> None:
        if self._connection is not None:
            self.stop()


def connect_threaded(database: str, **options: Any) -> ThreadedConnection:
    """What SQLAlchemy calls in place of `aiosqlite.connect`."""
    return ThreadedConnection(partial(sqlite3.connect, database, **options))

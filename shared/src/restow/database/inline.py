"""A SQLite connection that works in the event loop's own thread.

For simulations on a loop with virtual time: with a second thread the order of events would depend
on the machine. Not for a service: a slow disk would stop its loop.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

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
        self._tx = _InPlace()

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()  # the thread is not started


def connect_inline(database: str, **options: Any) -> InlineConnection:
    """What SQLAlchemy calls in place of `aiosqlite.connect`."""
    return InlineConnection(partial(sqlite3.connect, database, **options))

"""Where blocking code runs: a bounded pool of threads, or in place for simulations."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ThreadBlocking:
    """Runs blocking code in at most `threads` threads; more wait for their turn."""

    def __init__(self, threads: int) -> None:
        assert threads > 0
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="restow-blocking")

    async def __call__(self, work: Callable[[], T]) -> T:
        context = contextvars.copy_context()  # logs and spans of the thread belong to the event at hand
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work))

    def close(self) -> None:
        """Start nothing more; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class InPlaceBlocking:
    """Runs blocking code in the loop's own thread: on virtual time a second thread would spoil the order."""

    async def __call__(self, work: Callable[[], T]) -> T:
        return work()

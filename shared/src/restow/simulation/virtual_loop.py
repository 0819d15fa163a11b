"""An event loop whose time jumps to the next timer when nothing is ready: a day passes in seconds.

With SQLite in the loop's own thread (`Database(..., inline=True)`) and no other threads, a run is the
same every time.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingLeftError(RuntimeError):
    """Every task waits, and no timer will ever wake one."""


class _Jump(selectors.DefaultSelector):
    """Asks the machine without waiting, and moves the loop's time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise NothingLeftError("nothing is ready and nothing is scheduled: a task waits for ever")
        self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time in seconds since the loop was made."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a fresh loop with virtual time. Raises NothingLeftError on a standstill."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

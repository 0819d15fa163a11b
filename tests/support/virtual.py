"""An event loop whose time jumps to the next timer as soon as nothing else is to be done: a day in seconds, the same
each time.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingLeftError(RuntimeError):
    """Everything waits and no timer runs: the program would wait for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what would be waiting moves the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise NothingLeftError("nothing is left to wait for: every task waits and no timer runs")
        self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """One thread, virtual time from 0. What another thread does is not waited for."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a loop of its own with virtual time. Raises NothingLeftError on a deadlock."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)

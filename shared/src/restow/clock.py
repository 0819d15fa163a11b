"""Time as an argument: the port, the system's clock, and a clock that runs faster for simulations."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """All that Restow knows of time. `sleep` is in this clock's own seconds."""

    def now(self) -> datetime:
        """The time, with zone UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait for that many seconds of this clock."""


class SystemClock:
    """The only reader of the machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ScaledClock:
    """A clock that runs `speed` times as fast as the event loop's, from `start` on.

    On a loop with virtual time (tests) it follows that loop, so a day passes in seconds.
    """

    def __init__(self, start: datetime, *, speed: float = 1.0) -> None:
        assert speed > 0
        self._start = start
        self._speed = speed
        self._origin: float | None = None

    def now(self) -> datetime:
        loop_time = asyncio.get_running_loop().time()
        if self._origin is None:
            self._origin = loop_time
        return self._start + timedelta(seconds=(loop_time - self._origin) * self._speed)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self._speed)

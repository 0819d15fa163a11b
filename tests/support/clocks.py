"""A clock that stands still until the test moves it; whoever sleeps on it moves it."""

from datetime import datetime, timedelta

from support.builders import NOON


class ManualClock:
    def __init__(self, start: datetime = NOON) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.forward(seconds)

    def forward(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)

"""Patience with a part that is away: bounded pauses for as long as it takes, and a word in the log now and then.

A process that ended instead would lose what it has at hand, and its supervisor lets it wait longer each time.
"""

from dataclasses import dataclass
from datetime import datetime

import structlog

from restow.clock import Clock

REMIND_S = 60.0  # an outage of hours is told once a minute, not once a second

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Patience:
    """With `what`. Whoever waits calls `pause` after each failure, and `over` when it answers again."""

    what: str
    clock: Clock
    pause_s: float
    remind_s: float = REMIND_S
    _since: datetime | None = None
    _told_s: float | None = None

    @property
    def away_s(self) -> float:
        """For how long it has not answered; 0 while it does."""
        return 0.0 if self._since is None else (self.clock.now() - self._since).total_seconds()

    async def pause(self, error: Exception, **facts: object) -> None:
        self._since = self._since or self.clock.now()
        away_s = self.away_s
        if self._told_s is None or away_s - self._told_s >= self.remind_s:
            self._told_s = away_s
            log.warning("away: waiting for it", what=self.what, away_s=round(away_s), error=str(error), **facts)
        await self.clock.sleep(self.pause_s)

    def over(self) -> None:
        if self._since is not None:
            log.info("answers again", what=self.what, away_s=round(self.away_s))
        self._since = self._told_s = None

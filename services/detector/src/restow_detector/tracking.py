"""How long a symptom has held: duration, hysteresis and cool-down in one state machine; pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from restow_detector.memory import Phase, Tracker


class Level(StrEnum):
    """Where a measured value stands now."""

    OVER = "over"  # beyond the threshold
    BETWEEN = "between"  # neither beyond it nor back below the clearing value
    QUIET = "quiet"
    UNKNOWN = "unknown"  # no data: no decision


@dataclass(frozen=True, slots=True)
class Due:
    """It has held long enough: an incident is due. `since`: first evidence."""

    tracker: Tracker
    since: datetime


def track(
    known: Tracker | None, level: Level, *, now: datetime, hold: timedelta, cool_down: timedelta
) -> Tracker | Due | None:
    """The tracker after this look. None: nothing to remember. At most one Due within a cool-down."""
    phase = Phase.QUIET if known is None else known.phase
    match phase, level:
        case Phase.QUIET, Level.OVER:
            rising = Tracker(Phase.RISING, now, known.quiet_until if known else None)
            return _due(rising, now=now, cool_down=cool_down) if hold <= timedelta(0) else rising
        case Phase.QUIET, _:
            return known if known and known.quiet_until and known.quiet_until > now else None
        case Phase.RISING, Level.OVER:
            assert known is not None
            return _due(known, now=now, cool_down=cool_down) if now - known.since >= hold else known
        case Phase.RISING, _:
            assert known is not None
            return _quiet(known, now=now)
        case Phase.ACTIVE, Level.QUIET:
            assert known is not None
            return _quiet(known, now=now)
        case _:
            return known


def after_incident(known: Tracker, *, now: datetime) -> Tracker:
    """Its incident has ended while it holds on: it must hold anew, and the cool-down must pass."""
    return replace(known, phase=Phase.RISING, since=now, incident=None)


def after_blindness(known: Tracker, *, now: datetime) -> Tracker | None:
    """What had not held long enough starts again; what is an incident stays one."""
    return _quiet(known, now=now) if known.phase is Phase.RISING else known


def _due(known: Tracker, *, now: datetime, cool_down: timedelta) -> Tracker | Due:
    if known.quiet_until is not None and now < known.quiet_until:
        return known
    return Due(replace(known, phase=Phase.ACTIVE, quiet_until=now + cool_down), known.since)


def _quiet(known: Tracker, *, now: datetime) -> Tracker | None:
    if known.quiet_until is None or known.quiet_until <= now:
        return None
    return Tracker(Phase.QUIET, now, known.quiet_until)

"""The health of a host: words of independent sources, one verdict, one state machine; pure.

A host is failed only when a quorum of independent paths says dead, nothing says alive, and that
for long enough. Silence of a source is evidence about the source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from restow.cloud.port import Heartbeat
from restow_detector.memory import Health, HostHealth

# Two sources on one path fall silent together: the agent's reports travel over the management network.
PATHS = {"compute-service": "management", "management-network": "management"}
# That a host has power says nothing about its life.
NO_SIGN_OF_LIFE = frozenset({"power"})
SIGNALS = "signals"


class Word(StrEnum):
    """What all fresh evidence about one host comes to."""

    DEAD = "dead"  # a quorum says so, nothing contradicts
    DOUBT = "doubt"  # some say dead: too few, or contradicted
    ALIVE = "alive"
    UNKNOWN = "unknown"  # no fresh word that counts


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sources that have a fresh word about a host, by what they say."""

    dead: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()

    def word(self, *, quorum: int) -> Word:
        contradicting = [source for source in self.alive if source not in NO_SIGN_OF_LIFE]
        paths = {PATHS.get(source, source) for source in self.dead}
        if len(paths) >= quorum and not contradicting:
            return Word.DEAD
        if self.dead:
            return Word.DOUBT
        return Word.ALIVE if contradicting else Word.UNKNOWN

    def text(self) -> tuple[str, ...]:
        return tuple(f"{one} says dead" for one in self.dead) + tuple(f"{one} says alive" for one in self.alive)


@dataclass(slots=True)
class _Heard:
    dead: set[str] = field(default_factory=set)
    alive: set[str] = field(default_factory=set)


NOTHING_HEARD = Evidence()


def weigh(
    words: Iterable[Heartbeat],
    *,
    now: datetime,
    silent: timedelta,
    forced_down: frozenset[str] = frozenset(),
    suspected_since: Mapping[str, datetime] | None = None,
) -> Mapping[str, Evidence]:
    """The fresh evidence about every host of which there is any.

    Words older than `silent` are none; so is a word that a host was alive before it was first suspected.
    A host that was forced down is dead for the compute service by decree: there its dead word is no evidence.
    """
    oldest, heard, suspected = now - silent, dict[str, _Heard](), suspected_since or {}
    for word in words:
        if word.at < oldest:
            continue
        if word.alive:
            first = suspected.get(word.host)
            if first is not None and word.at <= first:
                continue
        elif word.source == "compute-service" and word.host in forced_down:
            continue
        entry = heard.get(word.host)
        if entry is None:
            entry = heard[word.host] = _Heard()
        (entry.alive if word.alive else entry.dead).add(word.source)
    return {host: Evidence(tuple(sorted(one.dead)), tuple(sorted(one.alive))) for host, one in heard.items()}


def well(now: datetime) -> HostHealth:
    return HostHealth(Health.HEALTHY, since=now)


def next_health(
    known: HostHealth, word: Word, *, now: datetime, patience: timedelta, returned: timedelta
) -> HostHealth:
    """All transitions. `patience`: how long a quorum must agree; `returned`: how long all must be well again."""
    match known.health, word:
        case Health.HEALTHY, Word.DEAD:
            return HostHealth(Health.SUSPECT, since=now, agreed_since=now, first_evidence_at=now)
        case Health.HEALTHY, Word.DOUBT:
            return HostHealth(Health.SUSPECT, since=now, first_evidence_at=now)
        case Health.SUSPECT, Word.DEAD if known.agreed_since is None:
            return replace(known, agreed_since=now)
        case Health.SUSPECT, Word.DEAD if known.agreed_since is not None and now - known.agreed_since >= patience:
            return replace(known, health=Health.FAILED, since=now, failed_at=now)
        case Health.SUSPECT, (Word.DOUBT | Word.UNKNOWN) if known.agreed_since is not None:
            return replace(known, agreed_since=None)  # patience starts anew
        case Health.SUSPECT, Word.ALIVE:
            return well(now)
        case Health.FAILED, Word.ALIVE:
            return replace(known, health=Health.RETURNING, since=now)
        case Health.RETURNING, (Word.DEAD | Word.DOUBT):
            return replace(known, health=Health.FAILED, since=now)  # the same failure: failed_at and incident stay
        case Health.RETURNING, Word.UNKNOWN:
            return replace(known, since=now)
        case Health.RETURNING, Word.ALIVE if now - known.since >= returned:
            return well(now)
        case _:
            return known


def after_blindness(known: HostHealth, *, now: datetime) -> HostHealth:
    """Time in which nobody looked counts for nothing."""
    match known.health:
        case Health.SUSPECT if known.agreed_since is not None:
            return replace(known, agreed_since=None)
        case Health.RETURNING:
            return replace(known, since=now)
        case _:
            return known

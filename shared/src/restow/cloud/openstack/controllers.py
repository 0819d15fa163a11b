"""What board controllers say of hosts that look dead, for reads that must not wait for one that is dead itself."""

from collections.abc import Iterable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

import structlog

from restow.clock import Clock
from restow.cloud.model import Power
from restow.cloud.openstack.faults import readable
from restow.cloud.openstack.power import PowerDriver
from restow.errors import RestowError
from restow.ids import HostName

HOSTS_MAX = 50  # asked in one round; more dead hosts than that are no matter of board controllers
WAIT_S = 2.0  # of a read, for all of them together
PAUSES_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # one that did not answer so often is not asked before
LATE = timedelta(seconds=20)  # an answer that no read waited for counts in the next one, unless it is older

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Word:
    power: Power
    at: datetime


@dataclass(slots=True)
class _Known:
    asked: Future[None] | None = None
    word: Word | None = None  # the last; None where the last question was not answered
    misses: int = 0
    again_at: datetime | None = None


class Controllers:
    """Safe to use from several threads. `workers`: its own, HOSTS_MAX of them: each may wait as long as its driver."""

    def __init__(self, driver: PowerDriver, workers: Executor, clock: Clock, *, wait_s: float = WAIT_S) -> None:
        self._driver = driver
        self._workers = workers
        self._clock = clock
        self._wait_s = wait_s
        self._known: dict[HostName, _Known] = {}
        self._lock = Lock()

    def told(self, hosts: Iterable[HostName]) -> dict[HostName, Word]:
        """Of those that answer in time, and are sure."""
        asked = list(hosts)[:HOSTS_MAX]
        wait([one for one in map(self._asking, asked) if one is not None], timeout=self._wait_s)
        oldest = self._clock.now() - LATE
        with self._lock:
            words = {host: self._known[host].word for host in asked}
        return {
            host: word for host, word in words.items()
            if word is not None and word.power is not Power.UNKNOWN and word.at >= oldest
        }  # fmt: skip

    def _asking(self, host: HostName) -> Future[None] | None:
        """The question that is under way, or is put now; None while this controller is left alone."""
        now = self._clock.now()
        with self._lock:
            known = self._known.setdefault(host, _Known())
            if known.asked is not None and not known.asked.done():
                return known.asked
            if known.again_at is not None and now < known.again_at:
                return None
            known.asked = self._workers.submit(self._ask, host, known)
            return known.asked

    def _ask(self, host: HostName, known: _Known) -> None:
        try:
            with readable(f"power of {host}"):
                power = self._driver.state(host)
        except RestowError as error:
            log.warning("a board controller tells nothing", host=host, error=str(error))
            with self._lock:
                pause_s = PAUSES_S[min(known.misses, len(PAUSES_S) - 1)]
                known.word, known.misses = None, known.misses + 1
                known.again_at = self._clock.now() + timedelta(seconds=pause_s)
        else:
            with self._lock:
                known.word, known.misses, known.again_at = Word(power, self._clock.now()), 0, None

"""Time in the simulated cloud: things due at a moment, and copies that share the hosts' links; pure.

A copy is a fluid: what is left of it shrinks at the rate of its share of the links less the rate at which the guest
dirties memory. That is the limit of pre-copy's rounds, each of which sends what was dirtied during the one before:
M/b + (M/b)(d/b) + ... = M/(b-d). Where d >= b it never ends, as with real pre-copy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf

from restow.ids import HostName

MIB_PER_S_OF_MBPS = 1_000_000 / 8 / 1_048_576
EVENTS_AT_ONCE_MAX = 10_000_000
DONE_MIB = 1e-6


@dataclass(slots=True, eq=False)
class Copy:
    """Memory (or a disk) on its way. `dirty_mib_s` inf: it never converges."""

    source: HostName
    target: HostName
    total_mib: float
    dirty_mib_s: float
    done: Callable[[], None]
    left_mib: float = 0.0
    rate_mib_s: float = 0.0

    @property
    def progress(self) -> float:
        return 1.0 if self.total_mib <= 0 else min(1.0, max(0.0, 1 - self.left_mib / self.total_mib))


class Engine:
    """Fires what is due, in order of time and then of asking."""

    def __init__(self, link_mib_s: Callable[[HostName], float]) -> None:
        self.now = 0.0
        self._link_mib_s = link_mib_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._copies: list[Copy] = []

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heappush(self._due, (self.now + seconds, next(self._numbers), action))

    def copy(self, copy: Copy) -> None:
        copy.left_mib = copy.total_mib
        self._copies.append(copy)
        self._share_links()

    def give_up(self, copy: Copy) -> None:
        if copy in self._copies:
            self._copies.remove(copy)
            self._share_links()

    def advance(self, to: float, *, fired: Callable[[], None]) -> None:
        """Let the time pass until `to`; `fired` is called after each event. The past stays as it is."""
        for _ in range(EVENTS_AT_ONCE_MAX):
            due = self._due[0][0] if self._due else inf
            ending, ends = self._next_copy()
            at = min(due, ends)
            if at > to:
                break
            self._flow(at)
            if ends <= due:
                assert ending is not None
                self.give_up(ending)
                ending.done()
            else:
                heappop(self._due)[2]()
            fired()
        else:
            raise AssertionError("the simulated cloud does not come to an end")
        self._flow(to)

    def _next_copy(self) -> tuple[Copy | None, float]:
        first, ends = None, inf
        for copy in self._copies:
            rate = copy.rate_mib_s - copy.dirty_mib_s
            if copy.left_mib <= DONE_MIB:
                at = self.now
            elif rate > 0:
                at = self.now + copy.left_mib / rate
            else:
                continue
            if at < ends:
                first, ends = copy, at
        return first, ends

    def _flow(self, to: float) -> None:
        seconds = to - self.now
        if seconds <= 0:
            return
        for copy in self._copies:
            sent = (copy.rate_mib_s - copy.dirty_mib_s) * seconds
            copy.left_mib = min(copy.total_mib, max(0.0, copy.left_mib - sent))
        self.now = to

    def _share_links(self) -> None:
        """Each host's link is shared evenly by all copies that touch it; a copy gets the smaller of its two shares."""
        users: dict[HostName, int] = {}
        for copy in self._copies:
            for host in (copy.source, copy.target):
                users[host] = users.get(host, 0) + 1
        for copy in self._copies:
            copy.rate_mib_s = min(
                self._link_mib_s(copy.source) / users[copy.source], self._link_mib_s(copy.target) / users[copy.target]
            )

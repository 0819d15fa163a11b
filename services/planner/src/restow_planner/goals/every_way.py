"""Every order of moves in a small cloud: the cheapest that serves all, or a proof of whom none serves; pure.

Uniform cost search over placements. Each move of it is lawful where it is made, so the placement it ends in can be
reached; where every placement that can be was seen, nobody is served who is not in the best of them.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from restow_planner.broken import judged
from restow_planner.goals.work import Work

PLACEMENTS_MAX = 20_000
"""Of who may move on hosts that take servers in: more are not looked at."""
LOOKED_AT_MAX = 4_000
SHARE_OF_TIME = 0.4
SECONDS_MAX = 3.0
LOOKS = 20
"""Placements between two looks at the clock."""

Places = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Best:
    """`left`: who is not served in the best placement, in which the board now is; `proven`: all others were seen."""

    left: frozenset[int]
    proven: bool


def every_way(work: Work, going: Sequence[int]) -> Best | None:
    """Serve those who are `going`, the highest priority first, as the board stands. None: not looked for.

    So it is in a cloud that is not small, and where moves are limited: what is cheapest is not always the fewest.
    """
    board = work.board
    if work.moves_max is not None or work.moved_mib_max is not None:
        return None
    others = [one for here in board.on for one in here if work.movable(one) and one not in set(going)]
    hosts = int(board.open.sum())
    if (len(going) + len(others)) * np.log(max(hosts, 1)) > np.log(PLACEMENTS_MAX):
        return None
    return _Search(work, going, sorted(others)).run()


class _Search:
    def __init__(self, work: Work, going: Sequence[int], others: Sequence[int]) -> None:
        self._work, self._board = work, work.board
        self._wanted = tuple(going)
        self._all = (*going, *others)
        self._origin: Places = tuple(work.board.at[one] for one in self._all)
        servers = work.problem.cloud.servers
        self._levels = sorted({servers[one].priority for one in going}, reverse=True)
        self._priority = [servers[one].priority for one in going]

    def run(self) -> Best:
        deadline = self._work.deadline.part(SHARE_OF_TIME).within(SECONDS_MAX)
        cost: dict[Places, float] = {self._origin: 0.0}
        heap = [(0.0, self._origin)]
        best, looked = self._origin, 0
        while heap:
            spent, here = heapq.heappop(heap)
            if spent > cost[here]:
                continue
            self._go(here)
            if self._score(here) > self._score(best) and self._may_end():
                best = here
            looked += 1
            if not self._left(best) or looked > LOOKED_AT_MAX or (not looked % LOOKS and deadline.over()):
                break
            for number, host in self._moves():
                there = (*here[:number], host, *here[number + 1 :])
                total = spent + float(self._work.problem.cost[self._all[number]])
                if total < cost.get(there, np.inf):
                    cost[there] = total
                    heapq.heappush(heap, (total, there))
        self._go(best)
        return Best(self._left(best), proven=not heap and not self._work.unordered)

    def _may_end(self) -> bool:
        """Whether the rules themselves let the placement stand in which the board is."""
        work = self._work
        moved = {work.server(one): work.board.at[one] for one in work.changes()}
        ends = {one: () if host < 0 else (work.host(host),) for one, host in moved.items()}
        return not judged(work.problem.cloud, ends, {work.server(one) for one in work.dead})[2]

    def _go(self, there: Places) -> None:
        board = self._board
        changed = [(one, host) for one, host in zip(self._all, there, strict=True) if board.at[one] != host]
        for one, _ in changed:
            board.put(one, -1)
        for one, host in changed:
            board.put(one, host)

    def _moves(self) -> Iterator[tuple[int, int]]:
        for number, server in enumerate(self._all):
            for host in np.flatnonzero(self._board.fits(server)).tolist():
                yield number, host

    def _left(self, here: Places) -> frozenset[int]:
        places = zip(self._wanted, here, self._origin, strict=False)
        return frozenset(one for one, host, origin in places if host == origin)

    def _score(self, here: Places) -> tuple[int, ...]:
        """How many are served of each priority, the highest first."""
        left = self._left(here)
        served = [priority for one, priority in zip(self._wanted, self._priority, strict=True) if one not in left]
        return tuple(served.count(level) for level in self._levels)

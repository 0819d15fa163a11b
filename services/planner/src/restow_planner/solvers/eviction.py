"""Which servers must leave a host so that the rest fits: a knapsack over the few servers of one host; pure.

Depth-first search over sets of one size, the cheapest servers first, cut off where even the largest servers
that are left would free too little. The smallest size for which a set exists is the fewest that must leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restow_planner.problem import Floats, Ints

NODES_MAX = 2_000
"""Partial sets looked at for one host and size."""
SETS_MAX = 24


@dataclass(frozen=True, slots=True)
class Eviction:
    """`fewest`: no smaller set frees enough. `sets`: places of the servers in the arrays given, the cheapest first."""

    fewest: int
    sets: tuple[tuple[int, ...], ...]


def evictions(demand: Ints, need: Ints, cost: Floats, size: Floats, *, nodes_max: int = NODES_MAX) -> Eviction | None:
    """The sets of fewest servers that free `need` (R,) by leaving; `demand` (N, R), `cost` and `size` (N,).

    Among equally dear sets the smaller come first, as they find a place more easily. None: all N free too little.
    """
    need = np.maximum(need, 0)
    if (demand.sum(axis=0) < need).any():
        return None
    largest = np.cumsum(-np.sort(-demand, axis=0), axis=0)
    fewest = 1 + int((largest < need).sum(axis=0).max()) if need.any() else 0
    order = np.lexsort((np.arange(len(cost)), size, cost))
    for count in range(fewest, len(cost) + 1):
        search = _Search(demand[order], need, count, nodes_max)
        search.run()
        if search.found or search.cut_short:
            sets = [tuple(sorted(int(order[one]) for one in found)) for found in search.found]
            sets += [] if sets else [_greedy(demand, need)]
            sets.sort(key=lambda one: (float(cost[list(one)].sum()), float(size[list(one)].sum()), one))
            return Eviction(count, tuple(sets[:SETS_MAX]))
    raise AssertionError("all of them together free enough")


def _greedy(demand: Ints, need: Ints) -> tuple[int, ...]:
    """Always the server that frees most of what is still missing."""
    left, out = need.astype(float), list[int]()
    while (left > 0).any():
        gain = np.minimum(demand, np.maximum(left, 0)) @ (1.0 / np.maximum(need, 1))
        gain[out] = -1.0
        out.append(int(np.argmax(gain)))
        left = left - demand[out[-1]]
    return tuple(sorted(out))


class _Search:
    """All sets of `count` rows, in the order given, as far as the limits allow."""

    def __init__(self, demand: Ints, need: Ints, count: int, nodes_max: int) -> None:
        self.found: list[tuple[int, ...]] = []
        self.cut_short = False
        self._rows: Sequence[tuple[int, ...]] = [tuple(row) for row in demand.tolist()]
        self._need, self._count = tuple(need.tolist()), count
        self._nodes, self._nodes_max = 0, nodes_max
        self._most = self._largest_sums(demand)

    def _largest_sums(self, demand: Ints) -> list[list[tuple[int, ...]]]:
        """[row][j]: at most so much is freed by j of the rows from this one on."""
        sums = []
        for row in range(len(demand) + 1):
            best = -np.sort(-demand[row:], axis=0)[: self._count]
            totals = np.vstack([np.zeros_like(demand[:1]), np.cumsum(best, axis=0)])
            sums.append([tuple(one) for one in totals.tolist()])
        return sums

    def run(self) -> None:
        self._extend((), 0, self._need)

    def _extend(self, chosen: tuple[int, ...], row: int, left: tuple[int, ...]) -> None:
        missing = self._count - len(chosen)
        if not missing:
            if max(left, default=0) <= 0:
                self.found.append(chosen)
            return
        for one in range(row, len(self._rows) - missing + 1):
            most = self._most[one][missing]
            if any(a < b for a, b in zip(most, left, strict=True)):
                return  # and the rows after it free less
            self._nodes += 1
            if self._nodes > self._nodes_max:
                self.cut_short = True
                return
            self._extend((*chosen, one), one + 1, tuple(a - b for a, b in zip(left, self._rows[one], strict=True)))

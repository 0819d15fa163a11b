"""Columns from prices and prices from columns, until no column is left that would pay: a bound for every answer; pure.

Dantzig and Wolfe's decomposition (1960): a column is one way to fill one kind of host; the master chooses among columns
so that every class of items keeps its number and no budget is overspent. Prices are smoothed between the best ones and
the last ones (Wentges, 1997), and at any prices Lagrange's bound holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from restow_planner.problem import Floats
from restow_planner.solvers.master import Column, Columns, Master
from restow_planner.solvers.pricing import Pricing
from restow_planner.solvers.stock import Aim, Kinds, Patterns, Prices, Stock

ROUNDS_MAX = 1_000
SMOOTHING = 0.5
"""How far the prices tried stay with the best ones known."""
WIDTH = 3
"""Patterns that a kind offers in a round, the best of so many that are grown:"""
GROWN, GROWN_WIDE = 3, 60
"""With one resource the bounds are exact; with several, what promises most may come to little."""
EPS = 1e-6


@dataclass(slots=True)
class Generation:
    """`bound`: the best of Lagrange's bounds, met at `prices`, where no pattern gains more than its kind's `worth`."""

    stock: Stock
    kinds: Kinds
    pricing: Pricing
    columns: Columns
    aim: Aim
    prices: Prices
    bound: float = np.inf
    worth: Floats = field(init=False)  # (K,)
    last: Prices = field(init=False)
    """Those of the last linear program: they tell good columns from bad ones also while the bound is still far off."""

    finished: bool = False
    """Whether no column is left that would pay, or that could be found."""

    def __post_init__(self) -> None:
        self.last = self.prices
        self.worth = np.zeros(len(self.kinds.count))

    def run(self, over: Callable[[], bool]) -> None:
        """Columns until no prices can offer another one, or the time is over."""
        master = Master(self.stock, self.kinds, self.aim)
        master.add(self.columns.known)
        last, smoothing = self.prices, 0.0
        for number in range(ROUNDS_MAX):
            if number or self.columns.known:
                duals = master.solved()
                if duals is None or self.bound - duals.value < EPS:
                    self.finished = True
                    return
                last, smoothing = duals.prices, SMOOTHING if number else 0.0
                self.last = last
            if over():
                return
            known = len(self.columns.known)
            if not self._offered(self.prices.mixed(last, smoothing)) and smoothing > 0.0:
                self._offered(last)
            if len(self.columns.known) == known and not self._offered_for_sure(last, over):
                self.finished = not over()
                return
            master.add(self.columns.known[known:])

    def _offered(self, prices: Prices) -> bool:
        worth = self._charged(prices)
        base = prices.slot * self.kinds.slots
        width = GROWN if len(self.pricing.resources) == 1 else GROWN_WIDE
        found = self.pricing.patterns(np.where(worth > EPS, base + EPS, np.inf), width=width)
        return found is not None and self._added(found.best(WIDTH))

    def _offered_for_sure(self, prices: Prices, over: Callable[[], bool]) -> bool:
        """With several resources the tables only bound: search whatever the columns known do not match."""
        worth, base, rent = self._charged(prices), prices.slot * self.kinds.slots, self._rent(prices)
        unsure = worth > rent + EPS
        if not unsure.any():
            return False
        found = self.pricing.patterns(np.where(unsure, base + rent + EPS, np.inf), best_only=True, over=over)
        if found is None:
            return False
        if self._added(found):
            return True
        self._bounded(prices, np.where(unsure, rent + EPS, worth))
        return False

    def promising(self, most: int) -> list[Column]:
        """The columns known that the last linear program likes best."""
        known = self.columns.known
        kinds = np.array([one.kind for one in known], dtype=np.int64)
        short = self._rent(self.last)[kinds] - self.values(known, self.last)
        return [known[index] for index in np.argsort(short, kind="stable")[:most].tolist()]

    def _rent(self, prices: Prices) -> Floats:
        """(K,) the most that a column known gains at these prices."""
        rent = np.zeros(len(self.kinds.count))
        known = self.columns.known
        np.maximum.at(rent, np.array([one.kind for one in known], dtype=np.int64), self.values(known, prices))
        return rent

    def near(self, gap: float) -> list[Column]:
        """The columns known that an answer no further than `gap` below the bound can use."""
        values = self.values(self.columns.known, self.prices)
        good = [
            value >= self.worth[one.kind] - gap - EPS for one, value in zip(self.columns.known, values, strict=True)
        ]
        return [one for one, is_near in zip(self.columns.known, good, strict=True) if is_near]

    def enumerated(
        self, gap: float, *, over: Callable[[], bool], most: int, width: int | None = None
    ) -> list[Column] | None:
        """All such columns that there are; None: more than `most`, or the time is over. `width` a kind at most."""
        self.pricing.charge(self.prices, self.aim.cost)
        floor = self.prices.slot * self.kinds.slots + self.worth - gap - EPS
        found = self.pricing.patterns(floor, over=over, most=most, width=width)
        return None if found is None else [self.columns.known[index] for index in self.columns.add(found)]

    def values(self, columns: list[Column], prices: Prices) -> Floats:
        """What each column gains at these prices."""
        found = [
            prices.slot * one.gain - float(prices.item @ one.net) - float(prices.budget @ one.spent) for one in columns
        ]
        departures = np.array([one.departures for one in columns], dtype=float)
        values: Floats = np.array(found, dtype=float) - self.aim.cost * departures
        return values

    def _added(self, found: Patterns) -> bool:
        before = len(self.columns.known)
        self.columns.add(found)
        return len(self.columns.known) > before

    def _charged(self, prices: Prices) -> Floats:
        worth: Floats = self.pricing.charge(prices, self.aim.cost) - prices.slot * self.kinds.slots
        self._bounded(prices, worth)
        return worth

    def _bounded(self, prices: Prices, worth: Floats) -> None:
        """Lagrange's bound at these prices; slots that count pay their price at most up to their reward."""
        paid = float(self.kinds.count @ np.maximum(worth, 0.0)) + float(prices.budget @ self.stock.budget)
        counted = self.aim.reward - prices.slot
        bound = paid + (max(counted, 0.0) if self.aim.reward else counted) * self.aim.slots
        if bound < self.bound:
            self.bound, self.prices, self.worth = bound, prices, worth

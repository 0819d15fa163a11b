"""The most free slots of a shape by a bounded number of moves: column generation, with a proof; pure.

Dantzig and Wolfe's decomposition (1960): a column is one way to fill one kind of host; the master chooses among columns
so that every class of items keeps its number and no budget is overspent. Prices are smoothed between the best ones and
the last ones (Wentges, 1997), and at any prices Lagrange's bound holds. An integer program over the columns gives the
answer. Where it misses the bound, every column that an answer on the bound could use is enumerated (its reduced cost
lies within the gap), and the integer program over these finds such an answer or lowers the bound.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from restow_planner.problem import Floats, Ints
from restow_planner.solvers.master import NOTHING, Chosen, Columns, Limits, Master, Nothing, choose
from restow_planner.solvers.pricing import Pricing
from restow_planner.solvers.stock import Kinds, Patterns, Prices, Stock

ROUNDS_MAX = 1_000
SMOOTHING = 0.5
"""How far the prices tried stay with the best ones known."""
WIDTH = 3
"""Patterns that a kind offers in a round."""
GENERATING_SHARE = 0.5
"""The part of the time that generating may take before the first answer."""
CHOOSING_WORK = 30.0
SPARING_WORK = 0.5
"""Deterministic seconds at most for an answer, and for the same slots by fewer moves."""
CHOICES_MAX = 60_000
"""Columns in one integer program at most."""
EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Rearranged:
    """`final` (H, N, C): the items of each class on each node, wide ones on node 0.

    `gain`: slots more than before, `bound`: no rearrangement gains more; both as far as they were wanted.
    """

    final: Ints
    gain: int
    bound: int
    departures: int

    @property
    def proven(self) -> bool:
        return self.gain >= self.bound


def rearranged(stock: Stock, *, left: Callable[[], float], seed: int, wanted: int | None = None) -> Rearranged:
    """Items moved within the budgets for the most slots, at most `wanted` more; of the answers found the fewest moves.

    `left`: the seconds that are left; it cuts, and is never an input to a choice. Without time, nothing moves.
    """
    kinds = Kinds.sorted_out(stock)
    most = int((stock.slots(kinds.room - kinds.debt).sum(axis=1) - kinds.slots) @ kinds.count)  # were all gone
    return _Search(stock, left, seed, most if wanted is None else max(0, min(wanted, most)), kinds).run()


@dataclass(slots=True)
class _Search:
    stock: Stock
    left: Callable[[], float]
    seed: int
    wanted: int
    kinds: Kinds
    pricing: Pricing = field(init=False)
    columns: Columns = field(init=False)
    most: int = field(init=False)
    """The bound in whole slots."""
    prices: Prices = field(init=False)
    bound: float = np.inf
    """The best of Lagrange's bounds, met at `prices`, where no pattern of a kind gains more than its `worth` (K,)."""
    worth: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.pricing = Pricing(self.stock, self.kinds)
        self.columns = Columns(self.stock, self.kinds)
        self.most = self.wanted
        self.prices = Prices.guessed(self.stock)
        self.worth = np.zeros(len(self.kinds.count))

    def run(self) -> Rearranged:
        best = NOTHING
        if self.most > 0:
            self._generate()
            best = self._chosen(best)
            best = self._closed(best)
            best = self._spared(best)
        return Rearranged(self._final(best), min(best.gain, self.wanted), self.most, best.departures)

    # -- columns and the bound ------------------------------------------------------------------------

    def _generate(self) -> None:
        """Columns until no prices can offer another one, or no time is left."""
        ends = self.left() * (1.0 - GENERATING_SHARE)
        master = Master(self.stock, self.kinds, self.wanted)
        last, rent, smoothing = self.prices, np.zeros(len(self.kinds.count)), 0.0
        for _ in range(ROUNDS_MAX):
            if self.left() <= ends:
                return
            offered = self._offered(self.prices.mixed(last, smoothing), master)
            if not offered and smoothing > 0.0:
                offered = self._offered(last, master)
            if not offered and not self._offered_for_sure(last, rent, master, ends):
                return
            duals = master.solved()
            if duals is None or self.bound - duals.value < EPS:
                return
            last, rent, smoothing = duals.prices, duals.rent, SMOOTHING

    def _offered(self, prices: Prices, master: Master) -> bool:
        base = prices.slot * self.kinds.slots
        worth = self.pricing.charge(prices) - base
        self._bounded(prices, worth)
        found = self.pricing.patterns(np.where(worth > EPS, base + EPS, np.inf), width=WIDTH)
        return found is not None and self._added(found, master)

    def _offered_for_sure(self, prices: Prices, rent: Floats, master: Master, ends: float) -> bool:
        """With several resources the tables only bound: search whatever they do not rule out."""
        base = prices.slot * self.kinds.slots
        worth = self.pricing.charge(prices) - base
        open_ = worth > rent + EPS
        found = self.pricing.patterns(
            np.where(open_, base + rent + EPS, np.inf), best_only=True, over=lambda: self.left() <= ends
        )
        if found is None:
            return False
        offered = self._added(found, master)
        if not offered:
            self._bounded(prices, np.where(open_, rent + EPS, worth))
        return offered

    def _added(self, found: Patterns, master: Master) -> bool:
        before = len(self.columns.known)
        self.columns.add(found)
        master.add(self.columns.known[before:])
        return len(self.columns.known) > before

    def _bounded(self, prices: Prices, worth: Floats) -> None:
        """Lagrange's bound at these prices."""
        paid = float(self.kinds.count @ np.maximum(worth, 0.0)) + float(prices.budget @ self.stock.budget)
        bound = paid + (1.0 - prices.slot) * self.wanted
        if bound < self.bound:
            self.bound, self.prices, self.worth = bound, prices, worth
            self.most = min(self.wanted, int(np.floor(bound + EPS)))

    # -- answers --------------------------------------------------------------------------------------

    def _chosen(self, best: Chosen) -> Chosen:
        """The best choice among the columns known."""
        if self.most <= 0 or not self.columns.known:
            return best
        limits = Limits(self.left(), CHOOSING_WORK, self.seed)
        found = choose(self.stock, self.kinds, self.columns.known, least=0, most=self.most, limits=limits)
        return found if isinstance(found, Chosen) and found.gain > best.gain else best

    def _closed(self, best: Chosen) -> Chosen:
        """An answer on the bound, or a lower bound, until both meet or no time is left."""
        while best.gain < self.most and self.left() > 0:
            gap = self.bound - self.most
            self.pricing.charge(self.prices)
            floor = self.prices.slot * self.kinds.slots + self.worth - gap - EPS
            found = self.pricing.patterns(floor, over=lambda: self.left() <= 0)
            if found is None or len(found) > CHOICES_MAX:
                return best
            enough = [self.columns.known[index] for index in self.columns.add(found)]
            limits = Limits(self.left(), CHOOSING_WORK, self.seed)
            answer = choose(self.stock, self.kinds, enough, least=self.most, most=self.most, limits=limits)
            match answer:
                case Chosen():
                    return answer
                case Nothing.EXISTS:
                    self.most -= 1
                case Nothing.FOUND:
                    return best
        return best

    def _spared(self, best: Chosen) -> Chosen:
        """The same slots by fewer departures, if that is found soon."""
        if best.gain == 0 or len(self.columns.known) > CHOICES_MAX:
            return best
        limits = Limits(self.left(), SPARING_WORK, self.seed)
        least = min(best.gain, self.wanted)
        found = choose(self.stock, self.kinds, self.columns.known, least=least, most=least, sparing=True, limits=limits)
        return found if isinstance(found, Chosen) and found.departures < best.departures else best

    def _final(self, best: Chosen) -> Ints:
        """(H, N, C) what stands where when the columns chosen are dealt out to the hosts of their kinds."""
        final = self.stock.on.copy()
        waiting: dict[int, list[int]] = {}
        for host, kind in enumerate(self.kinds.of.tolist()):
            waiting.setdefault(kind, []).append(host)
        for column, number in best.taken:
            for _ in range(number):
                host = waiting[column.kind].pop(0)
                narrow = column.final * ~self.stock.wide
                final[host, self.kinds.order[host]] = narrow
                final[host, 0] += (column.final * self.stock.wide)[0]
        return final

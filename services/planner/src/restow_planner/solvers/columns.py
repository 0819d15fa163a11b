"""The most free slots of a shape by a bounded number of moves, with a proof; pure.

Columns are generated until their linear program is solved; an integer program over them gives the answer. Where it
misses the bound, every column that an answer on the bound could use is enumerated (its reduced cost lies within the
gap), and the integer program over these finds such an answer or lowers the bound by a slot.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from restow_planner.deadline import Deadline
from restow_planner.problem import Ints
from restow_planner.solvers.generation import EPS, Generation
from restow_planner.solvers.master import NOTHING, Chosen, Column, Columns, Limits, Nothing, choose
from restow_planner.solvers.pricing import Pricing
from restow_planner.solvers.stock import Aim, Kinds, Prices, Stock

GENERATING_SHARE = 0.5
"""The part of the time left that generating may take before an answer is looked for again."""
CHOOSING_WORK = 20.0
FIRST_WORK = 2.0
"""Deterministic seconds at most for an integer program: one that proves, and one that only finds."""
FEW = 1_500
CHOICES_MAX = 40_000
"""Columns in one integer program at most."""
MORE = 20
"""Columns a kind that are tried before all are enumerated."""
RESERVE_S = 0.1
"""Seconds kept for putting the answer together."""


@dataclass(frozen=True, slots=True)
class Move:
    """An item of a class goes from a host and its node to another; a wide one from and to node 0."""

    item: int
    source: tuple[int, int]
    target: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rearranged:
    """`final` (H, N, C): the items of each class on each node, wide ones on node 0.

    `gain`: slots more than before, `bound`: no rearrangement gains more; both as far as they were wanted.
    """

    stock: Stock
    final: Ints
    gain: int
    bound: int
    departures: int

    def moves(self) -> Iterator[Move]:
        """One way from where the items stand to where they end: each class by itself, none of its items in vain."""
        change = self.final - self.stock.on
        for item in range(len(self.stock.wide)):
            places = [(host, node) for host, node in np.argwhere(change[..., item]).tolist()]
            gone = [place for place in places for _ in range(-int(change[(*place, item)]))]
            come = [place for place in places for _ in range(int(change[(*place, item)]))]
            yield from (Move(item, source, target) for source, target in zip(gone, come, strict=True))

    @property
    def proven(self) -> bool:
        return self.gain >= self.bound


def rearranged(
    stock: Stock, *, deadline: Deadline, seed: int, wanted: int | None = None, sparing: bool = True
) -> Rearranged:
    """Items moved within the budgets for the most slots, at most `wanted` more.

    Without time, nothing moves.
    `sparing`: then look for the same slots by the fewest moves.
    """
    kinds = Kinds.sorted_out(stock)
    most = int((stock.slots(kinds.room - kinds.debt).sum(axis=1) - kinds.slots) @ kinds.count)  # were all gone
    most = most if wanted is None else max(0, min(wanted, most))
    return _Search(stock, deadline, seed, kinds, most).run(sparing=sparing)


@dataclass(slots=True)
class _Search:
    stock: Stock
    deadline: Deadline
    seed: int
    kinds: Kinds
    most: int
    """The bound in whole slots."""
    pricing: Pricing = field(init=False)
    columns: Columns = field(init=False)

    def __post_init__(self) -> None:
        self.pricing = Pricing(self.stock, self.kinds)
        self.columns = Columns(self.stock, self.kinds)

    def run(self, *, sparing: bool) -> Rearranged:
        best, wanted = NOTHING, self.most
        generation = self._generation(Aim(reward=1.0, cost=0.0, slots=wanted))
        while wanted > 0 and not generation.finished and not self._over():
            self._generate(generation)
            self.most = int(np.floor(min(wanted, generation.bound + EPS)))
            best = self._better(best, generation)
        best = self._closed(best, generation)
        if sparing and best.gain > 0:
            best = self._spared(best, min(best.gain, wanted))
        return Rearranged(self.stock, self._final(best), min(best.gain, wanted), self.most, best.departures)

    def _generate(self, generation: Generation) -> None:
        part = self.deadline.part(GENERATING_SHARE)
        generation.run(lambda: part.over(keep=RESERVE_S))

    def _over(self) -> bool:
        return self.deadline.over(keep=RESERVE_S)

    def _generation(self, aim: Aim) -> Generation:
        guess = Prices.guessed(self.stock)
        return Generation(self.stock, self.kinds, self.pricing, self.columns, aim, guess)

    def _chosen(
        self, columns: list[Column], *, least: int, most: int, work: float = CHOOSING_WORK, sparing: bool = False
    ) -> Chosen | Nothing:
        limits = Limits(self.deadline.budget(1.0, most=work), self.deadline, self.seed)
        return choose(self.stock, self.kinds, columns, least=least, most=most, limits=limits, sparing=sparing)

    def _better(self, best: Chosen, generation: Generation) -> Chosen:
        """The best answer of the columns known; of few of them first, which is soon had."""
        if best.gain >= self.most or not np.isfinite(generation.bound):
            return best
        gap = generation.bound - self.most
        if gap < 1:
            met = self._chosen(generation.near(gap), least=self.most, most=self.most)
            if isinstance(met, Chosen):
                return met
        for few in (FEW, CHOICES_MAX):
            columns = generation.promising(few)
            found = self._chosen(columns, least=best.gain, most=self.most, work=FIRST_WORK)
            if isinstance(found, Chosen) and found.gain > best.gain:
                best = found
            if best.gain >= self.most or len(columns) < few:
                break
        return best

    def _closed(self, best: Chosen, generation: Generation) -> Chosen:
        """An answer on the bound, or a lower bound, until both meet or no time is left."""
        while best.gain < self.most and np.isfinite(generation.bound) and not self._over():
            met: Chosen | Nothing = Nothing.FOUND
            for columns, is_all in self._enough(generation, generation.bound - self.most):
                met = self._chosen(columns, least=self.most, most=self.most)
                if isinstance(met, Chosen):
                    return met
                if met is Nothing.EXISTS and is_all:
                    self.most -= 1
                    break
            else:
                break
        return best

    def _enough(self, generation: Generation, gap: float) -> Iterator[tuple[list[Column], bool]]:
        """Columns for an answer within the gap: more than those known, then all (and whether it is all)."""
        more = generation.enumerated(gap, over=self._over, most=CHOICES_MAX, width=MORE)
        if more is not None:
            yield generation.near(gap), False
        whole = generation.enumerated(gap, over=self._over, most=CHOICES_MAX)
        if whole is not None:
            yield whole, True

    def _spared(self, best: Chosen, slots: int) -> Chosen:
        """The same slots by fewer departures, if there is such an answer."""
        generation = self._generation(Aim(reward=0.0, cost=1.0, slots=slots))
        self._generate(generation)
        if not np.isfinite(generation.bound):
            return best
        fewest = int(np.ceil(-generation.bound - EPS))
        columns: list[Column] | None = self.columns.known
        for _ in range(2):
            if best.departures <= fewest or columns is None or self._over():
                break
            found = self._chosen(columns, least=slots, most=slots, work=FIRST_WORK, sparing=True)
            if isinstance(found, Chosen) and found.departures < best.departures:
                best = found
            gap = generation.bound + best.departures - 1
            columns = (
                generation.enumerated(gap, over=self._over, most=CHOICES_MAX) if best.departures > fewest else None
            )
        return best

    def _final(self, best: Chosen) -> Ints:
        """(H, N, C) what stands where when the columns chosen are dealt out to the hosts of their kinds."""
        final = self.stock.on.copy()
        waiting: dict[int, list[int]] = {}
        for host, kind in enumerate(self.kinds.of.tolist()):
            waiting.setdefault(kind, []).append(host)
        for column, number in best.taken:
            for _ in range(number):
                host = waiting[column.kind].pop(0)
                final[host, self.kinds.order[host]] = column.final * ~self.stock.wide
                final[host, 0] += (column.final * self.stock.wide)[0]
        return final

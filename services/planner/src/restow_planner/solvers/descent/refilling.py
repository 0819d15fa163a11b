"""Which hosts are emptied and filled anew next: those that pay, with others; as many as CP-SAT solves in time. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from restow_planner.problem import Ints
from restow_planner.solvers.descent.arrays import Ground, Standing
from restow_planner.solvers.descent.ground import standing
from restow_planner.solvers.descent.neighbourhood import Refill, Scale

HOSTS = (2, 12)
CHOICES = (100.0, 600.0, 6_000.0)
"""Booleans of a model: the fewest, those of the first, the most."""
GROWTH, DECLINE = 1.05, 0.93
WORK = 2.0
"""Deterministic seconds of CP-SAT for one model."""
PAYING = 0.5
"""How often the first host is drawn by what it pays."""


@dataclass(slots=True)
class Refiller:
    """`here` is the best placement that it knows."""

    ground: Ground
    scale: Scale
    at: Ints
    seed: int
    here: Standing = field(init=False)
    rng: np.random.Generator = field(init=False)
    choices: float = CHOICES[1]
    building_s: float = 0.0
    """What the slowest model took: with less time left none is begun."""
    tried_whole: bool = False
    proven: bool = False
    """No placement at all is better than `here`."""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.here = standing(self.ground, self.at)

    def start_from(self, at: Ints) -> None:
        self.here = standing(self.ground, at)

    def run(self, work: float, left: Callable[[], float]) -> None:
        """Models until so many deterministic seconds are spent, or the time is over."""
        spent = 0.0
        if not self.tried_whole:
            self.tried_whole = True
            spent = self._whole(work, left)
        while not self.proven and spent < work and left() > self.building_s:
            hosts = self._hosts()
            if len(hosts) < 2:
                return
            freed = self._freed(hosts)
            spent += WORK / 100  # building counts, too
            if not len(freed):
                continue
            model = self._model(freed, hosts, left)
            found = model.solved(work=min(WORK, work), cut_s=left(), seed=int(self.rng.integers(1 << 30)))
            spent += found.work
            self.choices *= GROWTH if found.proven else DECLINE
            self.choices = min(max(self.choices, CHOICES[0]), CHOICES[2])
            if found.at is not None:
                self._take(found.at)

    def _whole(self, work: float, left: Callable[[], float]) -> float:
        """All servers and hosts at once, where they are few; the work that it took."""
        g = self.ground
        if len(g.movable) * len(g.price) > CHOICES[1]:
            return 0.0
        model = self._model(g.movable, np.arange(len(g.price)), left)
        found = model.solved(work=work, cut_s=left(), seed=self.seed)
        if found.at is not None:
            self._take(found.at)
        self.proven = found.proven and model.exact
        return found.work

    def _model(self, freed: Ints, hosts: Ints, left: Callable[[], float]) -> Refill:
        before = left()
        model = Refill(self.ground, self.here, self.scale, freed, hosts)
        self.building_s = max(self.building_s, before - left())
        return model

    def _take(self, at: Ints) -> None:
        """As good is good enough: it is another place to go on from."""
        after = standing(self.ground, at)
        if keeps(after, self.ground) and after.cost[0] <= self.here.cost[0]:
            self.here = after

    def _hosts(self) -> Ints:
        hosts = len(self.ground.price)
        many = int(self.rng.integers(HOSTS[0], HOSTS[1] + 1))
        paid = (self.ground.price * np.maximum(self.here.excess, 0.0)).sum(axis=1)
        if paid.sum() > 0 and self.rng.random() < PAYING:
            first = int(self.rng.choice(hosts, p=paid / paid.sum()))
        else:
            first = int(self.rng.integers(hosts))
        others = self.rng.permutation(hosts)
        return np.sort(np.append(others[others != first][: many - 1], first))

    def _freed(self, hosts: Ints) -> Ints:
        on = np.zeros(len(self.ground.price), dtype=bool)
        on[hosts] = True
        freed = np.flatnonzero(self.ground.free & on[self.here.at])
        most = int(self.choices / len(hosts))
        return freed if len(freed) <= most else np.sort(self.rng.choice(freed, most, replace=False))


def keeps(s: Standing, g: Ground) -> bool:
    """Whether no rule is broken more than at the start."""
    return s.whole[2] == 0 and not s.over.any() and s.whole[0] <= g.moves_max

"""One annealer: its own dice, its own course from hot to cold, rules that may break while it is hot; pure."""

from dataclasses import dataclass, field

import numpy as np

from restow_planner.problem import Floats, Ints
from restow_planner.solvers.descent.arrays import Best, Dice, Ground, Patience, Standing
from restow_planner.solvers.descent.ground import as_best, standing
from restow_planner.solvers.descent.kernel import anneal
from restow_planner.solvers.descent.sampling import climb

MIX = np.array([0.3, 0.4])
"""The part of swaps, and of exchanges within a group."""
SAMPLES = 100_000
"""Trials from which the temperatures are taken."""
COLD = 1 / 120
"""The end of a course, in parts of what a trial adds in the mean; what is cheaper is left to the last descent."""
LEAST_PRICE, FIRST_PRICE = 0.03, 3.0
"""Prices of what is broken, in what a trial adds in the mean: by a mean server too many, or one rule."""
SUFFERED_SERVERS, SUFFERED_RULES = 2.0, 1.0
"""Mean servers too many on all hosts, by each resource, and rules that are suffered when it is hot …"""
MENDED = 0.7
"""… and the part of the course after which none are."""
HARDENED = 0.75
"""From here the price of what is broken does not fall any more."""
RATE = 0.002
LAST = 0.95
"""From here on nothing breaks, from the best placement, and the temperature falls to that of the smallest prices."""
COLDEST = 1e-6
TRIALS = 200_000
"""Trials of one step, between two looks at the clock."""
GOLDEN = 0x9E3779B97F4A7C15
WORD = 1 << 64


def dice_of(seed: int) -> Dice:
    """A state of the dice: Steele's SplitMix64 of the seed, never 0."""
    z = (seed + 1) * GOLDEN % WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return np.array([(z ^ (z >> 31)) | 1], dtype=np.uint64)


@dataclass(slots=True)
class Annealer:
    """Begins from `at`. `heat`: temperature of the start, in what a trial adds in the mean."""

    ground: Ground
    at: Ints
    seed: int
    heat: float = 1.0
    dice: Dice = field(init=False)
    here: Standing = field(init=False)
    best: Best = field(init=False)
    patience: Patience = field(init=False)
    mean: float = field(init=False)
    demand: Floats = field(init=False)  # (R,) of a mean server

    def __post_init__(self) -> None:
        g = self.ground
        resources = g.demand.shape[1]
        self.dice = dice_of(self.seed)
        self.here = standing(g, self.at)
        self.best = as_best(self.here)
        self.demand = np.maximum(g.demand.mean(axis=0), 1e-9) if len(g.demand) else np.ones(resources)
        self.patience = Patience(
            loose=np.array([True]),
            push=np.ones(resources + 1),
            least=np.ones(resources + 1),
            aim=np.zeros(resources + 1),
            rate=np.array([1 + RATE, 1 - RATE]),
            over=np.zeros(resources, dtype=np.int64),
            left=np.zeros(1, dtype=np.int64),
        )
        self.mean = self._climb(loose=False) or self._climb(loose=True)
        unit = np.append(self.mean / self.demand, self.mean)
        self.patience.push[:] = FIRST_PRICE * unit
        self.patience.least[:] = LEAST_PRICE * unit

    def _climb(self, *, loose: bool) -> float:
        g = self.ground
        return climb(g, self.here, self.dice, SAMPLES, self.patience, MIX, loose) if len(g.movable) else 0.0

    @property
    def idle(self) -> bool:
        """Nothing costs anything, or nothing fits anywhere."""
        return self.mean <= 0.0

    def temperature(self, progress: float) -> float:
        if progress < LAST:
            return self.heat * self.mean * float((COLD / self.heat) ** (progress / LAST))
        return COLD * self.mean * float((COLDEST / COLD) ** ((progress - LAST) / (1 - LAST)))

    def run(self, progress: float, reached: float) -> None:
        """Trials on the way from the one part of the course to the other (0: its start, 1: its end)."""
        p = self.patience
        if progress >= LAST and p.loose[0]:
            p.loose[0] = False
            self.here = standing(self.ground, self.best.at)
        suffered = max(0.0, 1 - progress / MENDED)
        p.aim[:-1] = SUFFERED_SERVERS * suffered * self.demand
        p.aim[-1] = SUFFERED_RULES * suffered
        p.rate[1] = 1 - RATE if progress < HARDENED else 1.0
        hot, cold = self.temperature(progress), self.temperature(reached)
        anneal(self.ground, self.here, self.best, self.dice, TRIALS, hot, cold, p, MIX)

"""The course of an improvement: annealers side by side, then CP-SAT beside one that anneals the best again; pure.

Threads share nothing while they work: the kernel and CP-SAT let go of the interpreter, and whoever is best is taken
over when all have come to the end of their part. So the answer depends on the seed alone, unless the clock cuts.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from restow.cloud.model import Cloud, Host, Server
from restow.ids import DomainName, HostName, ServerId
from restow_planner.problem import Ints, compile_problem
from restow_planner.solvers.descent.annealing import Annealer
from restow_planner.solvers.descent.arrays import Ground
from restow_planner.solvers.descent.ground import compile_ground, standing
from restow_planner.solvers.descent.neighbourhood import Scale
from restow_planner.solvers.descent.refilling import Refiller, keeps

ANNEALERS = 2
"""Side by side, each with its own dice; one for each core of a small machine."""
ANNEALING = 0.5
"""The part of the effort for annealing from the start; the rest is for CP-SAT beside annealing from the best."""
STEPS_OF_ROUND = 150
"""Of the annealing beside CP-SAT."""
REHEATS = (0.05, 0.1)
"""The temperatures from which a placement that is good is annealed again, in turn."""
ROUND_WORK = 4.0
"""Deterministic seconds of CP-SAT after which all take over the best placement."""
TIE = 1e-9
STEPS_MAX, ROUNDS_MAX = 100_000_000, 100_000
"""For a caller whose clock stands still."""


@dataclass(slots=True)
class Course:
    """`at` is the best placement so far, the start at first, and `cost` its price."""

    ground: Ground
    bound: float
    seed: int
    left: Callable[[], float]
    steps: int | None
    at: Ints = field(init=False)
    cost: float = field(init=False)

    def __post_init__(self) -> None:
        self.at = self.ground.start.copy()
        self.cost = float(standing(self.ground, self.at).cost[0])

    @property
    def done(self) -> bool:
        return self.cost <= self.bound + TIE or self.left() <= 0.0

    def run(self) -> None:
        if self.done or not len(self.ground.movable) or len(self.ground.price) < 2:
            return
        all_s = self.left()
        with ThreadPoolExecutor(ANNEALERS) as pool:
            steps = None if self.steps is None else round(self.steps * ANNEALING)
            self._anneal(pool, steps, all_s * (1 - ANNEALING))
            self._polish(pool, None if self.steps is None else self.steps - (steps or 0))

    def _anneal(self, pool: ThreadPoolExecutor, steps: int | None, spare_s: float) -> None:
        annealers = [Annealer(self.ground, self.at, self.seed * ANNEALERS + number) for number in range(ANNEALERS)]
        for future in [pool.submit(self._cool, one, steps, lambda: self.left() - spare_s) for one in annealers]:
            future.result()
        for one in annealers:
            self._offer(one.best.at)

    def _cool(self, annealer: Annealer, steps: int | None, left: Callable[[], float]) -> None:
        """A whole course, its end given by steps or by the clock."""
        if annealer.idle:
            return
        all_s, step = left(), 0
        progress, pace = 0.0, 0.0
        while progress < 1.0 and step < STEPS_MAX:
            reached = (step + 1) / steps if steps is not None else min(1.0, progress + pace)
            annealer.run(progress, reached)
            step += 1
            before, now = progress, left()
            if now <= 0.0 or annealer.best.cost[0] <= self.bound + TIE:
                return
            progress = reached if steps is not None else 1.0 - now / all_s
            pace = progress - before

    def _polish(self, pool: ThreadPoolExecutor, steps: int | None) -> None:
        """Rounds of CP-SAT and of annealing again, each from the best of both."""
        refiller = Refiller(self.ground, Scale(self.ground), self.at, self.seed)
        part = STEPS_OF_ROUND if steps is None else max(1, min(STEPS_OF_ROUND, steps))
        rounds = ROUNDS_MAX if steps is None else max(1, steps // STEPS_OF_ROUND)
        for number in range(rounds):
            if self.done:
                return
            seed, heat = (self.seed + 1) * ANNEALERS + number, REHEATS[number % len(REHEATS)]
            annealer = Annealer(self.ground, self.at, seed, heat=heat)
            refiller.start_from(self.at)
            again = pool.submit(self._cool, annealer, part, self.left)
            refiller.run(ROUND_WORK * part / STEPS_OF_ROUND, self.left)
            again.result()
            both = np.where(refiller.here.at != self.at, refiller.here.at, annealer.best.at)
            for found in (refiller.here.at, annealer.best.at, both):
                self._offer(found)
            if refiller.proven and refiller.here.cost[0] <= self.cost + TIE:
                self.bound = self.cost

    def _offer(self, at: Ints) -> None:
        found = standing(self.ground, at)
        if keeps(found, self.ground) and found.cost[0] < self.cost - TIE:
            self.at, self.cost = at.copy(), float(found.cost[0])


def warm_up() -> None:
    """Anneal one server between two hosts, so that the compiled code is there."""
    names = HostName("a"), HostName("b")
    server = Server(ServerId("s"), host=names[0])
    cloud = Cloud(datetime.min.replace(tzinfo=UTC), DomainName(""), (), tuple(map(Host, names)), (server,))
    ground = compile_ground(compile_problem(cloud, ()), (), ())
    annealer = Annealer(ground, ground.start, seed=0)
    annealer.run(0.0, 1.0)

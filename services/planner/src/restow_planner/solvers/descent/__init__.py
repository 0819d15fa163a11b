"""A cheaper placement by the rules and prices of primitives: annealing and CP-SAT side by side, anytime; pure.

The entry point is `improved`. Servers that no rule fixes move from where they start to wherever the sum of all prices
is lowest, and no rule is broken, or more broken than it was. It knows nothing of goals: a goal says in `HostCost` and
`MoveCost` what is to be low (loads above a mean, a peak, the number of moves) and reads the placement.
"""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from restow_planner.primitives import Price, Primitive
from restow_planner.problem import Ints, Problem

__all__ = ["Improved", "at_hand", "improved", "warm_up"]

TIE = 1e-9
CACHE = Path(__file__).with_name("__pycache__")


@dataclass(frozen=True, slots=True)
class Improved:
    """`at` (S,) the host of each server, -1 for those that run nowhere. No placement costs less than `bound`."""

    at: Ints
    cost: float
    bound: float
    cost_before: float

    @property
    def proven(self) -> bool:
        return self.cost <= self.bound + TIE


def improved(
    problem: Problem,
    primitives: Iterable[Primitive],
    prices: Iterable[Price],
    *,
    seed: int,
    left: Callable[[], float],
    steps: int | None = None,
    moves_max: int | None = None,
) -> Improved:
    """The cheapest placement found, which is never dearer than the start.

    `primitives` are those of which `problem` was made. ValueError: a hard one is of a kind that this search does not
    know, such as licences. `left`: seconds until the end by the clock, asked again and again. `steps`: how much work at
    the most, by each of two threads (200,000 trials a step); with it, and time enough, the same seed gives the same
    answer. `moves_max`: servers that end elsewhere than they started, at the most.
    """
    from restow_planner.solvers.descent.bound import least_cost
    from restow_planner.solvers.descent.course import Course
    from restow_planner.solvers.descent.ground import compile_ground

    ground = compile_ground(problem, primitives, prices, moves_max=moves_max)
    course = Course(ground, least_cost(ground), seed, left, steps)
    before = course.cost
    course.run()
    return Improved(course.at, course.cost, course.bound, before)


def at_hand() -> bool:
    """Whether the compiled kernel is there, so that it need not be compiled first."""
    return "restow_planner.solvers.descent.kernel" in sys.modules or any(CACHE.glob("kernel.anneal-*.nbi"))


def warm_up() -> None:
    """Compile the kernel, or load it from its cache: seconds that are better spent before a question comes."""
    from restow_planner.solvers.descent.course import warm_up as compiled

    compiled()

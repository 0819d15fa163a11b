"""What trials would add, before any is made: the measure of temperatures; pure."""

from restow_planner.problem import Floats
from restow_planner.solvers.descent.arrays import HARD, Dice, Ground, Patience, Standing
from restow_planner.solvers.descent.kernel import candidate, compiled, overrun_delta, priced


@compiled
def climb(  # noqa: PLR0917 - compiled code takes no keywords
    g: Ground, s: Standing, dice: Dice, samples: int, p: Patience, mix: Floats, loose: bool
) -> float:
    """The mean of what a trial that fits (`loose`: any) makes dearer, 0 where none does."""
    total, found = 0.0, 0
    for _ in range(samples):
        one, other, target = candidate(g, s, dice, mix)
        if one >= 0 and overrun_delta(g, s, one, other, s.at[one], target, p, loose) < HARD:
            delta = priced(g, s, one, other, s.at[one], target)
            if delta > 0.0:
                total += delta
                found += 1
    return total / found if found > 0 else 0.0

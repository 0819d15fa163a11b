"""A timetable made better by making it backwards and forwards in turn, and again from a shaken order; pure.

Backwards, every job is put as late as it can, by its end; forwards again, as soon as it can, by its start: what was
idle closes up. After K. Li and R. Willis, "An iterative scheduling technique for resource-constrained project
scheduling", European Journal of Operational Research 56 (1992).
"""

from collections.abc import Callable

import numpy as np

from restow_planner.solvers.timetable.passes import Line, Times
from restow_planner.solvers.timetable.work import Work

TURNS = 4
"""Backwards and forwards from one order."""
SHAKES = (0.02, 0.05, 0.1, 0.2)
"""How far a job is moved in line, in parts of the makespan, round after round."""
FAR_SHARE, FAR = 0.1, 3.0
"""In every second round only this share of the jobs is moved, and this many times as far."""


class Improver:
    """One search, over when the makespan is no more than `goal`. `passes` counts the list schedules made so far."""

    def __init__(self, work: Work, *, goal: int, seed: int, late: Callable[[], bool] = lambda: False) -> None:
        self.work, self.goal, self.late, self.passes = work, goal, late, 0
        self.forwards, self.backwards = Line(work), Line(work.backwards())
        self.random = np.random.default_rng(seed)
        self.rounds = 0

    def improved(self, best: Times | None, *, passes: int, stall: int | None) -> Times | None:
        """The best timetable after so many passes, or when `stall` rounds in a row were in vain.

        None: every pass ran into a deadlock of the rooms.
        """
        last, in_vain = self.passes + passes, 0
        if best is None and passes:
            best = self._turned(self._most_urgent_first(), None, last)
        while self.passes < last and not self._done(best) and in_vain != stall and not self.late():
            self.rounds += 1
            found = self._turned(self._shaken(best), best, last)
            in_vain = 0 if found is not best else in_vain + 1
            best = found
        return best

    def _done(self, best: Times | None) -> bool:
        return best is not None and best.makespan <= self.goal

    def _most_urgent_first(self) -> list[int]:
        """By the fullest gate on its way and the chain that hangs on it."""
        work = self.work
        need = [load / capacity if capacity else 0.0 for load, capacity in zip(work.loads, work.gates, strict=True)]
        urgency = [
            max((need[gate] for gate, _ in job.ways[0].uses), default=0.0) + quickest + tail
            for job, quickest, tail in zip(work.jobs, work.quickest, work.tails, strict=True)
        ]
        return sorted(range(len(work.jobs)), key=lambda job: (-urgency[job], job))

    def _shaken(self, best: Times | None) -> list[int]:
        number = len(self.work.jobs)
        if best is None:
            return [int(job) for job in self.random.permutation(number)]
        noise = self.random.normal(0.0, SHAKES[self.rounds % len(SHAKES)] * best.makespan, number)
        if self.rounds % 2:
            noise *= FAR * (self.random.random(number) < FAR_SHARE)
        return [int(job) for job in np.argsort(np.array(best.start) + noise, kind="stable")]

    def _turned(self, order: list[int], best: Times | None, last: int) -> Times | None:
        """The better of `best` and what comes of this order, by not many more passes than up to `last`."""
        for turn in range(2 * TURNS + 1):
            if turn and self.passes >= last:
                break
            times = (self.backwards if turn % 2 else self.forwards).run(order)
            self.passes += 1
            if times is None:
                break
            if not turn % 2 and (best is None or times.makespan < best.makespan):
                best = times
                if self._done(best):
                    break
            ticks = [job.ways[way].ticks for job, way in zip(self.work.jobs, times.way, strict=True)]
            ends = np.array(times.start) + np.array(ticks)
            order = [int(job) for job in np.argsort(-ends, kind="stable")]
        return best

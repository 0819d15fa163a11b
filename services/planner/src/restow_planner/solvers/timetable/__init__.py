"""When each of many jobs runs, so that all is over soonest: list scheduling, improved, then exact; pure.

List scheduling answers in milliseconds and is made better forwards and backwards. Only where it does not reach what no
timetable can beat does CP-SAT, which begins from it, try to better it or to prove it the best.
"""

from collections.abc import Callable
from dataclasses import dataclass

from restow_planner.solvers.timetable.exact import exact
from restow_planner.solvers.timetable.improve import Improver
from restow_planner.solvers.timetable.passes import Times
from restow_planner.solvers.timetable.work import Job, Way, Work

__all__ = ["Impossible", "Job", "Timetable", "Undecided", "Way", "Work", "in_line", "timetable"]

PLACED_PER_S = 50_000
"""Jobs that list scheduling starts in a second, at the least: the measure of its share of the time."""
EXACT_SHARE = 0.5
EXACT_JOBS_MAX = 3_000
STALL_ROUNDS = 40
"""Rounds without a better timetable after which the exact model has its turn."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """Of each job: its start, its end and the number of its way. No timetable has a makespan under `bound`."""

    start: tuple[int, ...]
    end: tuple[int, ...]
    way: tuple[int, ...]
    makespan: int
    bound: int

    @property
    def proven(self) -> bool:
        return self.makespan == self.bound


@dataclass(frozen=True, slots=True)
class Impossible:
    """Proven: no timetable exists. `reasons` is empty where only the exact model knows."""

    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undecided:
    """No timetable was found in the time given, and none was proven impossible."""


def timetable(
    work: Work, *, seconds: float, seed: int, late: Callable[[], bool] = lambda: False
) -> Timetable | Impossible | Undecided:
    """The timetable with the least makespan that was found in about `seconds`.

    The time is counted in work done, so the same question has the same answer; `late` is for a caller who must end by
    the clock all the same. A deadlock of the rooms that list scheduling runs into is left to the exact model.
    """
    refusals = work.refusals()
    if refusals:
        return Impossible(refusals)
    work, step = work.coarser()
    passes = max(1, int(seconds * PLACED_PER_S / max(1, len(work.jobs))))
    before = max(1, int(passes * (1 - EXACT_SHARE)))
    improver = Improver(work, goal=work.bound, seed=seed, late=late)
    best, bound = improver.improved(None, passes=before, stall=STALL_ROUNDS), work.bound
    used = min(improver.passes, before)
    if (best is None or best.makespan > bound) and _suits_exact(work) and not late():
        answer = exact(work, known=best, bound=bound, seconds=seconds * EXACT_SHARE, seed=seed)
        if answer.impossible:
            return Impossible()
        best, bound = answer.times, answer.bound
    if best is None or best.makespan > bound:
        best = improver.improved(best, passes=before - used, stall=None)
    return Undecided() if best is None else _named(work, best, bound, step)


def in_line(work: Work, *, placed_max: int, stall: int, near: float, seed: int) -> Timetable | Impossible | Undecided:
    """The best list schedule that is found while starting at most so many jobs (but all of them once).

    It looks no further after `stall` rounds in vain, or when the makespan is `near` its bound, as a part of it.
    Whoever starts what can start, in the order of these starts, keeps to it. One by `timetable` may wait on purpose.
    """
    refusals = work.refusals()
    if refusals:
        return Impossible(refusals)
    passes = max(1, placed_max // max(1, len(work.jobs)))
    goal = int(work.bound * (1 + near))
    best = Improver(work, goal=goal, seed=seed).improved(None, passes=passes, stall=stall)
    return Undecided() if best is None else _named(work, best, work.bound, 1)


def _suits_exact(work: Work) -> bool:
    return sum(len(job.ways) for job in work.jobs) <= EXACT_JOBS_MAX and min(work.rooms, default=0) >= 0


def _named(work: Work, times: Times, bound: int, step: int) -> Timetable:
    start = tuple(step * one for one in times.start)
    ticks = (step * job.ways[way].ticks for job, way in zip(work.jobs, times.way, strict=True))
    end = tuple(one + more for one, more in zip(start, ticks, strict=True))
    return Timetable(start, end, times.way, max(end, default=0), step * bound)

"""The timetable as one CP-SAT model: intervals, a cumulative per gate and per room; pure.

One worker, a fixed seed and a limit in deterministic time: the same question has the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restow_planner.deadline import Deadline
from restow_planner.solvers import cp_sat
from restow_planner.solvers.timetable.passes import Times
from restow_planner.solvers.timetable.work import Amounts, Work

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True, slots=True)
class Exact:
    """`times`: None where nothing was found. `bound`: no timetable ends sooner. `impossible`: proven, none exists."""

    times: Times | None
    bound: int
    impossible: bool = False


def exact(work: Work, *, known: Times | None, bound: int, seconds: float, seed: int) -> Exact:
    """The best timetable that ends no later than `known`, which is also where the search begins."""
    return _Model(work, known, bound).solved(seconds=seconds, seed=seed)


class _Model:
    """Only this class knows how the decisions are stored."""

    def __init__(self, work: Work, known: Times | None, bound: int) -> None:
        from ortools.sat.python import cp_model

        self.work, self.known, self.bound = work, known, bound
        self.model = cp_model.CpModel()
        longest = sum(max(way.ticks for way in job.ways) for job in work.jobs)
        self.horizon = known.makespan if known is not None else max(longest, bound)
        self.start = [self.model.new_int_var(0, self.horizon, "") for _ in work.jobs]
        self.end = [self.model.new_int_var(0, self.horizon, "") for _ in work.jobs]
        self.goes: dict[tuple[int, int], cp_model.IntVar] = {}
        self._gates()
        self._rooms()
        self.makespan = self.model.new_int_var(bound, self.horizon, "")
        for index, job in enumerate(work.jobs):
            self.model.add(self.makespan >= self.end[index] + work.tails[index])
            self.model.add(self.start[index] >= work.heads[index])
            for one in job.after:
                self.model.add(self.start[index] >= self.end[one])
        self.model.minimize(self.makespan)

    def _gates(self) -> None:
        passing: dict[int, list[tuple[cp_model.IntervalVar, int]]] = {}
        for index, job in enumerate(self.work.jobs):
            if len(job.ways) > 1:
                for number in range(len(job.ways)):
                    self.goes[index, number] = self.model.new_bool_var("")
                self.model.add_exactly_one(self.goes[index, number] for number in range(len(job.ways)))
            for number, way in enumerate(job.ways):
                begin, end = self.start[index], self.end[index]
                goes = self.goes.get((index, number))
                if goes is None:
                    self.model.add(end == begin + way.ticks)
                    interval = self.model.new_fixed_size_interval_var(begin, way.ticks, "")
                else:
                    interval = self.model.new_optional_interval_var(begin, way.ticks, end, goes, "")
                for gate, amount in way.uses:
                    if amount:
                        passing.setdefault(gate, []).append((interval, amount))
        for gate, entries in sorted(passing.items()):
            self._within(entries, self.work.gates[gate])

    def _within(self, entries: Sequence[tuple["cp_model.IntervalVar", int]], capacity: int) -> None:
        intervals, amounts = [one for one, _ in entries], [amount for _, amount in entries]
        if sum(amounts) <= capacity:
            return
        if 2 * min(amounts) > capacity and max(amounts) <= capacity:
            self.model.add_no_overlap(intervals)
        else:
            self.model.add_cumulative(intervals, amounts, capacity)

    def _rooms(self) -> None:
        """What takes fills its room from its start to the end of time, what gives from the first tick to its end."""
        after_all = self.horizon + 1
        taken: dict[int, list[tuple[int, int]]] = {}
        given: dict[int, list[tuple[int, int]]] = {}
        for index, job in enumerate(self.work.jobs):
            for amounts, found in ((job.takes, taken), (job.gives, given)):
                for room, amount in _positive(amounts):
                    found.setdefault(room, []).append((index, amount))
        for room, takers in sorted(taken.items()):
            left = self.work.rooms[room]
            if sum(amount for _, amount in takers) <= left:
                continue
            entries = []
            for index, amount in takers:
                size = self.model.new_int_var(0, after_all, "")
                entries.append((self.model.new_interval_var(self.start[index], size, after_all, ""), amount))
            for index, amount in given.get(room, ()):
                size = self.model.new_int_var(0, after_all, "")
                entries.append((self.model.new_interval_var(0, size, self.end[index], ""), amount))
            self._within(entries, left + sum(amount for _, amount in given.get(room, ())))

    def solved(self, *, seconds: float, seed: int) -> Exact:
        from ortools.sat.python import cp_model

        if self.known is not None:
            for index, start in enumerate(self.known.start):
                self.model.add_hint(self.start[index], start)
                self.model.add_hint(self.end[index], start + self.work.jobs[index].ways[self.known.way[index]].ticks)
            for (index, way), goes in self.goes.items():
                self.model.add_hint(goes, int(self.known.way[index] == way))
            self.model.add_hint(self.makespan, self.known.makespan)
        deadline = Deadline.after(seconds * cp_sat.WALL_FACTOR)
        solver, status = cp_sat.run(self.model, work_s=seconds, deadline=deadline, seed=seed)
        if status == cp_model.INFEASIBLE:
            assert self.known is None, "a timetable that exists is no longer possible"
            return Exact(None, self.bound, impossible=True)
        bound = max(self.bound, round(solver.best_objective_bound))
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Exact(self.known, self.bound)
        times = Times(
            start=tuple(solver.value(start) for start in self.start),
            way=tuple(self._way(solver, index) for index in range(len(self.work.jobs))),
            makespan=solver.value(self.makespan),
        )
        return Exact(times, bound)

    def _way(self, solver: "cp_model.CpSolver", job: int) -> int:
        numbers = range(len(self.work.jobs[job].ways))
        return next((number for number in numbers[1:] if solver.value(self.goes[job, number])), 0)


def _positive(amounts: Amounts) -> Amounts:
    return tuple((where, amount) for where, amount in amounts if amount)

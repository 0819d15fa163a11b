"""What a timetable is made for, and what no timetable can beat; pure.

Times are whole ticks (the caller says what a tick is) and amounts whole numbers. A *gate* is shared by the jobs that
run at the same time: a link in one direction, with its capacity; how many jobs a host, or the whole domain, carries
at once. A *room* is held without end: a job takes from it when it starts and gives to it when it ends, as a live
migration claims its destination from its start and leaves its source at its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

SUMS_MAX = 100_000_000
"""Bits of work that one bound is worth."""

Amounts = tuple[tuple[int, int], ...]
"""Pairs of the number of a gate or room, and how much of it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do a job: more of a link, and sooner over. `ticks` >= 1; `uses`: of gates, from start to end."""

    ticks: int
    uses: Amounts = ()

    def __post_init__(self) -> None:
        assert self.ticks >= 1


@dataclass(frozen=True, slots=True)
class Job:
    """`after`: jobs that must have ended before it starts. `ways`: at least one; the first is tried first."""

    ways: tuple[Way, ...]
    after: tuple[int, ...] = ()
    takes: Amounts = ()
    gives: Amounts = ()


@dataclass(frozen=True)
class Work:
    """Jobs, the capacity of each gate, and what each room has left before the first job starts.

    A job may take from a room only what is left there then; a room that is overdrawn at the start hinders no job that
    takes nothing from it.
    """

    jobs: tuple[Job, ...]
    gates: tuple[int, ...] = ()
    rooms: tuple[int, ...] = ()

    def coarser(self) -> tuple["Work", int]:
        """The same work in the largest ticks that tell all its times, and how many of these ticks one of them is.

        Nothing is lost: in a timetable with every start as early as it can be, starts are sums of durations.
        """
        step = gcd(*(way.ticks for job in self.jobs for way in job.ways)) or 1
        jobs = (replace(job, ways=tuple(Way(way.ticks // step, way.uses) for way in job.ways)) for job in self.jobs)
        return Work(tuple(jobs), self.gates, self.rooms), step

    def backwards(self) -> "Work":
        """The same work in reversed time: a timetable of the one, read backwards, is one of the other."""
        rooms, after = list(self.rooms), [[] for _ in self.jobs]  # type: list[int], list[list[int]]
        for index, job in enumerate(self.jobs):
            for one in job.after:
                after[one].append(index)
            for room, amount in job.gives:
                rooms[room] += amount
            for room, amount in job.takes:
                rooms[room] -= amount
        jobs = (
            Job(job.ways, tuple(later), takes=job.gives, gives=job.takes)
            for job, later in zip(self.jobs, after, strict=True)
        )
        return Work(tuple(jobs), self.gates, tuple(rooms))

    @cached_property
    def in_order(self) -> tuple[int, ...] | None:
        """The jobs, each behind those that it comes after; None: some wait for each other in a circle."""
        missing = [len(set(job.after)) for job in self.jobs]
        later: list[list[int]] = [[] for _ in self.jobs]
        for index, job in enumerate(self.jobs):
            for one in set(job.after):
                later[one].append(index)
        found = [index for index, number in enumerate(missing) if not number]
        for index in found:  # grows while it is read
            for one in later[index]:
                missing[one] -= 1
                if not missing[one]:
                    found.append(one)
        return tuple(found) if len(found) == len(self.jobs) else None

    @cached_property
    def heads(self) -> tuple[int, ...]:
        """The least ticks before each job can start, by what it comes after."""
        assert self.in_order is not None
        heads = [0] * len(self.jobs)
        for index in self.in_order:
            heads[index] = max((heads[one] + self.quickest[one] for one in self.jobs[index].after), default=0)
        return tuple(heads)

    @cached_property
    def tails(self) -> tuple[int, ...]:
        """The least ticks after the end of each job until all is done, by what comes after it."""
        assert self.in_order is not None
        tails = [0] * len(self.jobs)
        for index in reversed(self.in_order):
            for one in self.jobs[index].after:
                tails[one] = max(tails[one], tails[index] + self.quickest[index])
        return tuple(tails)

    @cached_property
    def quickest(self) -> tuple[int, ...]:
        return tuple(min(way.ticks for way in job.ways) for job in self.jobs)

    @cached_property
    def loads(self) -> tuple[int, ...]:
        """Least ticks x amount that the jobs bring to each gate."""
        loads = [0] * len(self.gates)
        for job in self.jobs:
            for gate, load in _least_loads(job):
                loads[gate] += load
        return tuple(loads)

    @cached_property
    def bound(self) -> int:
        """No timetable ends sooner: the longest chain, and for each gate its load over its capacity."""
        heads, tails, quickest = self.heads, self.tails, self.quickest
        if not self.jobs:
            return 0
        bound = max((a + b + c for a, b, c in zip(heads, tails, quickest, strict=True)))
        first = [bound] * len(self.gates)
        last = [bound] * len(self.gates)
        for index, job in enumerate(self.jobs):
            for gate, _ in _least_loads(job):
                first[gate] = min(first[gate], heads[index])
                last[gate] = min(last[gate], tails[index])
        for gate in range(len(self.gates)):
            if self.loads[gate]:
                bound = max(bound, first[gate] + self._shortest(gate) + last[gate])
        return bound

    def _shortest(self, gate: int) -> int:
        """Ticks that all jobs of this gate need to get through it.

        They run in lanes beside each other, as many as the smallest of them fit in. Not all lanes are shorter than
        their mean, and the length of a lane is a sum of some of the jobs: so one is as long as the next such sum.
        """
        least = -(-self.loads[gate] // self.gates[gate])
        alone = self._one_way[gate]
        total = sum(ticks for ticks, _ in alone)
        if not alone or total * len(alone) > SUMS_MAX:
            return least
        mean = -(-total // (self.gates[gate] // min(amount for _, amount in alone)))
        sums = 1  # bit n: some of the jobs take n ticks together
        for ticks, _ in alone:
            sums |= sums << ticks
        longer = sums >> mean
        return max(least, mean + (longer & -longer).bit_length() - 1)

    @cached_property
    def _one_way(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Of each gate the jobs that have one way only, and that through it: ticks and amount."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.gates]
        for job in self.jobs:
            if len(job.ways) == 1:
                for gate, amount in job.ways[0].uses:
                    if amount:
                        found[gate].append((job.ways[0].ticks, amount))
        return tuple(map(tuple, found))

    def refusals(self) -> tuple[str, ...]:
        """Why no timetable exists, as far as a look at single jobs, gates and rooms tells."""
        told = []
        if self.in_order is None:
            told.append("jobs wait for each other in a circle")
        for index, job in enumerate(self.jobs):
            if not any(all(amount <= self.gates[gate] for gate, amount in way.uses) for way in job.ways):
                told.append(f"job {index} fits through no gate, even alone")
        told += [f"room {room} is overdrawn in the end" for room in _overdrawn(self)]
        return tuple(told)


def _least_loads(job: Job) -> Sequence[tuple[int, int]]:
    """Gates that every way of the job uses."""
    if len(job.ways) == 1:
        return [(gate, amount * job.ways[0].ticks) for gate, amount in job.ways[0].uses if amount]
    loads = [{gate: amount * way.ticks for gate, amount in way.uses if amount} for way in job.ways]
    return [(gate, min(load[gate] for load in loads)) for gate in loads[0] if all(gate in load for load in loads)]


def _overdrawn(work: Work) -> list[int]:
    left = work.backwards().rooms
    taken = {room for job in work.jobs for room, amount in job.takes if amount}
    return [room for room in sorted(taken) if left[room] < 0]

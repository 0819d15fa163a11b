"""List scheduling: at every instant the first job in line that can start does; pure.

The serial and parallel schemes for projects with limited resources, and improving a timetable by making it backwards
and forwards in turn, are those of R. Kolisch and S. Hartmann, "Heuristic algorithms for the resource-constrained
project scheduling problem" (1999); this is the parallel one, with queues per gate and room instead of a scan.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from restow_planner.solvers.timetable.work import Amounts, Work

READY = -1
"""The queue of jobs that nothing has held back yet."""


@dataclass(frozen=True, slots=True)
class Times:
    """When each job starts, and which of its ways it goes."""

    start: tuple[int, ...]
    way: tuple[int, ...]
    makespan: int


class Line:
    """Work made ready for many passes. Gates and rooms that can never be short are left out."""

    def __init__(self, work: Work) -> None:
        self.work = work
        used = [0] * len(work.gates)
        taken = [0] * len(work.rooms)
        for job in work.jobs:
            most: dict[int, int] = {}
            for gate, amount in (use for way in job.ways for use in way.uses):
                most[gate] = max(amount, most.get(gate, 0))
            for gate, amount in most.items():
                used[gate] += amount
            for room, amount in job.takes:
                taken[room] += amount
        scarce = [total > capacity for total, capacity in zip(used, work.gates, strict=True)]
        short = [total > left for total, left in zip(taken, work.rooms, strict=True)]
        self.gates = len(work.gates)
        self.ways = [
            [
                (number, _kept(way.uses, scarce))
                for number, way in enumerate(job.ways)
                if all(amount <= work.gates[gate] for gate, amount in way.uses)
            ]
            for job in work.jobs
        ]
        self.takes = [[(room + self.gates, amount) for room, amount in _kept(job.takes, short)] for job in work.jobs]
        self.gives = [[(room + self.gates, amount) for room, amount in _kept(job.gives, short)] for job in work.jobs]
        self.missing = [len(set(job.after)) for job in work.jobs]
        self.later: list[list[int]] = [[] for _ in work.jobs]
        for index, job in enumerate(work.jobs):
            for one in set(job.after):
                self.later[one].append(index)
        least: dict[int, int] = {}
        for ways, takes in zip(self.ways, self.takes, strict=True):
            for where, amount in [*takes, *(use for _, uses in ways for use in uses)]:
                least[where] = min(amount, least.get(where, amount))
        self.least = [least.get(where, 1) for where in range(self.gates + len(work.rooms))]

    def run(self, order: Sequence[int]) -> Times | None:
        """A timetable by this order of all jobs, first in line first. None: the rooms ran into a deadlock."""
        left = [*self.work.gates, *self.work.rooms]
        missing = list(self.missing)
        rank = [0] * len(order)
        for place, job in enumerate(order):
            rank[job] = place
        queues: list[list[int]] = [[] for _ in left]  # of ranks, as heaps
        start, chosen = [-1] * len(order), [0] * len(order)
        running: list[tuple[int, int]] = []
        using: list[list[tuple[int, int]]] = [[] for _ in order]
        line = [(place, READY) for place, job in enumerate(order) if not missing[job]]
        now, waiting, makespan = 0, len(order), 0
        while True:
            put_back: list[tuple[int, int]] = []
            while line:
                place, queue = heapq.heappop(line)
                if queue != READY:
                    if left[queue] < self.least[queue]:
                        continue
                    place = heapq.heappop(queues[queue])
                    if queues[queue]:
                        heapq.heappush(line, (queues[queue][0], queue))
                job = order[place]
                number, held_by = self._open(job, left)
                if held_by == READY:
                    chosen[job], using[job] = self.ways[job][number]
                    for gate, amount in using[job]:
                        left[gate] -= amount
                    for room, amount in self.takes[job]:
                        left[room] -= amount
                    start[job] = now
                    waiting -= 1
                    heapq.heappush(running, (now + self.work.jobs[job].ways[chosen[job]].ticks, job))
                elif held_by == queue:
                    put_back.append((place, queue))
                else:
                    heapq.heappush(queues[held_by], place)
            for place, queue in put_back:
                heapq.heappush(queues[queue], place)
            if not running:
                break
            now = running[0][0]
            woken = set()
            while running and running[0][0] == now:
                _, job = heapq.heappop(running)
                for where, amount in chain(using[job], self.gives[job]):
                    left[where] += amount
                    woken.add(where)
                for one in self.later[job]:
                    missing[one] -= 1
                    if not missing[one]:
                        line.append((rank[one], READY))
            makespan = now
            line += [(queues[where][0], where) for where in woken if queues[where]]
            heapq.heapify(line)
        return None if waiting else Times(tuple(start), tuple(chosen), makespan)

    def _open(self, job: int, left: list[int]) -> tuple[int, int]:
        """The first of the job's ways that is open now, and READY; or which queue it waits in."""
        for room, amount in self.takes[job]:
            if left[room] < amount:
                return 0, room
        held_by = READY
        for number, (_, uses) in enumerate(self.ways[job]):
            for gate, amount in uses:
                if left[gate] < amount:
                    held_by = gate
                    break
            else:
                return number, READY
        return 0, held_by


def _kept(amounts: Amounts, wanted: Sequence[bool]) -> list[tuple[int, int]]:
    return [(where, amount) for where, amount in amounts if wanted[where] and amount]

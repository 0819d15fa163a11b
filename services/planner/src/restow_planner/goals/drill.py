"""What would be lost with a host, rack or zone, and whether it would fit elsewhere: a failure tried on a board; pure.

Judged by packing what would be lost, the largest server first, by best fit; where that fails and little is lost, by
CP-SAT. A loss that passes is safe; a large one that fails may be safe all the same.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import comb

import numpy as np

from restow.cloud.model import Survive
from restow_planner.goals.work import Work
from restow_planner.problem import Ints
from restow_planner.rules.units import unit_of
from restow_planner.solvers.board import NOWHERE, Board
from restow_planner.solvers.repack import repack

TOGETHER_MAX = 1_000
"""Where more sets of units may be lost at once, each unit is judged with the fullest others."""


EXACT_MAX = 20
"""Losses that CP-SAT looks at."""
EXACT_CELLS_MAX = 2_000
EXACT_S = 0.5
EXACT_SHARE = 0.1


class Drill:
    """A board of its own, on which hosts are lost and found again."""

    def __init__(self, work: Work) -> None:
        """As the cloud is at the start."""
        self._work, self._problem = work, work.problem
        usable = np.array([host not in self._problem.closed for host in range(len(self._problem.hosts))], dtype=bool)
        self.board = Board(problem=self._problem, open=usable, pinned={}, barred={})
        self.board.lose(sorted(work.board.dead))
        self._disabled: frozenset[int] = frozenset()
        self._exact_left = EXACT_MAX

    def follow(self, board: Board, disabled: frozenset[int]) -> None:
        """As things stand on this other board, with these hosts out of use."""
        differs = [one for one in board.moved | self.board.moved if self.board.at[one] != board.at[one]]
        for server in sorted(differs):
            self.board.put(server, board.at[server])
        self.board.reopen(host for host in self._disabled - disabled if host not in self._problem.closed)
        self.board.close(disabled)
        self._disabled = disabled

    def short(self, rule: Survive, *, allowed: Mapping[str, int] | None = None) -> dict[str, int] | None:
        """MiB of servers that would find no host, per loss. None: time was over before all were judged.

        With `allowed`, judging ends at the first loss that leaves more than that without a host.
        """
        found: dict[str, int] = {}
        for name, hosts in self._losses(rule):
            if self._work.deadline.over():
                return None
            amount = self._without(hosts)
            if amount:
                found[name] = amount
            if allowed is not None and amount > allowed.get(name, 0):
                break
        return found

    def _losses(self, rule: Survive) -> Iterator[tuple[str, Ints]]:
        """The fullest first; those that carry nothing have nothing to lose."""
        units: dict[str, list[int]] = {}
        size: dict[str, float] = {}
        for index, host in enumerate(self._problem.cloud.hosts):
            unit = unit_of(host, rule.of)
            units.setdefault(unit, []).append(index)
            if self.board.on[index] and index not in self._problem.down:
                size[unit] = size.get(unit, 0.0) + float(self._problem.size[list(self.board.on[index])].sum())
        ranked = sorted(size, key=lambda unit: (-size[unit], unit))
        for lost in _sets(ranked, rule.failures) if ranked else ():
            yield " and ".join(sorted(lost)), np.array(sorted(host for unit in lost for host in units[unit]))

    def _without(self, hosts: Ints) -> int:
        """MiB of servers that find no host when these are lost."""
        board, problem = self.board, self._problem
        mark = board.mark()
        safe = np.ones(len(problem.hosts), dtype=bool)
        safe[hosts] = False
        lost = (one for host in hosts.tolist() if host not in problem.down for one in board.on[host])
        servers = sorted(lost, key=lambda one: (-problem.size[one], one))
        for server in servers:
            board.put(server, NOWHERE)
        lifted, missing = board.mark(), 0
        for server in servers:
            fits = board.fits(server) & safe
            if fits.any():
                board.put(server, board.best(server, fits))
            else:
                missing += int(problem.memory[server])
        if missing and self._exact_left:
            board.undo(lifted)
            missing = min(missing, self._exactly(servers, np.flatnonzero(board.open & safe)))
        board.undo(mark)
        return missing

    def _exactly(self, servers: list[int], hosts: Ints) -> int:
        """MiB that find no host in the best packing found; all of them where they are too many to look at."""
        everything = int(self._problem.memory[servers].sum())
        if len(servers) * len(hosts) > EXACT_CELLS_MAX:
            return everything
        self._exact_left -= 1
        deadline = self._work.deadline
        work_s = deadline.budget(EXACT_SHARE, most=EXACT_S)
        answer = repack(
            self.board, hosts.tolist(), servers, (), work_s=work_s, deadline=deadline, seed=self._work.seed
        )  # fmt: skip
        return everything if answer is None else int(self._problem.memory[list(answer.unplaced)].sum())


def _sets(ranked: list[str], failures: int) -> Iterator[tuple[str, ...]]:
    if judged_all(len(ranked), failures):
        yield from combinations(ranked, min(failures, len(ranked)))
        return
    seen = set()
    for unit in ranked:
        lost = frozenset({unit, *[one for one in ranked[:failures] if one != unit][: failures - 1]})
        if lost not in seen:
            seen.add(lost)
            yield tuple(lost)


def judged_all(units: int, failures: int) -> bool:
    """Whether every set of so many units is judged, or each unit with the fullest others only."""
    return failures <= 1 or comb(units, min(failures, units)) <= TOGETHER_MAX

"""The fewest hosts that could carry what is claimed and what is measured: a bound by counting; pure."""

from collections.abc import Sequence

import numpy as np

from restow_planner.goals.work import Work
from restow_planner.problem import Bools, Floats, Ints
from restow_planner.solvers.board import LoadLimit


def fewest_hosts(work: Work, capacity: Ints, limits: Sequence[LoadLimit]) -> int:
    """No fewer hosts can be in use: those that cannot be emptied, and as many of the largest as the servers need.

    `capacity` (R, H) is what may be claimed. A host that carries more than allowed may go on to do so.
    """
    problem, board = work.problem, work.board
    at = np.array(board.at, dtype=np.int64)
    placed = np.flatnonzero(at >= 0)
    in_use = np.bincount(at[placed], minlength=len(problem.hosts)) > 0
    stays = np.zeros(len(problem.hosts), dtype=bool)
    stays[[host for one in board.pinned if (host := board.at[one]) >= 0]] = True
    stays[list(problem.down)] = True
    stays &= in_use
    best = max(int(stays.sum()), int(in_use.any()))
    amounts = [(problem.demand[:, one].astype(float), capacity[one].astype(float)) for one in range(len(capacity))]
    amounts += [(limit.part, limit.limit * limit.room - limit.base) for limit in limits]
    for part, most in amounts:
        use = np.bincount(at[placed], weights=part[placed], minlength=len(problem.hosts)).astype(float)
        room = np.where(board.open, np.maximum(most, use), use)
        best = max(best, _count(use, room, stays=stays, usable=(in_use | board.open) & ~stays))
    return best


def _count(use: Floats, room: Floats, *, stays: Bools, usable: Bools) -> int:
    need = float(use.sum() - room[stays].sum())
    count = int(stays.sum())
    for amount in np.sort(room[usable])[::-1].tolist():
        if need <= 1e-6 * max(1.0, float(use.sum())):
            break
        need -= amount
        count += 1
    return count

"""Fitting by shape: a server goes where what is left over has its proportions, and there is little of it; pure.

On hosts that run out of memory, of vcpus and of real cores at different times, the tightest fit by one sum leaves
odd ends that nothing can use. After R. Panigrahy et al., "Heuristics for vector bin packing" (2011): the angle between
demand and remainder, here together with the size of the remainder.
"""

import numpy as np

from restow_planner.problem import Bools, Floats
from restow_planner.solvers.board import SOFT_WEIGHT, Board

ANGLE_WEIGHT = 3.0
"""What the cosine of the angle weighs against the remainder, a share of a host."""
HOSTS_COMPARED = 256
"""The tightest hosts by sum are compared by shape."""
TINY = 1e-12


class ShapeFit:
    """Chooses among hosts where a server fits, by its claims and the loads that the board limits."""

    def __init__(self, board: Board) -> None:
        """Weights and scales are of the moment when this is made."""
        self.board = board
        problem = board.problem
        full = [problem.capacity[one].astype(float) for one in range(len(problem.capacity))]
        full += [limit.limit * limit.room for limit in board.limits]
        parts = [problem.demand[:, one].astype(float) for one in range(len(problem.capacity))]
        parts += [limit.part for limit in board.limits]
        finite = [row[np.isfinite(row) & (row > 0)] for row in full]
        scale = np.array([float(row.mean()) if len(row) else np.inf for row in finite])
        self._scale = scale
        self._part: Floats = np.array(parts).T / scale  # (S, D)
        used = self._part[problem.start >= 0].sum(axis=0)
        there = np.array([row.sum() for row in finite]) / scale
        fullness = used / np.maximum(there, TINY)
        self._weight: Floats = (fullness / max(float(fullness.max()), TINY)) ** 2

    def best(self, server: int, mask: Bools) -> int:
        """The host of the mask (not empty) where the server fits best; what soft rules charge decides first."""
        found = np.flatnonzero(mask)
        left, part = self._left(found), self._part[server][:, None]
        rest = self._weight @ (left - part)
        price = self.board.price(server)
        if price is None and len(found) > HOSTS_COMPARED:
            near = np.argpartition(rest, HOSTS_COMPARED)[:HOSTS_COMPARED]
            found, left, rest = found[near], left[:, near], rest[near]
        weight = self._weight[:, None] * part
        length = np.sqrt((self._weight @ left**2) * float((weight * part).sum()))
        score = rest - ANGLE_WEIGHT * (weight * left).sum(axis=0) / np.maximum(length, TINY)
        if price is not None:
            score = score + SOFT_WEIGHT * price[found]
        return int(found[int(np.argmin(score))])

    def _left(self, hosts: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Floats:
        """(D, hosts) what is free, in mean hosts; where nobody knows how much there is, as much as a mean host has."""
        board = self.board
        rows = [row[hosts].astype(float) for row in board.free]
        rows += [
            limit.limit * limit.room[hosts] - load[hosts] for limit, load in zip(board.limits, board.loads, strict=True)
        ]
        left: Floats = np.array(rows) / self._scale[:, None]
        return np.where(np.isfinite(left), left, 1.0)

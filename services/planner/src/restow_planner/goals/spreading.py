"""Among hosts where a server fits equally well, those to which the plan has sent the fewest: they are reached at once.

A host takes few servers at a time, so forty that go to one host wait for each other, and fail with it; pure.
"""

import numpy as np

from restow_planner.problem import Bools, Ints
from restow_planner.solvers.board import Board

EMPTY_FROM = 4
"""A host with nobody on it is filled when the others have taken in so many each."""


class Spreading:
    """Chooses among hosts where a server fits: what soft rules charge decides first, the tightest fit last."""

    def __init__(self, board: Board) -> None:
        """Empty is who is so when this is made."""
        self._board = board
        self._reserve = EMPTY_FROM * np.array([not servers for servers in board.on], dtype=np.int64)

    def best(self, server: int, mask: Bools) -> int:
        """The host of the mask, which is not empty; its old home where that is possible (a move less)."""
        board = self._board
        found: Ints = np.flatnonzero(mask)
        price = board.price(server)
        if price is not None:
            found = found[price[found] <= price[found].min()]
        home = int(board.problem.start[server])
        if home >= 0 and (found == home).any():
            return home
        taken = self._taken()[found]
        found = found[taken == taken.min()]
        return int(found[int(np.argmin(board.problem.weight @ board.free[:, found]))])

    def _taken(self) -> Ints:
        """(H,) how many each host has taken in, empty ones as if they had already."""
        board = self._board
        targets = [board.at[one] for one in board.moved if board.at[one] >= 0]
        arrived: Ints = np.bincount(np.array(targets, dtype=np.int64), minlength=len(board.on))
        return arrived + self._reserve

"""Fitting by shape: a server goes where what is left over has its proportions, and there is little of it; pure.

On hosts that run out of memory, of vcpus and of real cores at different times, the tightest fit by one sum leaves
odd ends that nothing can use. After R. Panigrahy et al., "Heuristics for vector bin packing" (2011): the angle between
demand and remainder, here together with the size of the remainder.
"""

from collections.abc import Sequence

import numpy as np

from restow_planner.problem import Bools, Floats, Ints
from restow_planner.solvers.board import SOFT_WEIGHT, Board

ANGLE_WEIGHT = 3.0
"""What the cosine of the angle weighs against the remainder, a share of a host."""
HOSTS_COMPARED = 256
"""The tightest hosts by sum are compared by shape."""
FRONT = 512
"""Hosts of a front. Those that are far from full are no best fit while a tighter one has room."""
TINY = 1e-12
SLACK = 1e-9


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
        self.weight: Floats = (fullness / max(float(fullness.max()), TINY)) ** 2

    def best(self, server: int, mask: Bools) -> int:
        """The host of the mask (not empty) where the server fits best; what soft rules charge decides first."""
        return self.best_of(server, np.flatnonzero(mask))

    def best_of(self, server: int, found: Ints) -> int:
        """The same among these hosts, which are not none."""
        left, part = self.left(found), self._part[server][:, None]
        rest = self.weight @ (left - part)
        price = self.board.price(server)
        if price is None and len(found) > HOSTS_COMPARED:
            near = np.argpartition(rest, HOSTS_COMPARED)[:HOSTS_COMPARED]
            found, left, rest = found[near], left[:, near], rest[near]
        weight = self.weight[:, None] * part
        length = np.sqrt((self.weight @ left**2) * float((weight * part).sum()))
        score = rest - ANGLE_WEIGHT * (weight * left).sum(axis=0) / np.maximum(length, TINY)
        if price is not None:
            score = score + SOFT_WEIGHT * price[found]
        return int(found[int(np.argmin(score))])

    def part(self, servers: Sequence[int]) -> Floats:
        """(servers, D) what they take, in mean hosts."""
        return self._part[servers]

    def left(self, hosts: Ints) -> Floats:
        """(D, hosts) what is free, in mean hosts."""
        return self.as_shares(self.room(hosts))

    def room(self, hosts: Ints) -> Floats:
        """(D, hosts) what is free."""
        board = self.board
        loads = [
            limit.limit * limit.room[hosts] - load[hosts] for limit, load in zip(board.limits, board.loads, strict=True)
        ]
        return np.vstack([board.free[:, hosts].astype(float), *loads])

    def as_shares(self, room: Floats) -> Floats:
        """In mean hosts; where nobody knows how much there is, as much as a mean host has."""
        left: Floats = room / self._scale[:, None]
        return np.where(np.isfinite(left), left, 1.0)


class Front:
    """The tightest hosts with room for the smallest of some servers, which are to be placed one after the other.

    Asked before all hosts are: those far from full are no best fit while a tighter one has room. All servers are held
    against all hosts at once; what one of them takes changes a column.
    """

    def __init__(self, fit: ShapeFit, servers: Sequence[int], among: Bools) -> None:
        """As things stand when this is made; `among` (H,) are the hosts that may be in it."""
        self._fit, board = fit, fit.board
        problem, self._row = board.problem, {server: row for row, server in enumerate(servers)}
        self._demand = problem.demand[servers]
        self._loads = [limit.part[servers] for limit in board.limits]
        self._takes: Floats = np.column_stack([self._demand, *self._loads])  # (n, D)
        self._hosts = self._tightest(among)
        self._column = {host: column for column, host in enumerate(self._hosts.tolist())}
        self._room = fit.room(self._hosts)  # (D, hosts)
        part = fit.part(servers)
        self._heavy: Floats = fit.weight * part
        self._length: Floats = np.sqrt((self._heavy * part).sum(axis=1))
        self._may = problem.allowed[np.ix_(problem.class_of[servers], self._hosts)]
        for server in board.barred.keys() & self._row.keys():
            self._may[self._row[server]] = board.may_stand(server)[self._hosts]
        room = np.maximum(self._room, 0.0) + SLACK
        self._fits = self._may & (self._takes[:, :, None] <= room).all(axis=1)
        self._score = self._scored(self._room)

    def _tightest(self, among: Bools) -> Ints:
        board, mask = self._fit.board, among & self._fit.board.open
        for resource, amount in enumerate(self._demand.min(axis=0).tolist()):
            if amount:
                mask &= board.free[resource] >= amount
        for limit, load, part in zip(board.limits, board.loads, self._loads, strict=True):
            mask &= load + part.min() <= limit.limit * limit.room + SLACK
        found = np.flatnonzero(mask)
        if len(found) > FRONT:
            room = board.problem.weight @ board.free[:, found]
            found = np.sort(found[np.argpartition(room, FRONT)[:FRONT]])
        return found

    def _scored(self, room: Floats) -> Floats:
        """(n, hosts) how badly each server fits where there is so much room (D, hosts)."""
        left, weight = self._fit.as_shares(room), self._fit.weight
        length = self._length[:, None] * np.sqrt(weight @ left**2)
        score: Floats = weight @ left - ANGLE_WEIGHT * (self._heavy @ left) / np.maximum(length, TINY)
        return score

    def best(self, server: int) -> int | None:
        """Where the server fits best by shape; None: nowhere here."""
        board, row = self._fit.board, self._row[server]
        fits, score = self._fits[row], self._score[row]
        if server in board.problem.bound_to_others or board.problem.isolated:
            agreed = board.agrees(server)
            fits = fits if agreed is None else fits & agreed[self._hosts]
        price = board.price(server)
        if price is not None:
            score = score + SOFT_WEIGHT * price[self._hosts]
        if not fits.any():
            return None
        return int(self._hosts[int(np.argmin(np.where(fits, score, np.inf)))])

    def take(self, server: int, host: int) -> None:
        """The server was put on this host of the front."""
        column = self._column[host]
        self._room[:, column] -= self._takes[self._row[server]]
        room = self._room[:, column, None]
        self._fits[:, column] = self._may[:, column] & (self._takes <= np.maximum(room[:, 0], 0.0) + SLACK).all(axis=1)
        self._score[:, column] = self._scored(room)[:, 0]

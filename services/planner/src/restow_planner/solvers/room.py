"""Finding a place for a server, making room where there is none: ejection chains; pure.

A server that fits nowhere may push smaller ones off a host, if each of those finds a place in turn. Nothing is
placed on a host that the chain has taken something from, and what was moved once is not moved again, so carrying the
chain out backwards is always a safe order. After F. Glover, "Ejection chains, reference structures and
alternating path methods", Discrete Applied Mathematics 65 (1996).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from restow_planner.problem import Bools, Ints
from restow_planner.solvers.board import NOWHERE, Board
from restow_planner.solvers.eviction import evictions

DEPTH_MAX = 3
HOSTS_TRIED = (24, 8, 4)
"""How many hosts are looked at by depth."""
SETS_TRIED = (8, 3, 2)
"""How many sets of servers to push out are really tried, by depth."""
NODES_MAX = 400
"""Calls of the search for one server."""
EVICTION_NODES = 200
"""Nodes of the search for the fewest that must leave a host."""
SETS_OF_FEWEST = 2
PAIRS_MAX = 10
"""Servers of a host from which pairs are formed."""
UNFIT_PENALTY = 2.0
"""A set with a server that fits nowhere at once looks this many times as dear."""


@dataclass(slots=True)
class Room:
    """One search. `late` says that time is over; `movable` whether a server may be pushed out.

    `best` chooses among the hosts where a server fits; None: the tightest.
    """

    board: Board
    late: Callable[[], bool]
    movable: Callable[[int], bool]
    best: Callable[[int, Bools], int] | None = None
    nodes: int = 0

    def place(self, server: int, *, among: Bools | None = None, depth: int = DEPTH_MAX) -> bool:
        """Move the server to a host where it fits, making room if need be. False leaves everything as it was."""
        self.nodes = 0
        return self._place(server, set(), depth, among)

    def place_all(self, servers: Iterable[int], *, among: Bools | None = None, depth: int = DEPTH_MAX) -> bool:
        """All of them, the largest first, or none."""
        mark = self.board.mark()
        size = self.board.problem.size
        for server in sorted(servers, key=lambda one: (-size[one], one)):
            if not self.place(server, among=among, depth=depth):
                self.board.undo(mark)
                return False
        return True

    def _place(self, server: int, path: set[int], depth: int, among: Bools | None) -> bool:
        board = self.board
        self.nodes += 1
        mask = board.fits(server)
        if among is not None:
            mask &= among
        if path:
            mask[list(path)] = False
        if mask.any():
            board.put(server, (self.best or board.best)(server, mask))
            return True
        if depth == 0 or self.nodes > NODES_MAX or self.late():
            return False
        return self._push(server, path, depth, among)

    def _push(self, server: int, path: set[int], depth: int, among: Bools | None) -> bool:
        board = self.board
        size = board.problem.size
        level = min(DEPTH_MAX - depth, len(SETS_TRIED) - 1) if depth <= DEPTH_MAX else 0
        best: tuple[float, list[tuple[int, int]]] | None = None
        for host, out, price in self._choices(server, path, among, HOSTS_TRIED[level])[: SETS_TRIED[level]]:
            if self.nodes > NODES_MAX or self.late():
                break
            if best is not None and price >= best[0]:
                continue  # pushing these out alone costs as much
            mark = board.mark()
            for one in out:
                board.put(one, NOWHERE)
            if board.fits(server)[host]:
                board.put(server, host)
                here = path | {host}
                if all(self._place(one, here, depth - 1, among) for one in sorted(out, key=lambda o: (-size[o], o))):
                    touched = board.since(mark)
                    total = float(board.problem.cost[touched].sum() - board.problem.cost[server])
                    if best is None or total < best[0]:
                        best = (total, [(one, board.at[one]) for one in touched])
            board.undo(mark)
            if best is not None and depth < DEPTH_MAX:
                break  # deep in a chain the first way is good enough
        if best is None:
            return False
        for one, _ in best[1]:
            board.put(one, NOWHERE)
        for one, host in best[1]:
            board.put(one, host)
        return True

    def _choices(
        self, server: int, path: set[int], among: Bools | None, hosts_max: int
    ) -> list[tuple[int, tuple[int, ...], float]]:
        """Hosts with the servers to push out there and the price of that, the most promising first."""
        board, problem = self.board, self.board.problem
        mask = board.may_stand(server).copy()
        if among is not None:
            mask &= among
        if path:
            mask[list(path)] = False
        if board.at[server] >= 0:
            mask[board.at[server]] = False
        hosts = np.flatnonzero(mask)
        if not len(hosts):
            return []
        short = np.maximum(problem.demand[server][:, None] - board.free[:, hosts], 0)
        nearest = hosts[np.argsort(problem.weight @ short, kind="stable")[:hosts_max]]
        known: dict[tuple[int, ...], bool] = {}
        found: list[tuple[float, int, tuple[int, ...], float]] = []
        for host in nearest.tolist():
            for out in self._sets_to_push(server, host):
                price = float(problem.cost[list(out)].sum())
                unfit = sum(not self._fits_now(one, host, known) for one in out)
                found.append((price * (1.0 + UNFIT_PENALTY * unfit), host, out, price))
        found.sort()
        return [(host, out, price) for _, host, out, price in found]

    def _fits_now(self, server: int, host: int, known: dict[tuple[int, ...], bool]) -> bool:
        problem = self.board.problem
        if server in problem.bound_to_others or server in self.board.barred:
            mask = self.board.fits(server)
            mask[host] = False
            return bool(mask.any())
        key = (int(problem.class_of[server]), *problem.demand[server].tolist())
        if key not in known:
            known[key] = bool(self.board.fits(server).any())
        return known[key]

    def _sets_to_push(self, server: int, host: int) -> list[tuple[int, ...]]:
        """A few small sets of servers of this host whose leaving makes room: single ones, pairs, and greedy ones."""
        board, problem = self.board, self.board.problem
        need = np.maximum(problem.demand[server] - board.free[:, host], 0)
        must = self._rivals(server, host)
        if must is None or any(not self.movable(one) for one in must):
            return []
        need = np.maximum(need - problem.demand[list(must)].sum(axis=0), 0) if must else need
        if not need.any():
            return [tuple(sorted(must))] if must else []
        return self.sets_freeing(host, need, size_max=float(problem.size[server]), must=must)

    def sets_freeing(
        self, host: int, need: Ints, *, size_max: float = np.inf, must: frozenset[int] = frozenset()
    ) -> list[tuple[int, ...]]:
        """Sets that give `need` (R,) back on this host; all in them smaller than `size_max`, so that chains end."""
        board, problem = self.board, self.board.problem
        candidates = [
            one
            for one in board.on[host]
            if one not in must and problem.size[one] < size_max and self.movable(one) and self._useful(one, need)
        ]
        candidates.sort(key=lambda one: (problem.cost[one], one))
        sets: dict[tuple[int, ...], None] = {}  # in the order found, each once
        fewest = evictions(
            problem.demand[candidates],
            need,
            problem.cost[candidates],
            problem.size[candidates],
            nodes_max=EVICTION_NODES,
        )
        for places in fewest.sets[:SETS_OF_FEWEST] if fewest is not None else ():
            sets[tuple(sorted(candidates[place] for place in places))] = None
        enough = [one for one in candidates if (problem.demand[one] >= need).all()]
        for one in enough[:2]:
            sets[one,] = None
        short = [one for one in candidates if one not in enough][:PAIRS_MAX]
        pairs = [pair for pair in combinations(short, 2) if (problem.demand[list(pair)].sum(axis=0) >= need).all()]
        for pair in sorted(pairs, key=lambda pair: (float(problem.cost[list(pair)].sum()), pair))[:2]:
            sets[pair] = None
        for order in (candidates, sorted(candidates, key=lambda one: (-problem.size[one], one))):
            greedy = self._greedy(order, need)
            if greedy:
                sets[greedy] = None
        return [tuple(sorted({*one, *must})) for one in sets]

    def _useful(self, server: int, need: Ints) -> bool:
        return bool((self.board.problem.demand[server][need > 0] > 0).any())

    def _greedy(self, order: list[int], need: Ints) -> tuple[int, ...]:
        demand = self.board.problem.demand
        left = need.copy()
        out: list[int] = []
        for one in order:
            if not left.any():
                break
            if (demand[one][left > 0] > 0).any():
                out.append(one)
                left = np.maximum(left - demand[one], 0)
        if left.any():
            return ()
        given = demand[out].sum(axis=0)
        for one in list(out):  # take back what turned out to be more than needed
            if (given - demand[one] >= need).all():
                given = given - demand[one]
                out.remove(one)
        return tuple(sorted(out))

    def _rivals(self, server: int, host: int) -> frozenset[int] | None:
        """The fellow members that must leave this host first because of an AtMost; None: leaving does not help."""
        board, problem = self.board, self.board.problem
        out: set[int] = set()
        for index in problem.at_most_of.get(server, ()):
            tally = problem.at_most[index]
            unit = tally.unit[host]
            here = board.at[server]
            if tally.soft is not None or (here >= 0 and tally.unit[here] == unit):
                continue
            over = int(board.counts[index][unit]) + 1 - tally.number
            if over <= 0:
                continue
            fellows = sorted((problem.cost[one], one) for one in board.on[host] if one in tally.members)
            if len(fellows) < over:
                return None
            out |= {one for _, one in fellows[:over]}
        return frozenset(out)

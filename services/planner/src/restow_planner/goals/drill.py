"""What would be lost with a host, rack or zone, and whether it would fit elsewhere: a failure tried on a board; pure.

Judged by packing what would be lost, the largest server first: into the roomiest hosts, then by best fit into all;
where that fails and little is lost, by CP-SAT. A loss that passes is safe; a large one that fails may be safe all the
same. Where a loss found its refuge is remembered: as long as the same servers are lost and their places are free, it
is not packed again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
ROOMIEST = 64
"""Hosts that take in what is lost before all are asked: to look for room among few is soon done."""
EXACT_MAX = 20
"""Losses that CP-SAT looks at."""
EXACT_CELLS_MAX = 2_000
EXACT_S = 0.5
EXACT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Loss:
    """These hosts, failing at once."""

    name: str
    hosts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Refuge:
    """Where what is lost found room: so much `need` (R, K) on each of these `hosts` (K,).

    `tied`: server and host of those whose place depends on where others are.
    """

    servers: frozenset[int]
    hosts: Ints
    need: Ints
    tied: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Drill:
    """A board of its own, on which hosts are lost and found again; at first as the cloud is at the start."""

    work: Work
    board: Board = field(init=False)
    dead: frozenset[int] = field(init=False)
    """The servers of hosts that have failed already."""
    _disabled: frozenset[int] = frozenset()
    _exact_left: int = EXACT_MAX
    _refuges: dict[Loss, _Refuge] = field(default_factory=dict)
    _roomiest: Ints | None = None

    def __post_init__(self) -> None:
        problem = self.work.problem
        usable = np.array([host not in problem.closed for host in range(len(problem.hosts))], dtype=bool)
        self.board = Board(problem=problem, open=usable, pinned={}, barred={})
        self.dead = frozenset(self.work.board.dead)
        self.board.lose(sorted(self.dead))

    def follow(self, board: Board, disabled: frozenset[int]) -> None:
        """As things stand on this other board, with these hosts out of use."""
        differs = [one for one in board.moved | self.board.moved if self.board.at[one] != board.at[one]]
        for server in sorted(differs):
            self.board.put(server, board.at[server])
        closed = self.work.problem.closed
        self.board.reopen(host for host in self._disabled - disabled if host not in closed)
        self.board.close(disabled)
        self._disabled = disabled
        self._roomiest = None

    def losses(self, rule: Survive) -> Iterator[Loss]:
        """The fullest first; those that carry nothing have nothing to lose."""
        problem, on = self.work.problem, self.board.on
        units: dict[str, list[int]] = {}
        size: dict[str, float] = {}
        for index, host in enumerate(problem.cloud.hosts):
            unit = unit_of(host, rule.of)
            units.setdefault(unit, []).append(index)
            if on[index] and index not in problem.down:
                size[unit] = size.get(unit, 0.0) + float(problem.size[list(on[index])].sum())
        ranked = sorted(size, key=lambda unit: (-size[unit], unit))
        for lost in _sets(ranked, rule.failures) if ranked else ():
            yield Loss(" and ".join(sorted(lost)), tuple(sorted(host for unit in lost for host in units[unit])))

    def without(self, loss: Loss) -> int | None:
        """MiB of servers that find no host when these are lost; None: time was over before that was known."""
        known, servers = self._refuges.get(loss), frozenset(self._lost(loss))
        if known is not None and known.servers == servers and self._is_free(known) and self._suits(known.tied):
            return 0
        if self.work.deadline.over():
            return None
        ranked = sorted(servers, key=lambda one: (-self.work.problem.size[one], one))
        places = self._in_the_roomiest(ranked, loss)
        missing = 0
        if places is None:
            places, missing = self._anywhere(ranked, loss)
        self._refuges.pop(loss, None)
        if not missing:
            self._refuges[loss] = self._refuge(servers, places)
        return missing

    def _lost(self, loss: Loss) -> Iterator[int]:
        down = self.work.problem.down
        return (one for host in loss.hosts if host not in down for one in self.board.on[host])

    # -- a refuge that is known -----------------------------------------------------------------------

    def _refuge(self, servers: frozenset[int], places: dict[int, int]) -> _Refuge:
        demand = self.work.problem.demand
        hosts = np.array(sorted(set(places.values())), dtype=np.int64)
        need = np.zeros((demand.shape[1], len(hosts)), dtype=np.int64)
        column = {host: number for number, host in enumerate(hosts.tolist())}
        for server, host in places.items():
            need[:, column[host]] += demand[server]
        tied = tuple((one, host) for one, host in places.items() if self._is_tied(one))
        return _Refuge(servers, hosts, need, tied)

    def _is_tied(self, server: int) -> bool:
        return server in self.work.problem.bound_to_others or bool(self.work.problem.isolated)

    def _is_free(self, refuge: _Refuge) -> bool:
        room = self.board.free[:, refuge.hosts]
        return bool(self.board.open[refuge.hosts].all() and ((room >= refuge.need) | (refuge.need == 0)).all())

    def _suits(self, tied: Sequence[tuple[int, int]]) -> bool:
        """Whether the rules about several let these stand there, one after the other, when all have left their host."""
        board = self.board
        mark, fine = board.mark(), True
        for server, _ in tied:
            board.put(server, NOWHERE)
        for server, host in tied:
            agreed = board.agrees(server)
            fine = fine and (agreed is None or bool(agreed[host]))
            board.put(server, host)
        board.undo(mark)
        return fine

    # -- looking for one ------------------------------------------------------------------------------

    def _in_the_roomiest(self, servers: Sequence[int], loss: Loss) -> dict[int, int] | None:
        """A place for each of these, the largest first, on one of a few hosts with much room; None: not found.

        The board is told only of those on whose place others look.
        """
        board, problem = self.board, self.work.problem
        if self._roomiest is None:
            room = np.where(board.open, problem.weight @ np.maximum(board.free, 0), -1.0)
            self._roomiest = np.argsort(-room, kind="stable")[:ROOMIEST]
        hosts = self._roomiest[~np.isin(self._roomiest, loss.hosts)]
        free, places, mark = board.free[:, hosts], dict[int, int](), board.mark()
        left = problem.weight @ free
        tied = {one for one in servers if self._is_tied(one)}
        for server in tied:
            board.put(server, NOWHERE)
        for server in servers:
            fits = board.may_stand(server)[hosts]
            for resource, amount in problem.wanted[server]:
                fits &= free[resource] >= amount
            if server in tied and (agreed := board.agrees(server)) is not None:
                fits &= agreed[hosts]
            if not fits.any():
                board.undo(mark)
                return None
            best = int(np.argmin(np.where(fits, left, np.inf)))
            places[server] = int(hosts[best])
            free[:, best] -= problem.demand[server]
            left[best] -= problem.size[server]
            if server in tied:
                board.put(server, places[server])
        board.undo(mark)
        return places

    def _anywhere(self, servers: Sequence[int], loss: Loss) -> tuple[dict[int, int], int]:
        """Places by best fit, and the MiB that find none, by CP-SAT too."""
        board, problem = self.board, self.work.problem
        safe = np.ones(len(problem.hosts), dtype=bool)
        safe[list(loss.hosts)] = False
        mark = board.mark()
        for server in servers:
            board.put(server, NOWHERE)
        lifted, missing, places = board.mark(), 0, dict[int, int]()
        for server in servers:
            fits = board.fits(server) & safe
            if fits.any():
                places[server] = board.best(server, fits)
                board.put(server, places[server])
            else:
                missing += int(problem.memory[server])
        if missing and self._exact_left:
            board.undo(lifted)
            exact, left = self._exactly(servers, np.flatnonzero(board.open & safe))
            if left < missing:
                places, missing = exact, left
        board.undo(mark)
        return places, missing

    def _exactly(self, servers: Sequence[int], hosts: Ints) -> tuple[dict[int, int], int]:
        """The best packing found and the MiB that find no host; all of them where they are too many to look at."""
        everything = int(self.work.problem.memory[list(servers)].sum())
        if len(servers) * len(hosts) > EXACT_CELLS_MAX:
            return {}, everything
        self._exact_left -= 1
        deadline = self.work.deadline
        work_s = deadline.budget(EXACT_SHARE, most=EXACT_S)
        answer = repack(self.board, hosts.tolist(), servers, (), work_s=work_s, deadline=deadline, seed=self.work.seed)
        if answer is None:
            return {}, everything
        return answer.at, int(self.work.problem.memory[list(answer.unplaced)].sum())


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

"""The board as classes of alike servers, for column generation: who may go, where to, and within which limits; pure.

Servers that a rule ties to others, or that soft rules price, stay where they are. The bound says what could be had if
they went too, as if those rules were not there.
"""

from dataclasses import dataclass

import numpy as np

from restow_planner.goals.work import Work
from restow_planner.problem import Ints
from restow_planner.solvers.columns import Rearranged, rearranged
from restow_planner.solvers.cp_sat import NO_MEMORY
from restow_planner.solvers.stock import Stock

CLASSES_MAX = 200
"""More classes than this are not alike enough: other methods do better."""
TIME_SHARE = 0.6
"""The part of the time left that an answer may take; a bound beyond the rules has half of what then remains."""


@dataclass(frozen=True, slots=True)
class Shuffle:
    """`moves`: server and target host. They gain `gain` slots; no moves within the limits gain more than `bound`."""

    moves: tuple[tuple[int, int], ...]
    gain: int
    bound: int | None


def shuffle(work: Work, shape: Ints, wanted: int) -> Shuffle | None:
    """The most slots of this shape (R,), at most `wanted` more than there are, on hosts that take servers in.

    None: the servers are not alike enough, or rules on load, soft capacity or isolation speak of everyone.
    """
    board, problem = work.board, work.problem
    if board.limits or problem.soft_capacity or problem.isolated or work.deadline.over():
        return None
    here = np.flatnonzero(board.open)
    going = [
        server
        for host in here.tolist()
        for server in sorted(board.on[host])
        if server not in board.moved and work.movable(server)
    ]
    free = [server for server in going if not _tied(work, server)]
    classes = _Classes(work, here, free)
    if not 0 < len(classes.members) <= CLASSES_MAX:
        return None
    try:
        found = _rearranged(work, classes.stock(shape), wanted, TIME_SHARE)
    except NO_MEMORY:  # the other ways to make slots need little
        work.deadline.tear()
        return None
    bound: int | None = found.bound
    if board.leaving:  # those that leave may go once more
        bound = None
    elif len(free) < len(going) and found.gain < wanted:
        everyone = _Classes(work, here, going)
        small = len(everyone.members) <= CLASSES_MAX
        bound = _rearranged(work, everyone.stock(shape), wanted, TIME_SHARE / 2).bound if small else None
    return Shuffle(tuple(classes.moves(found)), found.gain, bound)


def _rearranged(work: Work, stock: Stock, wanted: int, share: float) -> Rearranged:
    return rearranged(stock, deadline=work.deadline.part(share), seed=work.seed, wanted=wanted)


def _tied(work: Work, server: int) -> bool:
    """Whether a rule looks at this server and others together, or prices where it stands."""
    problem = work.problem
    in_a_set = server in problem.bound_to_others or server in problem.together_of
    return in_a_set or bool(problem.price_of[server] >= 0)


class _Classes:
    """`members`: per class its servers, alike in demand, memory and the hosts where they may arrive."""

    def __init__(self, work: Work, hosts: Ints, servers: list[int]) -> None:
        board, problem = work.board, work.problem
        self.work, self.hosts = work, hosts
        alike: dict[tuple[object, ...], list[int]] = {}
        for server in servers:
            barred = frozenset(board.barred.get(server, ()))
            row = int(problem.class_of[server])
            alike.setdefault((problem.demand[server].tobytes(), int(problem.memory[server]), row, barred), []).append(
                server
            )
        self.members = list(alike.values())

    def stock(self, shape: Ints) -> Stock:
        board, problem = self.work.board, self.work.problem
        first = [members[0] for members in self.members]
        place = {host: index for index, host in enumerate(self.hosts.tolist())}
        on = np.zeros((len(self.hosts), 1, len(first)), dtype=np.int64)
        for item, members in enumerate(self.members):
            for server in members:
                on[place[board.at[server]], 0, item] += 1
        moves, mib = self._budgets(sum(len(members) for members in self.members))
        return Stock(
            free=board.free[:, self.hosts].T[:, None, :].copy(),
            size=problem.demand[first],
            wide=np.zeros(len(first), dtype=bool),
            on=on,
            allowed=np.array([board.may_stand(server)[self.hosts] for server in first], dtype=bool),
            shape=shape,
            spent=np.array([np.ones(len(first), dtype=np.int64), problem.memory[first]]),
            budget=np.array([moves, mib], dtype=np.int64),
        )

    def _budgets(self, servers: int) -> tuple[int, int]:
        """Moves and MiB that may still be spent."""
        work = self.work
        moves = servers if work.moves_max is None else min(servers, work.moves_max - len(work.board.moved))
        whole = int(work.problem.memory.sum())
        mib = whole if work.moved_mib_max is None else min(whole, int(work.moved_mib_max - work.moved_mib()))
        return max(0, moves), max(0, mib)

    def moves(self, found: Rearranged) -> list[tuple[int, int]]:
        """Of each class the cheapest servers of a host go."""
        cost, at = self.work.problem.cost, self.work.board.at
        standing: dict[tuple[int, int], list[int]] = {}
        for item, members in enumerate(self.members):
            for server in sorted(members, key=lambda one: (-cost[one], -one)):
                standing.setdefault((item, at[server]), []).append(server)
        hosts = self.hosts.tolist()
        return [(standing[move.item, hosts[move.source[0]]].pop(), hosts[move.target[0]]) for move in found.moves()]

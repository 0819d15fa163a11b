"""Levelling all at once: where moves one by one leave hosts too full, the whole placement is searched; pure.

CP-SAT takes small clouds, and proves what is best there. The search of larger ones knows no licences, isolation or NUMA
cells: with these it is not asked. What it finds is judged by every rule before it is taken.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from restow.ids import HostName, ServerId
from restow_planner.goals.loads import Measure
from restow_planner.goals.work import Work
from restow_planner.primitives import HostCost, MoveCost, Price
from restow_planner.problem import MOVE_MIB, Bools, Ints
from restow_planner.rules import all_primitives, all_violations, worse
from restow_planner.solvers.board import LoadLimit
from restow_planner.solvers.cp_sat import NO_MEMORY
from restow_planner.solvers.descent import at_hand, improved
from restow_planner.solvers.repack import Repacked, repack

PACKED_CELLS_MAX = 2_000
"""Servers × hosts up to which CP-SAT takes the whole cloud."""
PACKED_S, PACKED_SHARE = 3.0, 0.5
CP_SAT_START_S = 0.5
"""With less time than this left, CP-SAT is not even loaded."""
CELLS_MAX = 400_000
"""Servers × hosts up to which a search of a second or two comes to something."""
STEPS = 24
SEARCH_S, COMPILE_S = 3.0, 15.0
"""Less time than this left, and it is not begun: with the compiled code at hand, and without."""
TOO_FULL = 1_000.0
"""Price of a host that is above the ceiling, by its whole room; …"""
ABOVE_MEAN = 5.0
"""… of one above the mean; …"""
MOVE = 0.1
"""… and of a server of no memory that moves."""


@dataclass(frozen=True, slots=True)
class Level:
    """Shares of `room` of which the hosts are not to have more, at any price, and in the mean."""

    ceiling: float
    mean: float


def packed(
    work: Work, by: Measure, level: Level, part: Bools, *, still: frozenset[int] = frozenset()
) -> Repacked | None:
    """The placement with the least above the ceiling on the hosts of `part`, by moves that pay for themselves.

    Soft rules cost nothing here; `still` stay where they are. None: not looked for, or not found. To be asked before
    anything of this plan has moved.
    """
    board = work.board
    hosts, standing = range(len(board.on)), sum(map(len, board.on))
    if board.moved or board.barred:  # barred, as after a placement that no order of moves reached
        return None
    if standing * len(hosts) > PACKED_CELLS_MAX or work.deadline.over(keep=CP_SAT_START_S):
        return None
    free = [one for here in board.on for one in here if one not in still and work.movable(one)]
    room = np.where(part, by.room, np.inf)
    return repack(
        board, hosts, (), free, work_s=work.deadline.budget(PACKED_SHARE, most=PACKED_S), deadline=work.deadline,
        seed=work.seed, moves_max=work.moves_max, ceiling=LoadLimit(by.part, room, by.base, level.ceiling),
    )  # fmt: skip


def searched(work: Work, by: Measure, level: Level) -> list[tuple[int, int]] | None:
    """The moves (server, host) to a placement with the least above these levels; None: not looked for, or not lawful.

    To be asked before anything of this plan has moved.
    """
    board, problem = work.board, work.problem
    cells = len(problem.servers) * len(problem.hosts)
    unknown = problem.licences or problem.isolated or problem.cells is not None or problem.homeless
    if unknown or board.limits or board.leaving or board.moved or cells > CELLS_MAX:
        return None
    if board.barred:  # as after a placement that no order of moves reached: now each move is to be possible by itself
        return None
    if work.deadline.over(keep=SEARCH_S if at_hand() else COMPILE_S):
        return None
    stay = [one for one in range(len(problem.servers)) if not work.movable(one)]
    there = replace(
        problem,
        fixed=dict.fromkeys(stay, ("", "")),
        closed=dict.fromkeys(np.flatnonzero(~board.open).tolist(), ("", "")),
    )
    try:
        found = improved(
            there, all_primitives(problem.cloud), tuple(_prices(work, by, level)), seed=work.seed, steps=STEPS,
            left=work.deadline.countdown(), moves_max=work.moves_max,
        )  # fmt: skip
    except NO_MEMORY:  # moves one by one need little
        work.deadline.tear()
        return None
    moves = [(int(one), int(found.at[one])) for one in np.flatnonzero(found.at != problem.start)]
    return moves if _lawful(work, found.at) else None


def _prices(work: Work, by: Measure, level: Level) -> Iterable[Price]:
    """Where soft rules have prices, a move costs 1: that is what these are counted in."""
    problem, unit = work.problem, 1.0 / MOVE if work.soft else 1.0
    part = dict(zip(problem.servers, by.part.tolist(), strict=True))
    for name, share, price in (("ceiling", level.ceiling, TOO_FULL), ("mean", level.mean, ABOVE_MEAN)):
        over = dict(zip(problem.hosts, (share * by.room - by.base).tolist(), strict=True))
        yield HostCost(name, part, over, dict(zip(problem.hosts, (unit * price / by.room).tolist(), strict=True)))
    cost = unit * MOVE * problem.cost / MOVE_MIB
    yield MoveCost("moves", dict(zip(problem.servers, cost.tolist(), strict=True)))


def _lawful(work: Work, at: Ints) -> bool:
    def standing(hosts: Ints) -> dict[ServerId, tuple[HostName, ...]]:
        pairs = zip(work.problem.servers, hosts.tolist(), strict=True)
        return {server: () if host < 0 else (work.host(host),) for server, host in pairs}

    cloud = work.problem.cloud
    before = all_violations(cloud, standing(work.problem.start))
    return not worse(before, all_violations(cloud, standing(at)))

"""Whether the loss of any one host, rack or zone would still leave room for all, after the plan; pure.

Judged by packing what would be lost, the largest server first, by best fit: a unit that passes is safe; one
that fails may be safe all the same, so a plan is told about it and not forbidden.
"""

import numpy as np

from restow.cloud.model import Survive
from restow.messages.plan import Blocker
from restow_planner.goals.work import Work
from restow_planner.rules.units import unit_of
from restow_planner.solvers.board import NOWHERE, Board

SHOWN_MAX = 5


def survival(work: Work, start: Board) -> tuple[tuple[Blocker, ...], tuple[str, ...]]:
    """A blocker for each `survive` that the plan would lose, and what could not be judged."""
    blockers: list[Blocker] = []
    unsure: list[str] = []
    for index, rule in enumerate(work.problem.cloud.rules):
        if not isinstance(rule, Survive):
            continue
        if rule.failures > 1:
            unsure.append(f"survive {index}: the loss of {rule.failures} {rule.of}s at once (one was judged)")
        missing, judged = _missing(work, work.board, rule)
        if not judged:
            unsure.append(f"survive {index}: time was over before every {rule.of} was judged")
        known, _ = _missing(work, start, rule) if missing else ({}, True)
        lost = {unit: amount for unit, amount in missing.items() if amount > known.get(unit, 0)}
        for unit, amount in sorted(lost.items())[:SHOWN_MAX]:
            why = f"after this plan the loss of {rule.of} {unit} would leave {amount} MiB of servers without a host"
            relaxation = f"move less, or add room for {amount} MiB"
            blockers.append(Blocker(server=None, rule=f"survive {index}", why=why, relaxation=relaxation))
    return tuple(blockers), tuple(unsure)


def _missing(work: Work, board: Board, rule: Survive) -> tuple[dict[str, int], bool]:
    """MiB of servers that would find no host, per unit that is lost; and whether all units were judged."""
    problem = work.problem
    units: dict[str, list[int]] = {}
    for index, host in enumerate(problem.cloud.hosts):
        if board.on[index]:
            units.setdefault(unit_of(host, rule.of), []).append(index)
    missing: dict[str, int] = {}
    for unit, hosts in units.items():
        if work.deadline.over():
            return missing, False
        mark = board.mark()
        safe = np.ones(len(problem.hosts), dtype=bool)
        safe[hosts] = False
        servers = sorted((one for host in hosts for one in board.on[host]), key=lambda one: (-problem.size[one], one))
        for server in servers:
            board.put(server, NOWHERE)
        for server in servers:
            fits = board.fits(server) & safe
            if fits.any():
                board.put(server, board.best(server, fits))
            else:
                missing[unit] = missing.get(unit, 0) + int(problem.memory[server])
        board.undo(mark)
    return missing, True

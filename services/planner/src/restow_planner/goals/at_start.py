"""Which hard rules a cloud breaks before any plan: found on the arrays, told by the rules themselves; pure.

To ask every rule of a large cloud takes longer than most plans do, and nearly always nothing is broken.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from restow.cloud.model import Cloud
from restow_planner.rules import RULES, hard_primitives
from restow_planner.rules.base import Violation
from restow_planner.rules.clashes import clashes
from restow_planner.solvers.board import Board

GROUPS = {"affinity": "groups", "anti-affinity": "groups"}
"""The kind of rule where it is not how its violations are called."""
TIED = ("affinity", "anti-affinity", "together", "among", "spread", "at-most", "licence", "near", "isolate")
"""Rules about servers together, which others about the same may contradict."""


def broken_at_start(board: Board) -> tuple[Violation, ...]:
    """`board`: nothing of it has moved."""
    cloud = board.problem.cloud
    kinds = {kind for rule in _broken(board) for kind in _kinds(rule)}
    where = {one.id: () if one.host is None else (one.host,) for one in cloud.servers} if kinds else {}
    return tuple(one for rule in RULES if rule.name in kinds for one in rule.violations(cloud, where))


def contradictions(cloud: Cloud, broken: Iterable[Violation]) -> tuple[str, ...]:
    """Why some of the broken rules can never be kept: another rule about the same servers wants the contrary."""
    names = {one.rule for one in broken if one.rule.split(" ", maxsplit=1)[0] in TIED}
    hard = hard_primitives(cloud) if names else ()
    members = {server for one in hard if one.rule in names for server in getattr(one, "servers", ())}
    near = [one for one in hard if not members.isdisjoint(getattr(one, "servers", ()))]
    return tuple(dict.fromkeys(one.why for one in clashes(cloud, near) if not names.isdisjoint(one.rules)))


def _kinds(rule: str) -> tuple[str, ...]:
    """By the name of one: a reserve makes the row of a capacity lower, and is called by its name there."""
    kind = rule.split(" ", maxsplit=1)[0]
    return ("capacity", "reserve") if kind in ("capacity", "reserve") else (GROUPS.get(kind, kind),)


def _broken(board: Board) -> Iterator[str]:
    problem, leeway = board.problem, board.leeway
    for row in np.flatnonzero((board.free < 0).any(axis=1)).tolist():
        yield problem.row_rules[row]
    placed = np.flatnonzero(problem.start >= 0)
    astray = ~problem.allowed[problem.class_of[placed], problem.start[placed]]
    for server in placed[astray].tolist():
        host = problem.start[server]
        yield from (rule for rule, mask in problem.allowed_by[int(problem.class_of[server])] if not mask[host])
    for index, tally in enumerate(problem.at_most):
        if tally.soft is None and (board.counts[index] > tally.number).any():
            yield tally.rule
    yield from (one.rule for index, one in enumerate(problem.spreads) if one.soft is None and leeway.spread(index))
    yield from (one.rule for index, one in enumerate(problem.homeless) if leeway.apart(index))
    for index, tally in enumerate(problem.licences):
        if tally.soft is None and leeway.licences(index) > tally.number:
            yield tally.rule
    joint = board.joint
    if joint is None:
        return
    yield from (one.rule for index, one in enumerate(problem.near) if one.servers.soft is None and joint.apart(index))
    yield from (one.rule for index, one in enumerate(problem.isolated) if one.soft is None and joint.mixed(index))
    if problem.cells is not None and joint.cells_free is not None and (joint.cells_free < 0).any():
        yield problem.cells.rule

"""Every goal, one file each, and the way from a request to a decision. To add a goal: write its file, name it here."""

from dataclasses import replace

import numpy as np

from restow.cloud.model import Cloud
from restow.errors import BadInputError, FieldError
from restow.ids import HostName, ServerId
from restow.messages.request import AnyRequest, RecoverRequest, ThenRequest
from restow_planner.deadline import Deadline
from restow_planner.decision import Decision
from restow_planner.goals.answer import answer
from restow_planner.goals.base import Goal
from restow_planner.goals.consolidate import Consolidate
from restow_planner.goals.defragment import Defragment
from restow_planner.goals.evacuate import Evacuate
from restow_planner.goals.names import Names
from restow_planner.goals.reach import Reach
from restow_planner.goals.rebalance import Rebalance
from restow_planner.goals.recover import Recover
from restow_planner.goals.soft import soft_rules
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import compile_problem
from restow_planner.referee.steps import requests
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import Board

GOALS: tuple[Goal, ...] = (Evacuate(), Recover(), Rebalance(), Consolidate(), Defragment(), Reach())


def pursue(
    cloud: Cloud, request: AnyRequest, *, deadline: Deadline, unreachable: frozenset[tuple[ServerId, HostName]]
) -> Decision:
    """See `restow_planner.decision.decide`."""
    names = Names(cloud)
    _check(cloud, request, names, "")
    if request.domain not in (None, cloud.domain):
        names.errors.append(FieldError("domain", request.domain, f"{cloud.domain}, as the snapshot has it"))
    if names.errors:
        raise BadInputError("request", tuple(names.errors))
    failed = [HostName(name) for one in requests(request) if isinstance(one, RecoverRequest) for name in one.hosts]
    primitives = all_primitives(cloud)
    problem = compile_problem(cloud, primitives, failed=failed)
    board = Board(
        problem=problem,
        open=np.array([host not in problem.closed for host in range(len(problem.hosts))], dtype=bool),
        pinned=dict(problem.fixed),
        barred={},
    )
    unordered = {(problem.server_index[one], problem.host_index[host]) for one, host in unreachable}
    for server, host in sorted(unordered):
        board.barred.setdefault(server, set()).add(host)
    search = replace(deadline, closing=lambda: deadline.closing_s(len(problem.servers), len(board.moved)))
    work = Work(problem, board, search, request.seed, unordered=unordered, soft=soft_rules(primitives))
    return answer(work, _run(work, request))


def _check(cloud: Cloud, request: AnyRequest, names: Names, at: str) -> None:
    names.servers(request.pin, f"{at}pin")
    names.hosts(request.exclude_hosts, f"{at}exclude_hosts")
    if isinstance(request, ThenRequest):
        for index, one in enumerate(request.goals):
            _check(cloud, one, names, f"{at}goals.{index}.")
    else:
        _goal_of(request).check(request, names, at)


def _goal_of(request: AnyRequest) -> Goal:
    return next(goal for goal in GOALS if isinstance(request, goal.request))


def _run(work: Work, request: AnyRequest) -> list[Verdict]:
    """The verdict of each goal in order. What a request excludes or pins stays so for all goals after it."""
    problem, board = work.problem, work.board
    excluded = [problem.host_index[HostName(name)] for name in request.exclude_hosts]
    work.close(excluded)
    work.excluded.update(excluded)
    for name in request.pin:
        board.pinned.setdefault(problem.server_index[ServerId(name)], ("pin", "the request pins it"))
    for pair in request.avoid:
        if pair.server in problem.server_index and pair.host in problem.host_index:  # both may be gone by now
            server = problem.server_index[ServerId(pair.server)]
            board.barred.setdefault(server, set()).add(problem.host_index[HostName(pair.host)])
    outer = work.moves_max, work.moved_mib_max, work.deadline
    if request.limits.moves is not None:
        work.moves_max = min(len(board.moved) + request.limits.moves, outer[0] if outer[0] is not None else 10**9)
    if request.limits.moved_gib is not None:
        most = work.moved_mib() + request.limits.moved_gib * 1024
        work.moved_mib_max = most if outer[1] is None else min(most, outer[1])
    verdicts: list[Verdict] = []
    if isinstance(request, ThenRequest):
        for index, one in enumerate(request.goals):
            work.deadline = outer[2].part(1 / (len(request.goals) - index))
            verdicts += _run(work, one)
    else:
        verdicts.append(_goal_of(request).pursue(work, request))
    work.moves_max, work.moved_mib_max, work.deadline = outer
    return verdicts

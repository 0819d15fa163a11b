"""CP-SAT on a few hosts at a time, or on all where the cloud is small: the best packing, or a proof; pure.

Alike servers of one host are one integer variable per target, so the model stays small. One worker, a fixed seed
and a limit in deterministic time: the same question has the same answer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

from restow_planner.deadline import Deadline
from restow_planner.solvers import cp_sat
from restow_planner.solvers.board import Board, LoadLimit
from restow_planner.solvers.group_model import Going, GroupModel
from restow_planner.solvers.joint_model import JointModel

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

VARIABLES_MAX = 20_000
COST_STEPS = 1_000
"""Costs are rounded to this many steps of the dearest move."""
LOAD_SCALE = 100_000
EXCESS_STEPS = 1_000
"""What is above a ceiling is counted in so many steps of a host; …"""
STEPS_A_HOST = 100
"""… so many more for each host that is above it at all; …"""
STEPS_A_MOVE = 5
"""… and for each move, which pays for itself only where it gains more."""
PRIORITY_RANKS = 4


@dataclass(frozen=True, slots=True)
class Repacked:
    """`at`: new host of each server that was free to go (also those that stay). `proven`: nothing better exists.

    `excess`: what is left above the ceiling, the hosts that are, and the moves, all in steps.
    """

    at: dict[int, int]
    unplaced: tuple[int, ...]
    proven: bool
    excess: int = 0


@dataclass(frozen=True, slots=True)
class _Group:
    members: tuple[int, ...]
    targets: tuple[int, ...]
    must: bool


def repack(
    board: Board,
    hosts: Sequence[int],
    must: Sequence[int],
    free: Iterable[int],
    *,
    work_s: float,
    deadline: Deadline,
    seed: int,
    moves_max: int | None = None,
    vacate: frozenset[int] = frozenset(),
    mend: Mapping[int, Sequence[int]] | None = None,
    ceiling: LoadLimit | None = None,
) -> Repacked | None:
    """Place `must` (each where it can be, highest priority first) and re-place `free` within `hosts`, cheaply.

    `free` stand on `hosts` now and stand somewhere after. `vacate`: hosts of which as many as possible are to be left
    by all of `free`. `mend`: hosts of which as many as possible are to carry no more of these resources than they
    have, by the fewest moves, then the cheapest. `ceiling`: of load, as little as possible above it, by moves that
    pay for themselves; rounded so that nothing is overlooked. None: nothing found in time, or too large to try.
    """
    groups = _grouped(board, frozenset(hosts), must, free, (*board.limits, *([ceiling] if ceiling else ())))
    if sum(len(group.targets) for group in groups) > VARIABLES_MAX or work_s <= 0:
        return None
    try:
        model = _Model(
            board, tuple(hosts), groups, moves_max=moves_max, vacate=vacate, mend=mend or {}, ceiling=ceiling
        )
        return model.solved(work_s=work_s, deadline=deadline, seed=seed)
    except cp_sat.NO_MEMORY:  # what is there without this help is an answer too
        deadline.tear()
        return None


def _scaled(load: float) -> int:
    return ceil(load * LOAD_SCALE - 1e-6)


def _grouped(
    board: Board, hosts: frozenset[int], must: Sequence[int], free: Iterable[int], limits: Sequence[LoadLimit]
) -> list[_Group]:
    problem = board.problem
    alike: dict[tuple[object, ...], list[int]] = {}
    wanted = set(must)
    for server in sorted({*must, *free}):
        special = server in problem.bound_to_others or server in board.barred
        alike.setdefault(
            (
                int(problem.class_of[server]),
                problem.demand[server].tobytes(),
                board.at[server],
                int(problem.start[server]),
                problem.cloud.servers[server].priority if server in wanted else 0,
                float(problem.cost[server]),
                server if special else -1,
                server in wanted,
                *(float(limit.part[server]) for limit in limits),
            ),
            [],
        ).append(server)
    inside = np.zeros(len(problem.hosts), dtype=bool)
    inside[sorted(hosts)] = True
    groups = []
    for members in alike.values():
        one = members[0]
        targets = set(np.flatnonzero(board.may_stand(one) & inside).tolist())
        targets = {host for host in targets if (problem.demand[one] <= problem.capacity[:, host]).all()}
        if one not in wanted:
            targets.add(board.at[one])
        groups.append(_Group(tuple(members), tuple(sorted(targets)), one in wanted))
    return groups


class _Model:
    """Only this class knows how the decisions are stored."""

    def __init__(
        self,
        board: Board,
        hosts: tuple[int, ...],
        groups: list[_Group],
        *,
        moves_max: int | None,
        vacate: frozenset[int],
        mend: Mapping[int, Sequence[int]],
        ceiling: LoadLimit | None,
    ) -> None:
        from ortools.sat.python import cp_model

        self.board, self.hosts, self.groups = board, hosts, groups
        self.model = cp_model.CpModel()
        self.count = {
            (index, host): self.model.new_int_var(0, len(group.members), "")
            for index, group in enumerate(groups)
            for host in group.targets
        }
        self.left_out = {
            index: self.model.new_int_var(0, len(group.members), "") for index, group in enumerate(groups) if group.must
        }
        self.free = {server for group in groups for server in group.members}
        self.of_server = {group.members[0]: index for index, group in enumerate(groups) if len(group.members) == 1}
        self.mend = mend
        self.unmended = {host: self.model.new_bool_var("") for host in mend}
        self.excess: list[cp_model.LinearExprT] = []
        self._everyone_somewhere()
        self._capacity()
        self._groups()
        self._loads()
        if ceiling is not None:
            self._under(ceiling)
        self._objective(moves_max, vacate)

    def _everyone_somewhere(self) -> None:
        for index, group in enumerate(self.groups):
            places = [self.count[index, host] for host in group.targets]
            if group.must:
                places.append(self.left_out[index])
            self.model.add(sum(places) == len(group.members))

    def _capacity(self) -> None:
        board, problem = self.board, self.board.problem
        coming: dict[int, list[int]] = {}
        for index, host in self.count:
            coming.setdefault(host, []).append(index)
        for host, indices in coming.items():
            leaving = [one for one in board.on[host] if one in self.free]
            freed = problem.demand[leaving].sum(axis=0)
            room = np.maximum(board.free[:, host], 0) + freed  # never worse than now
            for resource in range(problem.demand.shape[1]):
                terms = [
                    (int(problem.demand[self.groups[index].members[0], resource]), self.count[index, host])
                    for index in indices
                ]
                if sum(one * len(self.groups[i].members) for (one, _), i in zip(terms, indices, strict=True)) > 0:
                    coming_here = sum(one * variable for one, variable in terms if one)
                    excess = max(0, -int(board.free[resource, host]))
                    if resource in self.mend.get(host, ()):
                        self.model.add(coming_here - excess * self.unmended[host] <= int(room[resource]) - excess)
                        continue
                    self.model.add(coming_here <= int(room[resource]))
                    if excess:
                        self._none_arrives_above(coming_here, int(freed[resource]) - excess, resource, host, indices)

    def _none_arrives_above(
        self, coming_here: "cp_model.LinearExprT", room: int, resource: int, host: int, indices: Sequence[int]
    ) -> None:
        """Who is on a host that carries too much may stay; nobody comes there as long as it does."""
        board, first = self.board, {index: self.groups[index].members[0] for index in indices}
        arriving = [
            self.count[index, host]
            for index, one in first.items()
            if board.at[one] != host and board.problem.demand[one, resource]
        ]
        closed = self.model.new_bool_var("")
        self.model.add(sum(arriving) == 0).only_enforce_if(closed)
        self.model.add(coming_here <= room).only_enforce_if(~closed)

    def _groups(self) -> None:
        """Rules that look at several servers; licences, nearness and isolation only where the cloud has any."""
        groups = GroupModel(
            self.model, self.board, {server: self._going(index) for server, index in self.of_server.items()}
        )
        groups.add()
        if self.board.joint is not None:
            JointModel(
                self.model,
                self.board,
                self.count,
                members=[group.members for group in self.groups],
                by_unit=lambda tally: groups.by_unit(tally, self.board.company),
                left_out=self.left_out,
            ).add()

    def _going(self, index: int) -> Going:
        comes = {host: self.count[index, host] for host in self.groups[index].targets}
        return Going(comes, self.left_out.get(index))

    def _loads(self) -> None:
        board = self.board
        for limit, load in zip(board.limits, board.loads, strict=True):
            for host in self.hosts:
                here = [one for one in board.on[host] if one in self.free]
                terms = [
                    _scaled(float(limit.part[group.members[0]])) * self.count[index, host]
                    for index, group in enumerate(self.groups)
                    if (index, host) in self.count
                ]
                most = limit.limit * limit.room[host]
                if load[host] > most:  # no worse than now
                    self.model.add(sum(terms) <= sum(_scaled(float(limit.part[one])) for one in here))
                elif np.isfinite(most):
                    room = most - load[host] + sum(float(limit.part[one]) for one in here)
                    self.model.add(sum(terms) <= int(room * LOAD_SCALE))

    def _under(self, ceiling: LoadLimit) -> None:
        """What is above it is charged for; no host comes to have more above it than the worst has now."""
        part = [floor(amount * LOAD_SCALE + 1e-6) for amount in ceiling.part.tolist()]
        hosts = [host for host in self.hosts if np.isfinite(ceiling.room[host])]
        full = {host: ceil(float(ceiling.room[host]) * LOAD_SCALE) for host in hosts}
        now, fixed = {}, {}
        for host in hosts:
            fixed[host] = floor(float(ceiling.base[host] - ceiling.limit * ceiling.room[host]) * LOAD_SCALE)
            fixed[host] += sum(part[one] for one in self.board.on[host] if one not in self.free)
            now[host] = fixed[host] + sum(part[one] for one in self.board.on[host] if one in self.free)
        worst = max((ceil(EXCESS_STEPS * now[host] / full[host]) for host in hosts), default=0)
        for host in hosts:
            coming = sum(
                part[group.members[0]] * self.count[index, host]
                for index, group in enumerate(self.groups)
                if (index, host) in self.count
            )
            steps, is_above = self.model.new_int_var(0, max(0, worst), ""), self.model.new_bool_var("")
            self.model.add(EXCESS_STEPS * (coming + fixed[host]) <= full[host] * steps)
            self.model.add(steps <= max(0, worst) * is_above)
            self.excess.append(steps + STEPS_A_HOST * is_above)

    def _objective(self, moves_max: int | None, vacate: frozenset[int]) -> None:
        problem = self.board.problem
        dearest = max((float(problem.cost[group.members[0]]) for group in self.groups), default=1.0)
        moved: list[cp_model.IntVar] = []
        total: list[cp_model.LinearExprT] = []
        worst = 1
        steps = COST_STEPS
        if self.mend:
            steps *= 1 + 2 * len(self.free)  # the number of moves first
        for (index, host), variable in self.count.items():
            one = self.groups[index].members[0]
            if host != problem.start[one]:
                price = max(1, round(float(problem.cost[one]) / dearest * COST_STEPS)) + steps - COST_STEPS
                if host in self.mend:
                    price += COST_STEPS  # who arrives has to wait for those who leave: it may end in a circle
                moved.append(variable)
                total.append(price * variable)
        dearest_move = steps + COST_STEPS * bool(self.mend)
        worst += sum(len(group.members) for group in self.groups) * dearest_move
        if moves_max is not None:
            outside = sum(one not in self.free for one in self.board.moved)
            self.model.add(sum(moved) <= moves_max - outside)
        for host in sorted(vacate):
            kept = self.model.new_bool_var("")
            for index in range(len(self.groups)):
                if (index, host) in self.count:
                    self.model.add(self.count[index, host] <= len(self.groups[index].members) * kept)
            total.append(worst * kept)
        total += [worst * variable for variable in (*self.unmended.values(), *self.excess)]
        if self.excess:
            total += [worst * STEPS_A_MOVE * variable for variable in moved]
        ranks = sorted({self._priority(index) for index in self.left_out})
        for index, variable in self.left_out.items():
            rank = min(ranks.index(self._priority(index)), PRIORITY_RANKS - 1)
            total.append(worst * (1 + len(self.free)) ** min(rank, 2) * variable)
        self.model.minimize(sum(total))

    def _priority(self, index: int) -> int:
        return self.board.problem.cloud.servers[self.groups[index].members[0]].priority

    def solved(self, *, work_s: float, deadline: Deadline, seed: int) -> Repacked | None:
        from ortools.sat.python import cp_model

        for (index, host), variable in self.count.items():
            group = self.groups[index]
            stays = len(group.members) if self.board.at[group.members[0]] == host else 0
            self.model.add_hint(variable, stays)
        for index, variable in self.left_out.items():
            self.model.add_hint(variable, len(self.groups[index].members))
        solver, status = cp_sat.run(self.model, work_s=work_s, deadline=deadline, seed=seed)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        at: dict[int, int] = {}
        unplaced: list[int] = []
        for index, group in enumerate(self.groups):
            waiting = list(group.members)
            for host in group.targets:
                for _ in range(solver.value(self.count[index, host])):
                    at[waiting.pop()] = host
            unplaced += waiting
        excess = sum(solver.value(variable) for variable in self.excess)
        excess += STEPS_A_MOVE * sum(host != self.board.problem.start[server] for server, host in at.items())
        return Repacked(at, tuple(sorted(unplaced)), proven=status == cp_model.OPTIMAL, excess=excess)

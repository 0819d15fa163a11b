"""Licences, nearness, isolation and NUMA cells in the words of CP-SAT: what a repacking may not make worse; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from restow_planner.arrays import CellRows, Ints, Nearness, Tally
from restow_planner.solvers.board import Board

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    Coming = dict[int, list[cp_model.IntVar]]


class JointModel:
    """`count`: how many of a group stand on a host at the end; `by_unit` tells who may come to a unit and who stays.

    The members of these rules are groups of one, so for them a count is a yes or no. `left_out`: how many of a group
    find no place; those stay where they are.
    """

    def __init__(
        self,
        model: "cp_model.CpModel",
        board: Board,
        count: "Mapping[tuple[int, int], cp_model.IntVar]",
        *,
        members: Sequence[tuple[int, ...]],
        by_unit: "Callable[[Tally], tuple[Coming, dict[int, int]]]",
        left_out: "Mapping[int, cp_model.IntVar]",
    ) -> None:
        self._model, self._board, self._count = model, board, count
        self._members, self._by_unit, self._left_out = members, by_unit, left_out
        self._free = {server for group in members for server in group}

    def add(self) -> None:
        problem = self._board.problem
        for index, tally in enumerate(problem.licences):
            if tally.soft is None and self._concerned(tally.members):
                self._licence(index, tally)
        for index, rule in enumerate(problem.near):
            if rule.servers.soft is None and self._concerned(rule.members):
                self._near(index, rule)
        for tally in problem.isolated:
            if tally.soft is None:
                self._isolated(tally)
        if problem.cells is not None:
            self._cells(problem.cells)

    def _concerned(self, members: tuple[int, ...]) -> bool:
        return any(one in self._free for one in members)

    def _present(self, tally: Tally) -> "tuple[Coming, dict[int, int]]":
        """As `by_unit`, with those who may be left out where they are."""
        coming, staying = self._by_unit(tally)
        members = set(tally.members)
        for index, variable in self._left_out.items():
            if self._members[index][0] in members and (host := self._board.company(self._members[index][0])) >= 0:
                coming.setdefault(int(tally.unit[host]), []).append(variable)
        return coming, staying

    def _licence(self, index: int, tally: Tally) -> None:
        coming, staying = self._present(tally)
        most = self._board.leeway.licences(index)
        now = {int(tally.unit[host]) for host in map(self._board.company, tally.members) if host >= 0}
        if most == 1 and now:
            for unit in coming.keys() - now:  # on its way a server would need a second one
                self._model.add(sum(coming[unit]) == 0)
        held = []
        for unit, variables in coming.items():
            if unit not in staying:
                flag = self._model.new_bool_var("")
                for variable in variables:
                    self._model.add(variable <= flag)
                held.append(flag)
        self._model.add(sum(held) + len(staying) <= most)

    def _near(self, index: int, rule: Nearness) -> None:
        coming, staying = self._present(rule.servers)
        company, always = self._present(rule.to)
        apart: list[cp_model.LinearExprT] = []
        for unit in {*coming, *staying}:
            if unit in always:
                continue
            served = self._model.new_bool_var("")
            self._model.add(served <= sum(company.get(unit, [])))
            for variable in coming.get(unit, []):
                without = self._model.new_bool_var("")
                self._model.add(variable <= served + without)
                apart.append(without)
            apart.append(staying.get(unit, 0) * (1 - served))
        leeway = self._board.leeway
        most, at_home = leeway.near(index), leeway.near(index, with_the_dead=True)
        lost = [one for number, one in self._left_out.items() if self._board.company(self._members[number][0]) < 0]
        self._model.add(sum(apart) <= most)
        if at_home < most:  # when all run again, it is to be as it was before they died
            self._model.add(sum(apart) <= at_home + most * sum(lost))

    def _isolated(self, tally: Tally) -> None:
        """On a host with both kinds, which is so at the start only, there come to be no more than there were."""
        inside = set(tally.members)
        board = self._board
        mine: Coming = {}
        others: Coming = {}
        most: dict[int, int] = {}
        for (index, host), variable in self._count.items():
            (mine if self._members[index][0] in inside else others).setdefault(host, []).append(variable)
            most[host] = most.get(host, 0) + len(self._members[index])
        for index, variable in self._left_out.items():
            if (host := self._board.company(self._members[index][0])) >= 0:
                (mine if self._members[index][0] in inside else others).setdefault(host, []).append(variable)
                most[host] = most.get(host, 0) + len(self._members[index])
        for host, bound in most.items():
            kept = [one for one in board.on[host] if one not in self._free]
            kinds = {one in inside for one in board.on[host]}
            if kinds == {True, False}:
                self._model.add(sum(mine.get(host, []) + others.get(host, [])) + len(kept) <= len(board.on[host]))
                continue
            for_members = self._model.new_bool_var("")
            self._model.add(sum(mine.get(host, [])) <= bound * for_members)
            self._model.add(sum(others.get(host, [])) <= bound * (1 - for_members))
            if kept:
                self._model.add(for_members == int(kept[0] in inside))

    def _cells(self, cells: CellRows) -> None:
        """What those who may come take of each cell, within what is free when all who may go are gone."""
        board, joint = self._board, self._board.joint
        assert joint is not None
        assert joint.cells_free is not None
        start = board.problem.start
        coming: dict[int, list[tuple[Ints, cp_model.IntVar]]] = {}
        for (index, host), variable in self._count.items():
            server = self._members[index][0]
            if server in cells.away:
                coming.setdefault(host, []).append((cells.taken(server, host, int(start[server])), variable))
        for index, variable in self._left_out.items():
            server = self._members[index][0]
            if server in cells.away and (host := board.at[server]) >= 0:
                coming.setdefault(host, []).append((cells.taken(server, host, int(start[server])), variable))
        for host, terms in coming.items():
            going = [one for one in board.on[host] if one in self._free and one in cells.away]
            room = np.maximum(joint.cells_free[:, host], 0)
            room = room + sum(cells.taken(one, host, int(start[one])) for one in going)
            for row in range(len(cells.names)):
                self._model.add(sum(int(amounts[row]) * variable for amounts, variable in terms) <= int(room[row]))

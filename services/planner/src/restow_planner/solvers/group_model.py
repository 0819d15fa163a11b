"""At-most, spread and together in the words of CP-SAT: kept, or broken by no more than at the start; pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from restow_planner.arrays import Homeless, Tally
from restow_planner.solvers.board import Board

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True, slots=True)
class Going:
    """One server that is free to go: whether it comes to each of its targets; whether it is left out, if it may be."""

    comes: "Mapping[int, cp_model.IntVar]"
    left_out: "cp_model.IntVar | None"


class GroupModel:
    """`going`: those who are free to go and tied to others."""

    def __init__(self, model: "cp_model.CpModel", board: Board, going: Mapping[int, Going]) -> None:
        self.model, self.board, self.going = model, board, going

    def add(self) -> None:
        problem = self.board.problem
        for tally in problem.at_most:
            if tally.soft is None and self._concerned(tally.members):
                self._at_most(tally)
        for index, tally in enumerate(problem.spreads):
            if tally.soft is None and self._concerned(tally.members):
                self._spread(index, tally)
        for index, group in enumerate(problem.homeless):
            if self._concerned(group.members):
                self._together(index, group)

    def _concerned(self, members: Sequence[int]) -> bool:
        return not self.going.keys().isdisjoint(members)

    def by_unit(
        self, tally: Tally, standing: Callable[[int], int]
    ) -> "tuple[dict[int, list[cp_model.IntVar]], dict[int, int]]":
        """Per unit: the variables of members that may come, and how many stay for sure, by where they stand now."""
        coming: dict[int, list[cp_model.IntVar]] = {}
        staying: dict[int, int] = {}
        for member in tally.members:
            if member in self.going:
                for host, variable in self.going[member].comes.items():
                    coming.setdefault(int(tally.unit[host]), []).append(variable)
            elif (host := standing(member)) >= 0:
                unit = int(tally.unit[host])
                staying[unit] = staying.get(unit, 0) + 1
        return coming, staying

    def _at_most(self, tally: Tally) -> None:
        coming, staying = self.by_unit(tally, self.board.at.__getitem__)
        start = self.board.problem.start
        for unit, variables in coming.items():
            at_start = sum(start[one] >= 0 and tally.unit[start[one]] == unit for one in tally.members)
            self.model.add(sum(variables) <= max(tally.number, int(at_start)) - staying.get(unit, 0))

    def _ends(self, members: Sequence[int]) -> "Iterator[tuple[int, cp_model.LinearExprT]]":
        """Where members come to run: a host, and 1 or a variable. Of those that find no place, where they run now."""
        for one in members:
            here = self.board.company(one)
            if one in self.going:
                yield from self.going[one].comes.items()
                left_out = self.going[one].left_out
                if left_out is not None and here >= 0:
                    yield here, left_out
            elif here >= 0:
                yield here, 1

    def _lost(self, members: Sequence[int]) -> "list[cp_model.IntVar]":
        """Of each member that runs nowhere now and may find no place: whether it finds none."""
        waiting = (self.going[one].left_out for one in members if one in self.going and self.board.company(one) < 0)
        return [one for one in waiting if one is not None]

    def _present(self, members: Sequence[int]) -> int:
        """How many of them run somewhere if all find a place."""
        return sum(one in self.going or self.board.company(one) >= 0 for one in members)

    def _spread(self, index: int, tally: Tally) -> None:
        """As many units as there must be, or one for each who runs, but for as many as were lacking at the start."""
        board, lost = self.board, self._lost(tally.members)
        by_unit: dict[int, list[cp_model.LinearExprT]] = {}
        for host, comes in self._ends(tally.members):
            by_unit.setdefault(int(tally.unit[host]), []).append(comes)
        reached = []
        for comes_here in by_unit.values():
            flag = self.model.new_bool_var("")
            self.model.add(flag <= sum(comes_here))
            reached.append(flag)
        lacking, present = board.leeway.spread(index), self._present(tally.members)
        at_home = board.leeway.spread(index, with_the_dead=True)
        if lost and at_home < lacking:  # when all run again, it is to be as it was before they died
            self.model.add(sum(reached) + present * sum(lost) >= min(tally.number, present) - at_home)
        if not lost or present <= tally.number:
            self.model.add(sum(reached) >= min(tally.number, present) - sum(lost) - lacking)
            return
        enough = self.model.new_bool_var("")
        self.model.add(sum(reached) >= tally.number - lacking).only_enforce_if(enough)
        self.model.add(sum(reached) >= present - sum(lost) - lacking).only_enforce_if(~enough)

    def _together(self, index: int, group: Homeless) -> None:
        """One set holds all who run, but for as many as were apart at the start."""
        by_set: dict[int, list[cp_model.LinearExprT]] = {}
        for host, comes in self._ends(group.members):
            for one in group.sets.of.get(host, ()):
                by_set.setdefault(one, []).append(comes)
        needed = self._present(group.members) - sum(self._lost(group.members)) - self.board.leeway.apart(index)
        chosen = {one: self.model.new_bool_var("") for one in by_set if self._may_choose(index, group, one)}
        nobody = self.model.new_bool_var("")
        self.model.add_bool_or([*chosen.values(), nobody])
        self.model.add(needed <= 0).only_enforce_if(nobody)
        for one, flag in chosen.items():
            self.model.add(sum(by_set[one]) >= needed).only_enforce_if(flag)

    def _may_choose(self, index: int, group: Homeless, chosen: int) -> bool:
        """Those who run share a set now, and must at every instant: they never come to another that shares no host."""
        running = [host for one in group.members if (host := self.board.company(one)) >= 0]
        if not running or self.board.leeway.apart(index) or chosen in group.sets.shared:
            return True
        return group.sets.held(running)[chosen] == len(running)

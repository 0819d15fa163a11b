"""The choice among columns: a linear program by GLOP for the prices, an integer one by CP-SAT for the answer; pure.

The same columns give the same answer: one worker, a fixed seed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import numpy as np

from restow_planner.deadline import Deadline
from restow_planner.problem import Ints
from restow_planner.solvers import cp_sat
from restow_planner.solvers.stock import Aim, Kinds, Patterns, Prices, Stock


@dataclass(frozen=True, slots=True)
class Column:
    """A way to fill one host of a kind. `net` (C,): items more than before; `spent` (B,): of each budget."""

    kind: int
    gain: int
    net: Ints
    departures: int
    spent: Ints
    final: Ints  # (N, C)


@dataclass(slots=True)
class Columns:
    """All columns known, each once; never the one that changes nothing."""

    stock: Stock
    kinds: Kinds
    known: list[Column] = field(default_factory=list)
    _index: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def add(self, patterns: Patterns) -> list[int]:
        """The columns of these patterns, by their index among all that are known; new ones come last."""
        kinds, stock = self.kinds, self.stock
        change = patterns.final - kinds.on[patterns.kind]
        net = change.sum(axis=1)
        gone = np.maximum(-change, 0).sum(axis=1)
        wide = (patterns.final * stock.wide)[:, :1] @ stock.size
        free = (kinds.room - kinds.debt)[patterns.kind] - (patterns.final * ~stock.wide) @ stock.size - wide
        gain = stock.slots(free).sum(axis=1) - kinds.slots[patterns.kind]
        spent = gone @ stock.spent.T
        indices = []
        for row in np.flatnonzero(change.any(axis=(1, 2))).tolist():
            kind, final = int(patterns.kind[row]), patterns.final[row]
            index = self._index.setdefault((kind, final.tobytes()), len(self.known))
            if index == len(self.known):
                self.known.append(Column(kind, int(gain[row]), net[row], int(gone[row].sum()), spent[row], final))
            indices.append(index)
        return indices


@dataclass(frozen=True, slots=True)
class Duals:
    """`value` of the linear program and the `prices` at it."""

    value: float
    prices: Prices


class Master:
    """The linear program: every class keeps its number, no budget is overspent, and the aim is met best."""

    def __init__(self, stock: Stock, kinds: Kinds, aim: Aim) -> None:
        from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]

        solver = pywraplp.Solver.CreateSolver("GLOP")
        endless = solver.infinity()
        self._solver: Any = solver
        self._cost = aim.cost
        self._hosts = [solver.Constraint(-endless, float(count)) for count in kinds.count]
        self._items = [solver.Constraint(0.0, 0.0) for _ in stock.wide]
        self._budgets = [solver.Constraint(-endless, float(amount)) for amount in stock.budget]
        self._slots = solver.Constraint(-endless, 0.0)  # slots that count are there
        counted = solver.NumVar(0.0 if aim.reward else float(aim.slots), float(aim.slots), "")
        self._slots.SetCoefficient(counted, 1.0)
        self._total = solver.Objective()
        self._total.SetCoefficient(counted, aim.reward)
        self._total.SetMaximization()

    def add(self, columns: Sequence[Column]) -> None:
        solver = self._solver
        for column in columns:
            taken = solver.NumVar(0.0, solver.infinity(), "")
            self._hosts[column.kind].SetCoefficient(taken, 1.0)
            self._slots.SetCoefficient(taken, -float(column.gain))
            self._total.SetCoefficient(taken, -self._cost * column.departures)
            for item in np.flatnonzero(column.net).tolist():
                self._items[item].SetCoefficient(taken, float(column.net[item]))
            for row, amount in zip(self._budgets, column.spent.tolist(), strict=True):
                row.SetCoefficient(taken, float(amount))

    def solved(self) -> Duals | None:
        """None: GLOP gave up, which only numbers far apart can cause."""
        if self._solver.Solve() != self._solver.OPTIMAL:
            return None
        prices = Prices(
            slot=max(float(self._slots.dual_value()), 0.0),
            item=np.array([row.dual_value() for row in self._items], dtype=float),
            budget=np.array([max(row.dual_value(), 0.0) for row in self._budgets], dtype=float),
        )
        return Duals(float(self._total.Value()), prices)


class Nothing(Enum):
    """Why there is no choice: none exists, or none was found within the limits."""

    EXISTS = auto()
    FOUND = auto()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Columns with how often each is taken."""

    gain: int
    departures: int
    taken: tuple[tuple[Column, int], ...]


NOTHING = Chosen(gain=0, departures=0, taken=())


@dataclass(frozen=True, slots=True)
class Limits:
    """`work` is in the solver's deterministic seconds."""

    work: float
    deadline: Deadline
    seed: int


def choose(
    stock: Stock,
    kinds: Kinds,
    columns: Sequence[Column],
    *,
    least: int,
    most: int,
    limits: Limits,
    sparing: bool = False,
) -> Chosen | Nothing:
    """The most slots between `least` and `most`, or if `sparing` the fewest departures for `least` of them."""
    from ortools.sat.python import cp_model

    if limits.work <= 0:
        return Nothing.FOUND
    model = cp_model.CpModel()
    taken = [model.new_int_var(0, int(kinds.count[one.kind]), "") for one in columns]

    def total(weights: Iterable[int]) -> "cp_model.LinearExprT":
        pairs = [(variable, weight) for variable, weight in zip(taken, weights, strict=True) if weight]
        return cp_model.LinearExpr.weighted_sum([one for one, _ in pairs], [weight for _, weight in pairs])

    of_kind: dict[int, list[cp_model.IntVar]] = {}
    for variable, column in zip(taken, columns, strict=True):
        of_kind.setdefault(column.kind, []).append(variable)
    for kind, variables in of_kind.items():
        model.add(sum(variables) <= int(kinds.count[kind]))
    for weights in np.array([one.net for one in columns], dtype=np.int64).reshape(-1, len(stock.wide)).T.tolist():
        model.add(total(weights) == 0)
    spent = np.array([one.spent for one in columns], dtype=np.int64).reshape(-1, len(stock.budget))
    for weights, amount in zip(spent.T.tolist(), stock.budget.tolist(), strict=True):
        model.add(total(weights) <= amount)
    gain = total(one.gain for one in columns)
    model.add(gain >= least)
    if sparing:
        model.minimize(total(one.departures for one in columns))
    else:
        counted = model.new_int_var(least, most, "")
        model.add(counted <= gain)
        model.maximize(counted)
    solver, status = cp_sat.run(model, work_s=limits.work, deadline=limits.deadline, seed=limits.seed)
    if status == cp_model.INFEASIBLE:
        return Nothing.EXISTS
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Nothing.FOUND
    counts = [(column, int(solver.value(variable))) for column, variable in zip(columns, taken, strict=True)]
    return Chosen(
        gain=sum(number * column.gain for column, number in counts),
        departures=sum(number * column.departures for column, number in counts),
        taken=tuple((column, number) for column, number in counts if number),
    )

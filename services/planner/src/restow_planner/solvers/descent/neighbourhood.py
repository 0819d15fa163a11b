"""Some servers of a few hosts placed anew by CP-SAT, everything else where it is; pure.

Large neighbourhood search (Shaw, 1998). One boolean for each freed server and each of the hosts where it may stand.
Two small parts of the price are left out, soft company and the set with the most moves: who asks counts again anyway.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from restow_planner.deadline import LEAST_S
from restow_planner.problem import Floats, Ints
from restow_planner.solvers import cp_sat
from restow_planner.solvers.descent.arrays import NONE, Ground, Standing

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

MONEY = float(1 << 40)
"""Prices are whole numbers to CP-SAT: where they are not, they are scaled until the greatest is about so much."""
LOAD_STEPS = float(1 << 20)
"""The same for amounts of load, of which the greatest host carries so many."""


@dataclass(frozen=True)
class Scale:
    """Factors that make amounts and prices whole; 1 where they are."""

    ground: Ground

    @cached_property
    def amounts(self) -> Floats:
        """Of each kind of load, (K,)."""
        g = self.ground
        whole = (g.amount == np.rint(g.amount)).all(axis=0) & (g.over == np.rint(g.over)).all(axis=0)
        total = np.maximum(np.abs(g.over).max(axis=0, initial=0.0), np.abs(g.amount).sum(axis=0)) + 1e-12
        factors: Floats = np.where(whole, 1.0, LOAD_STEPS / total)
        return factors

    @cached_property
    def money(self) -> float:
        g = self.ground
        soft = [each[np.isfinite(each)] for each in (g.most_price, g.least_price, g.near_price)]
        parts = [(g.price / self.amounts).ravel(), g.leave, g.between.ravel(), g.stand.ravel(), *soft]
        if all((one == np.rint(one)).all() for one in parts):
            return 1.0
        return MONEY / max(1e-12, float((g.price * np.abs(g.amount).sum(axis=0)).max(initial=1.0)))


@dataclass(frozen=True, slots=True)
class Refilled:
    """`at` (S,) the placement after it. `work`: deterministic seconds of CP-SAT. `proven`: none here is better."""

    at: Ints | None
    proven: bool
    work: float


@dataclass(slots=True)
class Refill:
    """The model. `freed`: servers that stand on these `hosts`."""

    ground: Ground
    standing: Standing
    scale: Scale
    freed: Ints
    hosts: Ints
    model: "cp_model.CpModel" = field(init=False)
    x: dict[tuple[int, int], "cp_model.IntVar"] = field(default_factory=dict)  # server, host
    bill: list[tuple["cp_model.IntVar", int]] = field(default_factory=list)
    company: dict[tuple[int, int], "cp_model.IntVar"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self._places()
        for host in self.hosts.tolist():
            self._room(host)
            self._load(host)
        for table, members in self._touched().items():
            self._most(table, members)
            self._least(table, members)
        self._nears()
        if self.ground.moves_max < len(self.ground.start):
            self._moves()
        self.model.minimize(cp_model.LinearExpr.weighted_sum([x for x, _ in self.bill], [c for _, c in self.bill]))

    @property
    def exact(self) -> bool:
        """Whether its price is the whole price."""
        g = self.ground
        whole = self.scale.money == 1.0 and bool((self.scale.amounts == 1.0).all())
        return whole and g.set_price == 0.0 and bool((g.apart_price == NONE).all())

    def _money(self, price: float) -> int:
        return round(price * self.scale.money)

    def _places(self) -> None:
        g = self.ground
        for one in self.freed.tolist():
            home = int(g.start[one])
            hosts = [h for h in self.hosts.tolist() if h == home or g.allowed[g.row[one], h]]
            price = np.where(self.hosts == home, 0.0, g.leave[one])
            if len(g.between):
                price = price + g.between[home, self.hosts]
            if g.stand_row[one] >= 0:
                price = price + g.stand[g.stand_row[one], self.hosts]
            of = dict(zip(self.hosts.tolist(), price.tolist(), strict=True))
            for host in hosts:
                x = self.x[one, host] = self.model.new_bool_var("")
                if of[host]:
                    self.bill.append((x, self._money(of[host])))
                self.model.add_hint(x, int(self.standing.at[one] == host))
            self.model.add_exactly_one(self.x[one, host] for host in hosts)

    def _here(self, host: int) -> tuple[Ints, list["cp_model.IntVar"]]:
        who = [one for one in self.freed.tolist() if (one, host) in self.x]
        return np.array(who, dtype=np.int64), [self.x[one, host] for one in who]

    def _room(self, host: int) -> None:
        """What comes fits into what is left and what goes; an overfull host gets no fuller."""
        from ortools.sat.python import cp_model

        g, s = self.ground, self.standing
        who, xs = self._here(host)
        demand = g.demand[who].copy()
        demand[np.ix_(g.start[who] == host, g.held)] = 0  # its share is held in any case
        leaving = demand[s.at[who] == host].sum(axis=0)
        room = s.room[host] - g.floor[host] + leaving
        for resource in np.flatnonzero(demand.sum(axis=0) > room).tolist():
            self.model.add(cp_model.LinearExpr.weighted_sum(xs, demand[:, resource]) <= int(room[resource]))

    def _load(self, host: int) -> None:
        from ortools.sat.python import cp_model

        g, s = self.ground, self.standing
        who, xs = self._here(host)
        amount = np.rint(g.amount[who] * self.scale.amounts).astype(np.int64)
        there = s.at[who] == host
        base = np.rint(s.excess[host] * self.scale.amounts).astype(np.int64) - amount[there].sum(axis=0)
        most = base + np.maximum(amount, 0).sum(axis=0)
        for k in np.flatnonzero((most > 0) & (g.price[host] > 0)).tolist():
            over = self.model.new_int_var(0, int(most[k]), "")
            self.model.add(over >= cp_model.LinearExpr.weighted_sum(xs, amount[:, k]) + int(base[k]))
            self.model.add_hint(over, max(0, int(base[k] + amount[there, k].sum())))
            self.bill.append((over, self._money(g.price[host, k] / self.scale.amounts[k])))

    def _touched(self) -> dict[int, list[int]]:
        """The tables that count freed servers, with these."""
        g = self.ground
        found: dict[int, list[int]] = {}
        for one in self.freed.tolist():
            for table in g.table[g.tables[one] : g.tables[one + 1]].tolist():
                found.setdefault(table, []).append(one)
        return found

    def _by_unit(self, table: int, members: list[int]) -> dict[int, list["cp_model.IntVar"]]:
        row = self.ground.unit[self.ground.by[table]]
        found: dict[int, list[cp_model.IntVar]] = {}
        for host in self.hosts.tolist():
            coming = [self.x[one, host] for one in members if (one, host) in self.x]
            found.setdefault(int(row[host]), []).extend(coming)
        return found

    def _staying(self, table: int, members: list[int]) -> Ints:
        """Members in each unit that are not freed."""
        g, s = self.ground, self.standing
        first = int(g.first[table])
        count = s.counts[first : first + int(g.units[table]) + 1].copy()
        np.subtract.at(count, g.unit[g.by[table], s.at[members]], 1)
        return count

    def _most(self, table: int, members: list[int]) -> None:
        g = self.ground
        price, first = float(g.most_price[table]), int(g.first[table])
        if price == NONE:
            return
        staying = self._staying(table, members)
        for unit, xs in self._by_unit(table, members).items():
            left = int(g.most[first + unit]) - int(staying[unit])
            if len(xs) <= left:
                continue
            if price == np.inf:
                self.model.add(sum(xs) <= left) if left != 1 else self.model.add_at_most_one(xs)
            else:
                over = self.model.new_int_var(0, max(0, len(xs) - left), "")
                self.model.add(over >= sum(xs) - left)
                self.bill.append((over, self._money(price)))

    def _least(self, table: int, members: list[int]) -> None:
        g = self.ground
        price = float(g.least_price[table])
        if price == NONE:
            return
        staying = self._staying(table, members)
        missing = int(g.least[table]) - int(np.count_nonzero(staying))
        if missing <= 0:
            return
        flags = []
        for unit, xs in self._by_unit(table, members).items():
            if not staying[unit]:
                flag = self.model.new_bool_var("")
                self.model.add_bool_or([*xs, ~flag])
                flags.append(flag)
        if price == np.inf:
            self.model.add(sum(flags) >= missing)
        else:
            short = self.model.new_int_var(0, missing, "")
            self.model.add(short >= missing - sum(flags))
            self.bill.append((short, self._money(price)))

    def _nears(self) -> None:
        """Where a member wants company, somebody who is company is there."""
        g = self.ground
        touched = self._touched()
        numbers = sorted({n for table in touched for n in g.near[g.nears[table] : g.nears[table + 1]].tolist()})
        staying: dict[int, Ints] = {}
        coming: dict[int, dict[int, list[cp_model.IntVar]]] = {}
        for table in {int(table) for n in numbers for table in g.near_to[n]}:
            members = touched.get(table, [])
            staying[table] = self._staying(table, members)
            coming[table] = self._by_unit(table, members)
        for n in numbers:
            wants, gives = (int(one) for one in g.near_to[n])
            for unit in coming[wants]:
                if staying[gives][unit] or g.excused[g.near_first[n] + unit]:
                    continue
                company = [*coming[gives][unit]]
                if g.near_price[n] != np.inf:
                    alone = self.model.new_bool_var("")
                    self.bill.append((alone, self._money(float(g.near_price[n]))))
                    company.append(alone)
                if staying[wants][unit]:
                    self.model.add_bool_or(company)
                elif coming[wants][unit]:
                    if g.near_price[n] != np.inf:
                        shown = self.model.new_bool_var("")
                        self.model.add_bool_or([*company, ~shown])
                    else:
                        shown = self._shown(gives, unit, company)
                    for x in coming[wants][unit]:
                        self.model.add_implication(x, shown)

    def _shown(self, table: int, unit: int, company: list["cp_model.IntVar"]) -> "cp_model.IntVar":
        """True only where one of them comes."""
        if (table, unit) not in self.company:
            self.company[table, unit] = self.model.new_bool_var("")
            self.model.add_bool_or([*company, ~self.company[table, unit]])
        return self.company[table, unit]

    def _moves(self) -> None:
        g, s = self.ground, self.standing
        away = [x for (one, host), x in self.x.items() if host != g.start[one]]
        others = int(s.whole[0]) - int((s.at[self.freed] != g.start[self.freed]).sum())
        self.model.add(sum(away) <= g.moves_max - others)

    def solved(self, *, work: float, cut_s: float, seed: int) -> Refilled:
        """Within so much deterministic work; `cut_s` is the clock's."""
        from ortools.sat.python import cp_model

        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_deterministic_time = work
        solver.parameters.max_time_in_seconds = max(
            LEAST_S, cut_s
        )  # not sooner on a busy machine: it is to repeat itself
        solver.parameters.max_memory_in_mb = cp_sat.MEMORY_MIB_MAX
        status = solver.solve(self.model)
        done = solver.response_proto.deterministic_time
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Refilled(None, proven=False, work=done)
        at = self.standing.at.copy()
        for (one, host), x in self.x.items():
            if solver.boolean_value(x):
                at[one] = host
        return Refilled(at, proven=status == cp_model.OPTIMAL, work=done)

"""What rules and prices say, as the plain arrays of the kernel; pure.

A rule that a cloud breaks at its start may stay as broken as it was, and no more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from restow.ids import ServerId
from restow_planner.primitives import AtMostUnits, Capacity, Cells, HostCost, Isolated, MoveCost, Near, Price, Primitive
from restow_planner.problem import Bools, Floats, Ints, Problem
from restow_planner.rules.units import unit_of
from restow_planner.solvers.descent.arrays import NONE, Best, Ground, Standing

UNKNOWN = (AtMostUnits, Isolated, Cells)
"""They would be broken unseen. What may move at once is for the ordering alone."""
MANY = np.iinfo(np.int64).max // 4
"""No limit."""


@dataclass(slots=True)
class _Table:
    """A count of some servers by unit, and what is said of it."""

    members: tuple[int, ...]
    unit: int
    units: int
    most: int | None = None
    most_price: float = NONE
    least: int = 0
    least_price: float = NONE
    apart_price: float = NONE


@dataclass(slots=True)
class _Tables:
    """Servers that are counted alike share a table, as far as one has place for what is said."""

    rows: list[Ints] = field(default_factory=list)
    row_of: dict[bytes, int] = field(default_factory=dict)
    tables: list[_Table] = field(default_factory=list)
    known: dict[tuple[int, tuple[int, ...]], list[int]] = field(default_factory=dict)

    def row(self, unit: Ints) -> int:
        key = unit.tobytes()
        if key not in self.row_of:
            self.row_of[key] = len(self.rows)
            self.rows.append(unit)
        return self.row_of[key]

    def found(self, unit: Ints, units: int, members: tuple[int, ...], slot: str | None = None) -> int:
        """The number of a table of these members in which the price named `slot` is not set yet."""
        key = (self.row(unit), members)
        for number in self.known.setdefault(key, []):
            if slot is None or getattr(self.tables[number], slot) == NONE:
                return number
        self.tables.append(_Table(members, key[0], units))
        self.known[key].append(len(self.tables) - 1)
        return len(self.tables) - 1


def _of(soft: float | None) -> float:
    return np.inf if soft is None else soft


def compile_ground(
    problem: Problem, primitives: Iterable[Primitive], prices: Iterable[Price], *, moves_max: int | None = None
) -> Ground:
    """Arrays of what the primitives, from which the problem was compiled, and the prices say.

    ValueError: there is a hard primitive that the kernel does not know. Soft ones of these kinds have no price here.
    """
    primitives = tuple(primitives)
    unknown = [one.rule for one in primitives if isinstance(one, UNKNOWN) and getattr(one, "soft", None) is None]
    if unknown:
        raise ValueError(f"the search for a cheaper placement does not know rules like {unknown[0]}")
    tables = _Tables()
    for tally in problem.at_most:
        if len(tally.members) > tally.number:
            one = tables.tables[tables.found(tally.unit, tally.units, tally.members, "most_price")]
            one.most, one.most_price = tally.number, _of(tally.soft)
    for tally in problem.spreads:
        here = problem.start[list(tally.members)]
        standing = len(set(tally.unit[here[here >= 0]].tolist()))
        least = tally.number if tally.soft is not None else min(tally.number, standing)
        if least > 1:
            one = tables.tables[tables.found(tally.unit, tally.units, tally.members, "least_price")]
            one.least, one.least_price = least, _of(tally.soft)
    for group in problem.soft_together:
        labels = int(group.label.max(initial=-1)) + 1
        unit = np.where(group.label < 0, labels, group.label)
        tables.tables.append(_Table(group.members, tables.row(unit), labels, apart_price=group.price))
    nears = _nears(problem, primitives, tables)
    return _Joined(problem, tables, nears).ground(primitives, tuple(prices), moves_max)


def _nears(problem: Problem, primitives: tuple[Primitive, ...], tables: _Tables) -> list[tuple[int, int, float]]:
    """(table that wants company, table that is it, price)."""
    index, found = problem.server_index, []
    units: dict[str, tuple[Ints, int]] = {}
    members: dict[tuple[ServerId, ...], tuple[int, ...]] = {}

    def table(servers: tuple[ServerId, ...], per: str) -> int:
        if servers not in members:
            members[servers] = tuple(dict.fromkeys(index[one] for one in servers if one in index))
        return tables.found(*units[per], members[servers])

    for near in (one for one in primitives if isinstance(one, Near)):
        if near.per not in units:
            names: dict[str, int] = {}
            of = [names.setdefault(unit_of(host, near.per), len(names)) for host in problem.cloud.hosts]
            units[near.per] = (np.array(of, dtype=np.int64), len(names))
        for servers in [near.servers] if near.soft is None else [(one,) for one in near.servers]:  # priced by server
            wants, gives = table(servers, near.per), table(near.to, near.per)
            if wants != gives:
                found.append((wants, gives, _of(near.soft)))
    return found


@dataclass(slots=True)
class _Joined:
    problem: Problem
    tables: _Tables
    nears: list[tuple[int, int, float]]

    def ground(self, primitives: tuple[Primitive, ...], prices: tuple[Price, ...], moves_max: int | None) -> Ground:
        problem, tables = self.problem, self.tables.tables
        servers = len(problem.servers)
        free = problem.start >= 0
        free[list(problem.fixed)] = False
        allowed = problem.allowed.copy()
        allowed[:, list(problem.closed)] = False
        amount, over, price = self._loads(prices)
        standing_room = problem.capacity.T.copy()
        placed = np.flatnonzero(problem.start >= 0)
        np.subtract.at(standing_room, problem.start[placed], problem.demand[placed])
        moves = _Moves.of(problem, prices)
        sizes = np.array([one.units + 1 for one in tables], dtype=np.int64)  # one more for hosts of no unit
        first = np.cumsum(sizes) - sizes
        lengths = np.array([len(one.members) for one in tables], dtype=np.int64)
        member = np.array([server for one in tables for server in one.members], dtype=np.int64)
        owner = np.repeat(np.arange(len(tables)), lengths)
        tables_of, table = _rows(member, owner, servers)
        ends = np.array([one[:2] for one in self.nears], dtype=np.int64).reshape(len(self.nears), 2)
        numbers = np.arange(len(self.nears))
        nears, near = _rows(np.concatenate((ends[:, 0], ends[:, 1])), np.tile(numbers, 2), len(tables))
        by = np.array([one.unit for one in tables], dtype=np.int64)
        unit = np.array(self.tables.rows, dtype=np.int64).reshape(-1, len(problem.hosts))
        standing = problem.start[member] >= 0
        here = (first[owner] + unit[by[owner], problem.start[member]])[standing] if len(tables) else first
        at_start = np.bincount(here, minlength=int(sizes.sum())).astype(np.int64)
        hard_most = np.repeat([one.most_price == np.inf for one in tables], sizes).astype(bool)
        most = np.repeat(np.array([MANY if one.most is None else one.most for one in tables], dtype=np.int64), sizes)
        most = np.where(hard_most, np.maximum(most, at_start), most)
        excused = [
            (at_start[first[a] : first[a] + sizes[a]] > 0) & (at_start[first[b] : first[b] + sizes[b]] == 0)
            if price == np.inf
            else np.zeros(sizes[a], dtype=bool)
            for a, b, price in self.nears
        ]
        near_sizes = np.array([len(one) for one in excused], dtype=np.int64)
        near_price = np.array([price for *_, price in self.nears], dtype=np.float64)
        soft = np.zeros(servers, dtype=bool)
        for number, one in enumerate(tables):
            said = (one.most_price, one.least_price, one.apart_price)
            priced = near_price[near[nears[number] : nears[number + 1]]]
            if any(price not in (NONE, np.inf) for price in said) or (priced != np.inf).any():
                soft[list(one.members)] = True
        return Ground(
            demand=problem.demand,
            floor=np.minimum(0, standing_room),
            held=self._held(primitives),
            capacity=np.ascontiguousarray(problem.capacity.T),
            start=problem.start,
            movable=np.flatnonzero(free).astype(np.int64),
            row=problem.class_of,
            allowed=allowed,
            amount=amount,
            over=over,
            price=price,
            stand_row=problem.price_of,
            stand=problem.prices,
            leave=moves.leave,
            between=moves.between,
            set_of=moves.set_of,
            set_price=moves.set_price,
            moves_max=MANY if moves_max is None else moves_max,
            unit=unit,
            tables=tables_of,
            table=table,
            by=by,
            first=first,
            units=sizes - 1,
            most=most,
            most_price=_floats(one.most_price for one in tables),
            least=np.array([one.least for one in tables], dtype=np.int64),
            least_price=_floats(one.least_price for one in tables),
            apart_price=_floats(one.apart_price for one in tables),
            nears=nears,
            near=near,
            members=np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths))),
            member=member,
            free=free,
            soft=soft,
            near_to=ends,
            near_price=near_price,
            near_first=np.cumsum(near_sizes) - near_sizes,
            excused=np.concatenate([np.zeros(0, dtype=bool), *excused]),
        )

    def _held(self, primitives: tuple[Primitive, ...]) -> Bools:
        names = {one.resource for one in primitives if isinstance(one, Capacity) and one.held and one.soft is None}
        return np.array([name in names for name in self.problem.resources], dtype=bool)

    def _loads(self, prices: tuple[Price, ...]) -> tuple[Floats, Floats, Floats]:
        """(S, K) amounts, (H, K) what is free of charge, (H, K) prices."""
        problem = self.problem
        amounts, over, price = [], [], []
        for one in prices:
            if isinstance(one, HostCost):
                amounts.append(_by_name(one.amount, problem.servers))
                over.append(_by_name(one.over, problem.hosts))
                price.append(_by_name(one.price, problem.hosts))
        for resource, capacity, each in problem.soft_capacity:
            amounts.append(problem.demand[:, resource].astype(np.float64))
            over.append(capacity.astype(np.float64))
            price.append(np.full(len(problem.hosts), each))
        return (
            _columns(amounts, len(problem.servers)),
            _columns(over, len(problem.hosts)),
            _columns(price, len(problem.hosts)),
        )


@dataclass(frozen=True, slots=True)
class _Moves:
    """All prices of moves, as arrays of the ground."""

    leave: Floats
    between: Floats
    set_of: Ints
    set_price: float

    @classmethod
    def of(cls, problem: Problem, prices: tuple[Price, ...]) -> "_Moves":
        leave = np.zeros(len(problem.servers))
        between = np.zeros((0, 0))
        set_of = np.full(len(problem.servers), -1, dtype=np.int64)
        set_price = 0.0
        for one in (one for one in prices if isinstance(one, MoveCost)):
            leave += _by_name(one.price, problem.servers)
            if one.between is not None:
                between = one.between if not len(between) else between + one.between
            if one.sets:
                assert set_price == 0.0, "one price for the set with the most moves"
                set_price = one.set_price
                for number, servers in enumerate(one.sets):
                    set_of[[problem.server_index[server] for server in servers]] = number
        return cls(leave, np.ascontiguousarray(between, dtype=np.float64), set_of, set_price)


def _rows(keys: Ints, values: Ints, many: int) -> tuple[Ints, Ints]:
    """Per key its values: where its part begins (many + 1,), and all values in the order of keys."""
    begins = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(np.bincount(keys, minlength=many))))
    return begins, values[np.argsort(keys, kind="stable")]


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)


def _by_name(values: Mapping[Any, float], names: Sequence[str]) -> Floats:
    return _floats(values.get(name, 0.0) for name in names)


def _columns(rows: list[Floats], many: int) -> Floats:
    return np.ascontiguousarray(np.array(rows, dtype=np.float64).reshape(len(rows), many).T)


def standing(g: Ground, at: Ints) -> Standing:
    """Everything counted anew for this placement; servers at -1 count nowhere."""
    hosts = len(g.price)
    placed = at >= 0
    where, who = at[placed], np.flatnonzero(placed)
    room, excess = g.capacity.copy(), -g.over
    np.subtract.at(room, where, g.demand[who])
    np.add.at(excess, where, g.amount[who])
    left = np.flatnonzero((g.start >= 0) & (at != g.start))
    for resource in np.flatnonzero(g.held).tolist():
        room[:, resource] -= np.bincount(g.start[left], g.demand[left, resource], hosts).astype(np.int64)
    owner = np.repeat(np.arange(len(g.by)), np.diff(g.members))
    here = at[g.member] >= 0
    count = np.zeros(len(g.most), dtype=np.int64)
    if len(owner):
        np.add.at(count, (g.first[owner] + g.unit[g.by[owner], at[g.member]])[here], 1)
    parts = [count[first : first + units + 1] for first, units in zip(g.first.tolist(), g.units.tolist(), strict=True)]
    set_moves = np.bincount(g.set_of[left][g.set_of[left] >= 0], minlength=int(g.set_of.max(initial=-1)) + 1)
    sets_with = np.bincount(set_moves, minlength=int(np.bincount(g.set_of[g.set_of >= 0]).max(initial=0)) + 2)
    found = Standing(
        at=at.copy(),
        room=room,
        excess=excess,
        counts=count,
        distinct=np.array([np.count_nonzero(one) for one in parts], dtype=np.int64),
        largest=np.where(g.apart_price == NONE, 0, [one[:-1].max(initial=0) for one in parts]).astype(np.int64),
        set_moves=set_moves.astype(np.int64),
        sets_with=sets_with.astype(np.int64),
        whole=np.array([len(left), set_moves.max(initial=0), 0], dtype=np.int64),
        over=np.maximum(g.floor - room, 0).sum(axis=0),
        cost=np.zeros(1),
    )
    broken, price = _counted(g, found)
    found.whole[2] = broken
    cost = float((g.price * np.maximum(excess, 0.0)).sum()) + price
    cost += float(g.leave[left].sum()) + g.set_price * float(found.whole[1])
    if len(g.between):
        cost += float(g.between[g.start[left], at[left]].sum())
    priced = who[g.stand_row[who] >= 0]
    found.cost[0] = cost + float(g.stand[g.stand_row[priced], at[priced]].sum())
    return found


def _counted(g: Ground, s: Standing) -> tuple[int, float]:
    """Broken hard rules and the price of soft ones, of what is counted in tables."""
    broken, price = 0, 0.0
    owner = np.repeat(np.arange(len(g.by)), g.units + 1)
    many = np.bincount(owner, np.maximum(s.counts - g.most, 0), len(g.by))
    few = np.maximum(g.least - s.distinct, 0)
    for each, amount in ((g.most_price, many), (g.least_price, few)):
        broken += int(amount[each == np.inf].sum())
        soft = (each != np.inf) & (each != NONE)
        price += float((amount[soft] * each[soft]).sum())
    for table in np.flatnonzero(g.apart_price != NONE).tolist():
        members = np.count_nonzero(s.at[g.member[g.members[table] : g.members[table + 1]]] >= 0)
        price += float(g.apart_price[table]) * (members - int(s.largest[table]))
    for number, (wants, gives) in enumerate(g.near_to.tolist()):
        size, first = int(g.units[wants]) + 1, int(g.near_first[number])
        alone = s.counts[g.first[wants] : g.first[wants] + size] > 0
        alone &= s.counts[g.first[gives] : g.first[gives] + size] == 0
        alone &= ~g.excused[first : first + size]
        if g.near_price[number] == np.inf:
            broken += int(alone.sum())
        else:
            price += float(g.near_price[number]) * int(alone.sum())
    return broken, price


def as_best(s: Standing) -> Best:
    servers = len(s.at)
    return Best(s.at.copy(), s.cost.copy(), np.zeros(servers, dtype=np.int64), np.zeros(servers, dtype=bool))

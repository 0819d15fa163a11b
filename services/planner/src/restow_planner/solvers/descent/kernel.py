"""Millions of trial moves a second, annealed: shifts, swaps, exchanges within a group; numba is known here only. Pure.

Simulated annealing as for machine reassignment by Portal, Ritt, Borba and Buriol (2016). What a trial changes is
counted from what it touches; whatever is drawn comes from `dice`, so the same dice give the same answer.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from restow_planner.problem import Floats, Ints
from restow_planner.solvers.descent.arrays import HARD, NONE, Best, Dice, Ground, Patience, Standing

Function = TypeVar("Function", bound=Callable[..., Any])
TIE = 1e-9
LEVEL_TRIALS = 1024
"""Trials at one temperature."""


def compiled(function: Function) -> Function:
    """Compiled when first called, and kept beside this file or where the user's caches are, if either can be written.

    Nothing in here makes an array: without counting of references it runs ten times as fast.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
    try:
        return cast(Function, njit(cache=True, **options)(function))
    except RuntimeError:  # no place to keep it: then every process compiles anew
        return cast(Function, njit(**options)(function))


@compiled
def _draw(dice: Dice) -> Any:
    """Marsaglia's xorshift64*: 32 good bits."""
    x = dice[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    dice[0] = x
    return (x * np.uint64(2685821657736338717)) >> np.uint64(32)


@compiled
def _below(dice: Dice, number: int) -> Any:
    return np.int64((_draw(dice) * np.uint64(number)) >> np.uint64(32))


@compiled
def _unit(dice: Dice) -> float:
    """Above 0, at most 1."""
    return (np.float64(_draw(dice)) + 1.0) / 4294967296.0


@compiled
def _any(values: Ints) -> bool:
    for value in values:  # noqa: SIM110 - compiled
        if value != 0:
            return True
    return False


@compiled
def _may(g: Ground, one: int, host: int) -> Any:
    return g.start[one] == host or g.allowed[g.row[one], host]


@compiled
def overrun_delta(  # noqa: PLR0917 - compiled code takes no keywords
    g: Ground, s: Standing, one: int, other: int, source: int, target: int, p: Patience, loose: bool
) -> float:
    """The price of what the move, or the swap with `other`, adds to all overruns; `p.over` has the units by resource.

    A server that left its first host still holds there what is `held`. HARD: it would add to one, and is not `loose`.
    """
    price = 0.0
    for r in range(g.demand.shape[1]):
        out, into = g.demand[one, r], g.demand[one, r]
        if g.held[r]:
            if g.start[one] == source:
                out = 0
            if g.start[one] == target:
                into = 0
        if other >= 0:
            need = g.demand[other, r]
            if not (g.held[r] and g.start[other] == source):
                out -= need
            if not (g.held[r] and g.start[other] == target):
                into -= need
        more = 0
        if out != 0:
            short = g.floor[source, r] - s.room[source, r]
            more = max(0, short - out) - max(0, short)
        if not loose and more > 0:
            return HARD
        price += more * p.push[r]
        if into != 0:
            short = g.floor[target, r] - s.room[target, r]
            change = max(0, short + into) - max(0, short)
            if not loose and change > 0:
                return HARD
            more += change
            price += change * p.push[r]
        p.over[r] = more
    return price


@compiled
def _load_delta(  # noqa: PLR0917 - compiled code takes no keywords
    g: Ground, s: Standing, one: int, other: int, source: int, target: int
) -> float:
    """What the move, or the swap with `other`, adds to the price of load."""
    delta = 0.0
    for k in range(g.amount.shape[1]):
        amount = g.amount[one, k]
        if other >= 0:
            amount -= g.amount[other, k]
        if amount != 0.0:
            here, there = s.excess[source, k], s.excess[target, k]
            delta += g.price[source, k] * (max(0.0, here - amount) - max(0.0, here))
            delta += g.price[target, k] * (max(0.0, there + amount) - max(0.0, there))
    return delta


@compiled
def _own_delta(g: Ground, one: int, source: int, target: int) -> float:
    """Price of where it stands, and of having moved, besides sets."""
    delta = 0.0
    home = g.start[one]
    if source == home:
        delta += g.leave[one]
    elif target == home:
        delta -= g.leave[one]
    if g.between.shape[0] > 0 and home >= 0:
        delta += g.between[home, target] - g.between[home, source]
    if g.stand_row[one] >= 0:
        delta += g.stand[g.stand_row[one], target] - g.stand[g.stand_row[one], source]
    return delta


@compiled
def _fullest(s: Standing, first: int, units: int) -> int:
    most = 0
    for u in range(first, first + units):
        most = max(most, s.counts[u])
    return most


@compiled
def _recount(g: Ground, s: Standing, one: int, source: int, target: int) -> Any:
    """Move it in the tables of counts: what that adds to the broken hard rules, and to the price of soft ones."""
    broken = 0
    price = 0.0
    for index in range(g.tables[one], g.tables[one + 1]):
        t = g.table[index]
        row = g.by[t]
        a, b = g.unit[row, source], g.unit[row, target]
        if a == b:
            continue
        first = g.first[t]
        at_a, at_b = s.counts[first + a], s.counts[first + b]
        s.counts[first + a] = at_a - 1
        s.counts[first + b] = at_b + 1
        if g.most_price[t] != NONE:
            more = 0
            if at_a > g.most[first + a]:
                more -= 1
            if at_b >= g.most[first + b]:
                more += 1
            if g.most_price[t] == HARD:
                broken += more
            else:
                price += more * g.most_price[t]
        distinct = s.distinct[t]
        after = distinct
        if at_a == 1:
            after -= 1
        if at_b == 0:
            after += 1
        s.distinct[t] = after
        if g.least_price[t] != NONE:
            more = max(0, g.least[t] - after) - max(0, g.least[t] - distinct)
            if g.least_price[t] == HARD:
                broken += more
            else:
                price += more * g.least_price[t]
        if g.apart_price[t] != NONE:
            most = s.largest[t]
            now = most
            if a < g.units[t] and at_a == most:
                now = _fullest(s, first, g.units[t])
            if b < g.units[t]:
                now = max(now, at_b + 1)
            s.largest[t] = now
            price += (most - now) * g.apart_price[t]
        for place in range(g.nears[t], g.nears[t + 1]):
            n = g.near[place]
            wants, gives = g.near_to[n, 0], g.near_to[n, 1]
            more = 0
            if t == wants:
                company = g.first[gives]
                if at_a == 1 and s.counts[company + a] == 0 and not g.excused[g.near_first[n] + a]:
                    more -= 1
                if at_b == 0 and s.counts[company + b] == 0 and not g.excused[g.near_first[n] + b]:
                    more += 1
            else:
                wanting = g.first[wants]
                if at_a == 1 and s.counts[wanting + a] > 0 and not g.excused[g.near_first[n] + a]:
                    more += 1
                if at_b == 0 and s.counts[wanting + b] > 0 and not g.excused[g.near_first[n] + b]:
                    more -= 1
            if g.near_price[n] == HARD:
                broken += more
            else:
                price += more * g.near_price[n]
    return broken, price


@compiled
def _count_move(g: Ground, s: Standing, one: int, source: int, target: int) -> Any:
    """Count the move among all moves and those of its set; the change of the price of the set with the most."""
    home = g.start[one]
    step = 0
    if source == home:
        step = 1
    elif target == home:
        step = -1
    if step == 0:
        return 0.0
    s.whole[0] += step
    group = g.set_of[one]
    if group < 0:
        return 0.0
    before = s.set_moves[group]
    s.set_moves[group] = before + step
    s.sets_with[before] -= 1
    s.sets_with[before + step] += 1
    most = s.whole[1]
    if before + step > most:
        s.whole[1] = most + 1
    elif before == most and s.sets_with[most] == 0:
        s.whole[1] = most - 1
    return (s.whole[1] - most) * g.set_price


@compiled
def _carry(g: Ground, s: Standing, one: int, source: int, target: int) -> None:
    """Move its demands and its load."""
    home = g.start[one]
    for r in range(g.demand.shape[1]):
        need = g.demand[one, r]
        if not (g.held[r] and source == home):
            s.room[source, r] += need
        if not (g.held[r] and target == home):
            s.room[target, r] -= need
    for k in range(g.amount.shape[1]):
        s.excess[source, k] -= g.amount[one, k]
        s.excess[target, k] += g.amount[one, k]
    s.at[one] = target


@compiled
def _note(b: Best, left: Any, one: int) -> None:
    if not b.known[one]:
        b.known[one] = True
        b.changed[left[0]] = one
        left[0] += 1


@compiled
def _keep(s: Standing, b: Best, left: Any) -> None:
    """Where the servers stand is the best placement."""
    for index in range(left[0]):
        one = b.changed[index]
        b.at[one] = s.at[one]
        b.known[one] = False
    left[0] = 0


@compiled
def priced(  # noqa: PLR0917 - compiled code takes no keywords
    g: Ground, s: Standing, one: int, other: int, source: int, target: int
) -> float:
    """What the move, or the swap with `other`, adds to the prices that are not counted in tables."""
    delta = _load_delta(g, s, one, other, source, target) + _own_delta(g, one, source, target)
    if other >= 0:
        delta += _own_delta(g, other, target, source)
    return delta


@compiled
def anneal(  # noqa: PLR0917 - compiled code takes no keywords
    g: Ground, s: Standing, b: Best, dice: Dice, trials: int, hot: float, cold: float, p: Patience, mix: Floats
) -> int:
    """So many trials from one temperature down to the other, geometrically; how many were taken.

    With `p.loose`, rules may be broken on the way at a price that is steered (strategic oscillation, Glover 1977): it
    rises while more is broken than is aimed at. `mix`: the part of swaps, and of exchanges within a group, the rest are
    shifts. `b` is the best placement that breaks nothing.
    """
    left, loose = p.left, p.loose[0]
    left[0] = 0
    for one in range(len(s.at)):
        if s.at[one] != b.at[one]:
            _note(b, left, one)
    taken, heat = 0, hot
    cooling = (cold / hot) ** (LEVEL_TRIALS / max(trials, LEVEL_TRIALS))
    better = False  # where the servers stand now is better than `b` knows
    for trial in range(trials):
        if trial % LEVEL_TRIALS == LEVEL_TRIALS - 1:
            heat *= cooling
            if loose:
                _steer(s, p)
        one, other, target = candidate(g, s, dice, mix)
        if one < 0:
            continue
        source = s.at[one]
        bar = -heat * np.log(_unit(dice))
        overrun = overrun_delta(g, s, one, other, source, target, p, loose)
        if overrun == HARD:
            continue
        delta = priced(g, s, one, other, source, target)
        if delta + overrun > bar and s.whole[2] == 0 and not g.soft[one] and (other < 0 or not g.soft[other]):
            continue
        broken, price = _recount(g, s, one, source, target)
        delta += price + _count_move(g, s, one, source, target)
        if other >= 0:
            more, price = _recount(g, s, other, target, source)
            broken += more
            delta += price + _count_move(g, s, other, target, source)
        weighed = delta + overrun
        if broken != 0:
            weighed += broken * p.push[-1] if loose or broken < 0 else HARD
        if weighed > bar or s.whole[0] > g.moves_max:
            if other >= 0:
                _recount(g, s, other, source, target)
                _count_move(g, s, other, source, target)
            _recount(g, s, one, target, source)
            _count_move(g, s, one, target, source)
            continue
        if better and (delta > 0.0 or broken > 0 or overrun > 0.0):
            _keep(s, b, left)
            better = False
        _carry(g, s, one, source, target)
        _note(b, left, one)
        if other >= 0:
            _carry(g, s, other, target, source)
            _note(b, left, other)
        s.cost[0] += delta
        s.whole[2] += broken
        if loose:
            for r in range(len(s.over)):
                s.over[r] += p.over[r]
        taken += 1
        if s.cost[0] < b.cost[0] - TIE and s.whole[2] == 0 and not _any(s.over):
            b.cost[0] = s.cost[0]
            better = True
    if better:
        _keep(s, b, left)
    for index in range(left[0]):
        b.known[b.changed[index]] = False
    return taken


@compiled
def _steer(s: Standing, p: Patience) -> None:
    """Raise the price of what is broken too much, lower that of the rest."""
    last = len(s.over)
    for r in range(last + 1):
        broken = s.over[r] if r < last else s.whole[2]
        p.push[r] = max(p.least[r], p.push[r] * (p.rate[0] if broken > p.aim[r] else p.rate[1]))


@compiled
def candidate(g: Ground, s: Standing, dice: Dice, mix: Floats) -> Any:
    """A server, the one to swap it with or -1, and where it would go; the first is -1 where the dice fell badly."""
    kind = _unit(dice)
    one = g.movable[_below(dice, len(g.movable))]
    other = -1
    if kind > mix[0] + mix[1]:
        target = _below(dice, s.room.shape[0])
    elif kind > mix[0]:
        other = g.movable[_below(dice, len(g.movable))]
        target = s.at[other]
    else:
        many = g.tables[one + 1] - g.tables[one]
        if many == 0:
            return -1, -1, -1
        t = g.table[g.tables[one] + _below(dice, many)]
        other = g.member[g.members[t] + _below(dice, g.members[t + 1] - g.members[t])]
        target = s.at[other]
        if not g.free[other]:
            return -1, -1, -1
    source = s.at[one]
    if target == source or not _may(g, one, target) or (other >= 0 and not _may(g, other, source)):
        return -1, -1, -1
    return one, other, target

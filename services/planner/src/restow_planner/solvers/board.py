"""The placement while it is being changed: what is free, what fits where, and the way back; pure.

All hot questions are answered for all hosts at once on plain arrays.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restow_planner.problem import Bools, Floats, Ints, Problem
from restow_planner.solvers.counts import Counts
from restow_planner.solvers.joint import MEND_PRICE, Joint
from restow_planner.solvers.leeway import Leeway

NOWHERE = -1
SOFT_WEIGHT = 1_000.0
"""A soft rule weighs more than any fit: its price decides first, how well a host fits decides then."""


@dataclass(frozen=True, slots=True)
class LoadLimit:
    """No host may be brought above `limit` (share of `room`); `share` is what each server adds."""

    part: Floats  # (S,)
    room: Floats  # (H,)
    base: Floats  # (H,) what is there besides the servers
    limit: float


@dataclass(slots=True)
class Board:
    """Mutable. `at` is the host of each server, `open` where servers may arrive, `pinned` who may not move."""

    problem: Problem
    open: Bools
    pinned: dict[int, tuple[str, str]]
    barred: dict[int, set[int]]
    leaving: set[int] = field(default_factory=set)
    """Servers whose source gives no room to anybody: they may be placed again and again at no harm."""
    limits: list[LoadLimit] = field(default_factory=list)
    at: list[int] = field(init=False)
    free: Ints = field(init=False)
    on: list[set[int]] = field(init=False)
    moved: set[int] = field(init=False)
    counts: Counts = field(init=False)
    spread: Counts = field(init=False)
    joint: Joint | None = field(init=False)
    dead: set[int] = field(init=False)
    leeway: Leeway = field(init=False)
    loads: list[Floats] = field(init=False)
    _log: list[tuple[int, int]] = field(init=False)
    _open_rows: dict[int, Bools] = field(init=False)

    def __post_init__(self) -> None:
        problem = self.problem
        self.at = problem.start.tolist()
        self.free = problem.capacity.copy()
        self.on = [set() for _ in problem.hosts]
        placed = np.flatnonzero(problem.start >= 0)
        for resource in range(problem.capacity.shape[0]):
            used = np.bincount(
                problem.start[placed], weights=problem.demand[placed, resource], minlength=len(problem.hosts)
            )
            self.free[resource] -= used.astype(np.int64)
        for server in placed.tolist():
            self.on[self.at[server]].add(server)
        self.moved = set()
        self.dead = set()
        self.counts = Counts(problem.at_most, self.at.__getitem__)
        self.spread = Counts(problem.spreads, self.company)
        named = problem.licences or problem.near or problem.isolated or problem.cells is not None
        self.leeway = Leeway(problem, self.dead)
        self.joint = Joint(problem, self.at, self.company, self.leeway) if named else None
        self.loads = []
        self._log = []
        self._open_rows = {}

    def company(self, server: int) -> int:
        """The host on which the server counts for rules about several; NOWHERE too where its host has failed."""
        return NOWHERE if self._uncounted(server, self.at[server]) else self.at[server]

    # -- what may be --------------------------------------------------------------------------------

    def close(self, hosts: Iterable[int]) -> None:
        for host in hosts:
            self.open[host] = False
        self._open_rows.clear()

    def reopen(self, hosts: Iterable[int]) -> None:
        for host in hosts:
            self.open[host] = True
        self._open_rows.clear()

    def lose(self, servers: Iterable[int]) -> None:
        """Where these stand now nothing runs any more: there they are no company to the members of a spread."""
        for server in servers:
            if server not in self.dead and self.at[server] == self.problem.start[server]:
                for index in self.problem.spreads_of.get(server, ()):
                    self.spread.shift(index, self.at[server], NOWHERE)
                if self.joint:
                    self.joint.lose(server)
                self.dead.add(server)
        self.leeway.forget()

    def _uncounted(self, server: int, host: int) -> bool:
        return server in self.dead and host == self.problem.start[server]

    def add_limit(self, limit: LoadLimit) -> None:
        load = limit.base.copy()
        for server, host in enumerate(self.at):
            if host >= 0:
                load[host] += limit.part[server]
        self.limits.append(limit)
        self.loads.append(load)

    def drop_limits(self, count: int) -> None:
        """Take back the last so many limits."""
        del self.limits[len(self.limits) - count :], self.loads[len(self.loads) - count :]

    def may_stand(self, server: int) -> Bools:
        """(H,) where the server may arrive if there were room and no other server."""
        row = int(self.problem.class_of[server])
        mask = self._open_rows.get(row)
        if mask is None:
            mask = self._open_rows[row] = self.problem.allowed[row] & self.open
        barred = self.barred.get(server)
        if barred:
            mask = mask.copy()
            mask[list(barred)] = False
        return mask

    def agrees(self, server: int) -> Bools | None:
        """(H,) where the other servers leave it a place by all rules that look at several; None: everywhere."""
        mask: Bools | None = None
        for _, found in self.judgements(server):
            mask = found if mask is None else mask & found
        return mask

    def judgements(self, server: int) -> Iterator[tuple[str, Bools]]:
        """Each hard rule that looks at several servers, and each limit of load, with the hosts (H,) where it agrees."""
        problem, here = self.problem, self.at[server]
        for index in problem.at_most_of.get(server, ()):
            tally = problem.at_most[index]
            if tally.soft is None:
                found: Bools = self.counts[index][tally.unit] < tally.number
                if here >= 0:
                    found |= tally.unit == tally.unit[here]
                yield tally.rule, found
        for index in problem.spreads_of.get(server, ()):
            if problem.spreads[index].soft is None:
                yield problem.spreads[index].rule, self._keeps_spread(index, server)
        for index in problem.homeless_of.get(server, ()):
            if (kept := self._keeps_together(index, server)) is not None:
                yield problem.homeless[index].rule, kept
        if self.joint:
            yield from self.joint.judgements(server)
        for limit, load in zip(self.limits, self.loads, strict=True):
            yield "load", load + limit.part[server] <= limit.limit * limit.room + 1e-9

    def _keeps_spread(self, index: int, server: int) -> Bools:
        """(H,) where the server's arrival leaves the spread as wide as it must be.

        Among those that run, and also with those that nobody could save, as before they died.
        """
        tally, most = self.problem.spreads[index], self.leeway.spread(index)
        keeps = self._wide_enough(index, server, self.spread[index], most)
        left = [self.at[one] for one in tally.members if one != server and self._uncounted(one, self.at[one])]
        if left or server in self.dead:
            counts = self.spread[index] + np.bincount(tally.unit[np.array(left, dtype=np.int64)], minlength=tally.units)
            keeps = keeps & self._wide_enough(index, server, counts, self.leeway.spread(index, with_the_dead=True))
        return keeps

    def _wide_enough(self, index: int, server: int, counts: Ints, most: int) -> Bools:
        """(H,) where it arrives at no more than `most` units too few, given the members per unit."""
        tally, here = self.problem.spreads[index], self.company(server)
        alone = counts == 0
        others, placed = int((counts > 0).sum()), int(counts.sum()) + 1
        if here >= 0:
            placed -= 1
            if counts[tally.unit[here]] == 1:
                others -= 1
                alone[tally.unit[here]] = True
        keeps: Bools = others + alone[tally.unit] >= min(tally.number, placed) - most
        return keeps

    def _keeps_together(self, index: int, server: int) -> Bools | None:
        """(H,) where no more members come to be apart than were, also while it holds both ends; None: everywhere."""
        group, here = self.problem.homeless[index], self.company(server)
        held, placed = self._others(index, server)
        needed = placed + 1 - self.leeway.apart(index)  # so many in one set
        if needed <= max(held.values(), default=0):
            return None
        if needed <= 1 and here < 0:
            return group.sets.inside(len(self.on))
        sets = held if here < 0 else group.sets.of.get(here, ())
        return group.sets.mask((one for one in sets if held[one] + 1 >= needed), len(self.on))

    def _others(self, index: int, server: int) -> tuple[Counter[int], int]:
        """How many of the other members are in each set, and how many they are."""
        group = self.problem.homeless[index]
        others = [host for one in group.members if one != server and (host := self.company(one)) >= 0]
        return group.sets.held(others), len(others)

    def fits(self, server: int) -> Bools:
        """(H,) where the server may go now; its present host is not among them."""
        mask = self.may_stand(server)
        for resource, amount in self.problem.wanted[server]:
            mask = mask & (self.free[resource] >= amount)
        agreed = self.agrees(server)
        mask = mask.copy() if agreed is None else mask & agreed
        if self.at[server] >= 0:
            mask[self.at[server]] = False
        return mask

    # -- what is good -------------------------------------------------------------------------------

    def price(self, server: int) -> Floats | None:
        """(H,) what soft rules charge for the server's arrival; None: nothing anywhere."""
        problem, here = self.problem, self.at[server]
        total: Floats | None = None
        if problem.price_of[server] >= 0:
            total = problem.prices[problem.price_of[server]].copy()
        for index in problem.at_most_of.get(server, ()):
            tally = problem.at_most[index]
            if tally.soft is not None:
                over = (self.counts[index][tally.unit] >= tally.number) * tally.soft
                total = _sum(total, over)
        for index in problem.spreads_of.get(server, ()):
            tally = problem.spreads[index]
            price = tally.soft if tally.soft is not None else MEND_PRICE * (self.leeway.spread(index) > 0)
            if price and (self.spread[index] > 0).sum() < tally.number:
                stale = (self.spread[index][tally.unit] > 0) * price
                total = _sum(total, stale)
        for index in problem.together_of.get(server, ()):
            group = problem.soft_together[index]
            labels = {int(group.label[self.at[one]]) for one in group.members if self.at[one] >= 0 and one != server}
            if labels:
                apart = ~np.isin(group.label, sorted(labels)) * group.price
                total = _sum(total, apart)
        for index in problem.homeless_of.get(server, ()):
            if self.leeway.apart(index):
                total = _sum(total, ~self._mended(index, server) * MEND_PRICE)
            if waiting := [one for one in problem.homeless[index].members if one != server and self.company(one) < 0]:
                total = _sum(total, ~self._room_for_all(index, [server, *waiting]) * MEND_PRICE)
        if self.joint and (asked := self.joint.price(server)) is not None:
            total = _sum(total, asked)
        for resource, capacity, price in problem.soft_capacity:
            amount = int(problem.demand[server, resource])
            if amount:
                short = amount - (self.free[resource] - problem.capacity[resource] + capacity)
                over = np.clip(short, 0, amount) * price
                if here >= 0:
                    over[here] = 0.0
                total = _sum(total, over)
        return total

    def _mended(self, index: int, server: int) -> Bools:
        """(H,) the hosts of the sets that hold most of the others."""
        held, _ = self._others(index, server)
        most = max(held.values(), default=0)
        return self.problem.homeless[index].sets.mask(
            (one for one, count in held.items() if count == most), len(self.on)
        )

    def _room_for_all(self, index: int, waiting: list[int]) -> Bools:
        """(H,) the hosts of the sets that have room for all of these in sum, and a host for each."""
        sets, demand = self.problem.homeless[index].sets, self.problem.demand[waiting].sum(axis=0)
        suits = np.ones(len(sets.hosts), dtype=bool)
        for resource in np.flatnonzero(demand).tolist():
            suits &= sets.total(np.maximum(self.free[resource], 0) * self.open) >= demand[resource]
        for one in waiting:
            suits &= sets.total(self.may_stand(one)) > 0
        return sets.mask(np.flatnonzero(suits).tolist(), len(self.on))

    def best(self, server: int, mask: Bools) -> int:
        """The tightest host of the mask; its old home where that is possible (a move less)."""
        price = self.price(server)
        home = int(self.problem.start[server])
        if home >= 0 and mask[home] and (price is None or price[home] <= price[mask].min()):
            return home
        found = np.flatnonzero(mask)
        score = self.problem.weight @ self.free[:, found]
        if price is not None:
            score = score + SOFT_WEIGHT * price[found]
        return int(found[int(np.argmin(score))])

    # -- changing it ----------------------------------------------------------------------------------

    def put(self, server: int, host: int) -> None:
        """Put the server on this host (NOWHERE: lift it off), whatever the rules say."""
        self._log.append((server, self.at[server]))
        self._put(server, host)

    def mark(self) -> int:
        return len(self._log)

    def since(self, mark: int) -> list[int]:
        """The servers that were put somewhere since the mark, in order."""
        return sorted({server for server, _ in self._log[mark:]})

    def undo(self, mark: int) -> None:
        """Back to how it was at the mark."""
        while len(self._log) > mark:
            server, host = self._log.pop()
            self._put(server, host)

    def _put(self, server: int, host: int) -> None:
        problem, old = self.problem, self.at[server]
        if old == host:
            return
        demand = problem.demand[server]
        if old >= 0:
            self.free[:, old] += demand
            self.on[old].discard(server)
        if host >= 0:
            self.free[:, host] -= demand
            self.on[host].add(server)
        for index in problem.at_most_of.get(server, ()):
            self.counts.shift(index, old, host)
        for index in problem.spreads_of.get(server, ()):
            before = NOWHERE if self._uncounted(server, old) else old
            after = NOWHERE if self._uncounted(server, host) else host
            self.spread.shift(index, before, after)
        if self.joint:
            self.joint.shift(server, old, host, gone=self._uncounted(server, old), back=self._uncounted(server, host))
        for limit, load in zip(self.limits, self.loads, strict=True):
            if old >= 0:
                load[old] -= limit.part[server]
            if host >= 0:
                load[host] += limit.part[server]
        self.at[server] = host
        if host == problem.start[server]:
            self.moved.discard(server)
        else:
            self.moved.add(server)


def _sum(total: Floats | None, more: NDArray[Any]) -> Floats:
    return more.astype(np.float64) if total is None else total + more

"""What a board keeps for rules that look at several servers: licences, nearness, isolation, NUMA cells; pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restow_planner.arrays import CellRows
from restow_planner.problem import Bools, Floats, Ints, Problem
from restow_planner.solvers.counts import Counts
from restow_planner.solvers.leeway import Leeway

NOWHERE = -1
MEND_PRICE = 1_000_000.0
"""Of a place where a server breaks a hard rule as it did before: it is better to mend."""


class Joint:
    """`company` says on which host a server counts for a rule; a server whose host has failed counts nowhere."""

    def __init__(self, problem: Problem, at: Sequence[int], company: Callable[[int], int], leeway: Leeway) -> None:
        self._problem, self._at, self._company, self._leeway = problem, at, company, leeway
        self._licences = Counts(problem.licences, company)
        self._near = Counts([one.servers for one in problem.near], company)
        self._to = Counts([one.to for one in problem.near], company)
        self._isolated = Counts(problem.isolated, at.__getitem__)
        self._standing = np.bincount([host for host in at if host >= 0], minlength=len(problem.hosts))
        self._start = problem.start
        self.cells_free = None if problem.cells is None else self._free_of(problem.cells)
        """(N, H) what is left of each NUMA cell, whichever of them is given to those that have arrived."""
        self._to_members = [frozenset(one.to.members) for one in problem.near]

    def _free_of(self, cells: CellRows) -> Ints:
        free: Ints = cells.room.copy()
        for server in cells.away:
            if (host := self._at[server]) >= 0:
                free[:, host] -= cells.taken(server, host, int(self._start[server]))
        return free

    def apart(self, index: int) -> int:
        """How many servers of this Near stand where none of the others does."""
        return int(self._near[index][self._to[index] == 0].sum())

    def units_held(self, index: int) -> int:
        return int((self._licences[index] > 0).sum())

    def mixed(self, index: int) -> bool:
        """Whether some host carries servers of this isolation together with others."""
        members = self._isolated[index]
        return bool(((members > 0) & (self._standing > members)).any())

    # -- what may be ----------------------------------------------------------------------------------

    def judgements(self, server: int) -> Iterator[tuple[str, Bools]]:
        """Each hard rule of these with the hosts (H,) where it leaves the server a place, if it does not everywhere."""
        problem = self._problem
        for index in problem.licences_of.get(server, ()):
            tally = problem.licences[index]
            if tally.soft is None and self.units_held(index) >= self._leeway.licences(index):
                yield tally.rule, (self._licences[index] > 0)[tally.unit]
        for index in problem.near_of.get(server, ()):
            kept = self._keeps_near(index, server) if problem.near[index].servers.soft is None else None
            if kept is not None:
                yield problem.near[index].rule, kept
        for index, tally in enumerate(problem.isolated):
            if tally.soft is None:
                yield tally.rule, self._strangers(index, server) == 0
        if problem.cells is not None and self.cells_free is not None and server in problem.cells.away:
            claim = problem.cells.away[server][:, None]
            yield problem.cells.rule, ((self.cells_free >= claim) | (claim == 0)).all(axis=0)

    def _keeps_near(self, index: int, server: int) -> Bools | None:
        """A server on its way holds both ends, and one of `to` is company to nobody until it has arrived."""
        unit = self._problem.near[index].servers.unit
        near, served = self._near[index], self._to[index] > 0
        host, most = self._company(server), self._leeway.near(index)
        here = int(unit[host]) if host >= 0 else NOWHERE
        apart = self.apart(index)
        if server in self._to_members[index]:
            if here < 0:  # lifted off: those whom that left alone wait for it
                joined: Bools = apart - np.where(served, 0, near)[unit] <= most
                return joined
            if self._to[index][here] > 1 or apart + int(near[here]) <= most:
                return None
            same: Bools = unit == here
            return same
        if apart - (here >= 0 and not served[here]) + 1 <= most:
            return None
        found: Bools = served[unit] | (unit == here)
        return found

    def _strangers(self, index: int, server: int) -> Ints:
        """(H,) how many servers stand on each host that may not be there together with this one."""
        members = self._isolated[index]
        strangers: Ints = self._standing - members if index in self._problem.isolated_of.get(server, ()) else members
        return strangers

    # -- what is good ---------------------------------------------------------------------------------

    def price(self, server: int) -> Floats | None:
        """(H,) what soft rules, and hard ones broken already, charge for the arrival; None: nothing anywhere."""
        problem = self._problem
        total: Floats | None = None
        for index in problem.licences_of.get(server, ()):
            tally = problem.licences[index]
            price = tally.soft if tally.soft is not None else MEND_PRICE * (self._leeway.licences(index) > tally.number)
            if price and self.units_held(index) >= tally.number:
                total = _sum(total, (self._licences[index] == 0)[tally.unit] * price)
        for index in problem.near_of.get(server, ()):
            rule = problem.near[index].servers
            if rule.soft is None and server in self._to_members[index] and self.apart(index):
                left = self.apart(index) - np.where(self._to[index] > 0, 0, self._near[index])
                total = _sum(total, left[rule.unit] * MEND_PRICE)
            if (rule.soft is not None or self._leeway.near(index)) and server not in self._to_members[index]:
                price = MEND_PRICE if rule.soft is None else rule.soft
                total = _sum(total, (self._to[index] == 0)[rule.unit] * price)
        for index, tally in enumerate(problem.isolated):
            if tally.soft is not None:
                total = _sum(total, (self._strangers(index, server) > 0) * tally.soft)
        return total

    # -- changing it ----------------------------------------------------------------------------------

    def shift(self, server: int, old: int, new: int, *, gone: bool, back: bool) -> None:
        """The server leaves `old` for `new`; `gone`, `back`: it does not count there, as that host has failed."""
        problem = self._problem
        ends = NOWHERE if gone else old, NOWHERE if back else new
        for index in problem.licences_of.get(server, ()):
            self._licences.shift(index, *ends)
        for index in problem.near_of.get(server, ()):
            (self._to if server in self._to_members[index] else self._near).shift(index, *ends)
        for index in problem.isolated_of.get(server, ()):
            self._isolated.shift(index, old, new)
        if problem.cells is not None and self.cells_free is not None and server in problem.cells.away:
            start = int(self._start[server])
            if old >= 0:
                self.cells_free[:, old] += problem.cells.taken(server, old, start)
            if new >= 0:
                self.cells_free[:, new] -= problem.cells.taken(server, new, start)
        if old >= 0:
            self._standing[old] -= 1
        if new >= 0:
            self._standing[new] += 1

    def lose(self, server: int) -> None:
        """Where it stands nothing runs any more."""
        here = self._at[server]
        for index in self._problem.licences_of.get(server, ()):
            self._licences.shift(index, here, NOWHERE)
        for index in self._problem.near_of.get(server, ()):
            (self._to if server in self._to_members[index] else self._near).shift(index, here, NOWHERE)


def _sum(total: Floats | None, more: NDArray[Any]) -> Floats:
    return more.astype(np.float64) if total is None else total + more

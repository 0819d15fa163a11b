"""Consolidate: as many whole hosts as possible are freed, by few moves; pure.

Of the hosts that cost the cloud least when they are gone, the one whose servers are the cheapest to move is tried
first; its servers go to hosts that are in use, tightly packed, never above the utilisation allowed: of what may be
claimed, and of every physical resource whose load is measured. Where best fit ends, CP-SAT repacks a few hosts at a
time into one less. A bound by counting says how far from the best the answer can be.
"""

from dataclasses import dataclass, field

import numpy as np

from restow.messages.plan import Action, Outcome
from restow.messages.request import ConsolidateRequest
from restow_planner.goals.fewest import fewest_hosts
from restow_planner.goals.loads import real_limits
from restow_planner.goals.names import Names
from restow_planner.goals.survival import Trail, keep
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Bools
from restow_planner.solvers.fit import ShapeFit
from restow_planner.solvers.repack import repack
from restow_planner.solvers.room import Room

NEIGHBOURS = 7
"""Hosts that CP-SAT repacks together with the one to be emptied."""
REPACK_S = 2.0
REPACK_SHARE = 0.5
REPACK_HOSTS_MAX = 50
"""Where more hosts are in use, one of them is a fiftieth, and not worth the time."""
REPACK_FAILURES_MAX = 3
"""Where so many hosts could not be repacked, the others are not tried."""
CP_SAT_START_S = 0.25
DEPTH = 1
"""How far a chain may go to make room when a host is emptied: more moves would not pay for themselves."""


class Consolidate:
    request = ConsolidateRequest

    def check(self, request: ConsolidateRequest, names: Names, at: str) -> None:
        pass

    def pursue(self, work: Work, request: ConsolidateRequest) -> Verdict:
        packing = _Packing(work, request.max_utilisation, power_off=request.power_off)
        verdict = packing.run()
        freed, idle = sorted(packing.freed), sorted(packing.idle)
        if freed:
            work.host_steps_first(Action.DISABLE_HOST, [*freed, *idle])
        off = [*freed, *idle] if request.power_off else []
        if off and not freed:
            work.host_steps_first(Action.DISABLE_HOST, off)
            verdict = Verdict(Outcome.PLAN, f"{len(off)} empty hosts are powered off", verdict.objective, verdict.bound)
        work.last += [(Action.POWER_OFF, work.host(host)) for host in sorted(off)]
        work.close([*freed, *idle])
        return verdict


@dataclass(slots=True)
class _Packing:
    work: Work
    max_utilisation: float
    power_off: bool
    freed: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    """Hosts that were empty before and may be taken out of use."""
    in_use: Bools = field(init=False)
    """(H,) kept true while hosts are emptied."""
    fit: ShapeFit = field(init=False)
    opened: frozenset[int] = field(init=False)
    trail: Trail = field(init=False)

    def run(self) -> Verdict:
        work, board = self.work, self.work.board
        self.in_use = np.array([bool(servers) for servers in board.on], dtype=bool)
        used_before = int(self.in_use.sum())
        self.opened = frozenset(np.flatnonzero(board.open).tolist())
        self.trail = Trail(work)
        capacity = work.problem.capacity
        held = capacity - np.floor(capacity * self.max_utilisation + 1e-9).astype(np.int64)
        limits, notes = real_limits(work.problem, self.max_utilisation)
        work.notes += notes
        board.free -= held  # only for the length of this goal: above it, hosts count as full
        for limit in limits:
            board.add_limit(limit)
        self.fit = ShapeFit(board)
        bound = fewest_hosts(work, capacity - held, limits)
        for host in self._candidates():
            if work.deadline.over() or self._used() <= bound:
                break
            self._empty(host)
        if bound < self._used() <= REPACK_HOSTS_MAX and not work.deadline.over(keep=CP_SAT_START_S):
            self._empty_by_repacking(bound)
        board.free += held
        board.drop_limits(len(limits))
        self.idle = set(np.flatnonzero(board.open & ~self.in_use).tolist())
        for host in sorted(self.idle) if self.freed or self.power_off else ():
            self.trail.note(board.mark(), frozenset({host}))
        if keep(work, self.trail):
            self._take_back()
        used = self._used()
        if used < used_before:
            words = f"{used_before - used} hosts are freed: {used} in use instead of {used_before}"
            return Verdict(Outcome.PLAN, words, float(used), float(bound))
        if used <= bound:
            words = f"{used} hosts in use is proven to be the fewest"
            return Verdict(Outcome.NOTHING_TO_DO, words, float(used), float(bound))
        return Verdict(Outcome.NOTHING_TO_DO, "no host was found that can be emptied", float(used), float(bound))

    def _used(self) -> int:
        return int(self.in_use.sum())

    def _may_be_freed(self, host: int) -> bool:
        board = self.work.board
        alive = host not in self.work.problem.down
        return bool(board.on[host]) and alive and all(self.work.movable(one) for one in board.on[host])

    def _candidates(self) -> list[int]:
        """The smallest hosts first, and among hosts about as large those whose servers are the cheapest to move."""
        problem, board = self.work.problem, self.work.board
        room = problem.weight @ problem.capacity
        room = room / max(float(room.mean()), 1e-12)
        hosts = [host for host in np.flatnonzero(self.in_use).tolist() if self._may_be_freed(host)]
        price = {host: float(problem.cost[list(board.on[host])].sum()) for host in hosts}
        return sorted(hosts, key=lambda host: (round(float(room[host]), 1), price[host], host))

    def _empty(self, host: int) -> bool:
        """Move everything off this host onto hosts in use, or change nothing."""
        work, board = self.work, self.work.board
        servers = sorted(board.on[host])
        if not servers or not self._may_be_freed(host):
            return False
        was_open = bool(board.open[host])
        mark = board.mark()
        board.close([host])
        among = self.in_use.copy()
        among[host] = False
        board.leaving.update(servers)
        room = Room(board, work.deadline.over, work.movable, self.fit.best)
        if room.place_all(servers, among=among, depth=DEPTH) and work.within_limits():
            self._note(host, servers, mark)
            return True
        board.undo(mark)
        board.leaving.difference_update(one for one in servers if one not in board.moved)
        if was_open:
            board.reopen([host])
        return False

    def _note(self, host: int, servers: list[int], mark: int) -> None:
        self.trail.note(mark, frozenset({host}))
        self.freed.add(host)
        self.in_use[host] = False
        self.work.close([host])
        name = self.work.host(host)
        for server in servers:
            self.work.why[server] = f"{name} is being freed"
        self.work.explain(self.work.board.since(mark), f"makes room so that {name} can be freed")

    def _take_back(self) -> None:
        """The hosts that could not stay empty take servers in as before."""
        board = self.work.board
        again = self.freed - self.trail.closed()
        self.idle &= self.trail.closed()
        self.freed -= again
        self.in_use[sorted(again)] = True
        self.work.closed -= again
        board.reopen(sorted(again & self.opened))
        board.leaving.difference_update(one for one in tuple(board.leaving) if one not in board.moved)

    def _empty_by_repacking(self, bound: int) -> None:
        work, board = self.work, self.work.board
        failed = 0
        for host in self._candidates():
            late = work.deadline.over(keep=CP_SAT_START_S)
            if late or self._used() <= bound or failed >= REPACK_FAILURES_MAX:
                return
            if board.open[host] and self._may_be_freed(host):
                failed += not self._repacked(host, work.deadline.budget(REPACK_SHARE, most=REPACK_S))

    def _repacked(self, host: int, work_s: float) -> bool:
        work, board = self.work, self.work.board
        near = self._neighbours(host)
        servers = sorted(board.on[host])
        free = [one for other in near for one in board.on[other] if work.movable(one)]
        board.close([host])
        answer = repack(
            board, near, servers, free,
            work_s=work_s, deadline=work.deadline, seed=work.seed, moves_max=work.moves_max,
        )  # fmt: skip
        if answer is not None and not answer.unplaced:
            mark = board.mark()
            for server in answer.at:
                board.put(server, -1)
            for server, target in sorted(answer.at.items()):
                board.put(server, target)
            if work.within_limits():
                board.leaving.update(servers)
                self._note(host, servers, mark)
                return True
            board.undo(mark)
        board.reopen([host])
        return False

    def _neighbours(self, host: int) -> list[int]:
        """The hosts in use with the most room that some server of this host may stand on."""
        board = self.work.board
        may = np.logical_or.reduce([board.may_stand(one) for one in board.on[host]]) & self.in_use
        may[host] = False
        room = self.work.problem.weight @ np.maximum(board.free, 0)
        ranked = [one for one in np.argsort(-room, kind="stable").tolist() if may[one]]
        return sorted(ranked[:NEIGHBOURS])

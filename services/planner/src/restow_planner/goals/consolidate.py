"""Consolidate: as many whole hosts as possible are freed; pure.

The cheapest host to empty is tried first; its servers go to hosts that are in use, tightly packed, never above
the utilisation allowed. Where best fit ends, CP-SAT repacks a few hosts at a time into one less. A bound by
counting says how far from the best the answer can be.
"""

from dataclasses import dataclass

import numpy as np

from restow.messages.plan import Action, Outcome
from restow.messages.request import ConsolidateRequest
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Bools, Ints
from restow_planner.solvers.repack import repack

NEIGHBOURS = 7
"""Hosts that CP-SAT repacks together with the one to be emptied."""
REPACK_S = 2.0
CP_SAT_START_S = 0.5
DEPTH = 1
"""How far a chain may go to make room when a host is emptied: more moves would not pay for themselves."""


class Consolidate:
    request = ConsolidateRequest

    def check(self, request: ConsolidateRequest, names: Names, at: str) -> None:
        pass

    def pursue(self, work: Work, request: ConsolidateRequest) -> Verdict:
        packing = _Packing(work, request.max_utilisation)
        verdict = packing.run()
        freed = sorted(packing.freed)
        empty = [host for host in np.flatnonzero(work.board.open).tolist() if not work.board.on[host]]
        if freed:
            work.host_steps_first(Action.DISABLE_HOST, [*freed, *empty])
        off = [*freed, *empty] if request.power_off else []
        if off and not freed:
            work.host_steps_first(Action.DISABLE_HOST, off)
            verdict = Verdict(Outcome.PLAN, f"{len(off)} empty hosts are powered off", verdict.objective, verdict.bound)
        work.last += [(Action.POWER_OFF, work.host(host)) for host in sorted(off)]
        work.close([*freed, *empty])
        return verdict


@dataclass(slots=True)
class _Packing:
    work: Work
    max_utilisation: float
    freed: set[int] = None  # type: ignore[assignment]

    def run(self) -> Verdict:
        work, board = self.work, self.work.board
        self.freed = set()
        capacity = work.problem.capacity
        held = capacity - np.floor(capacity * self.max_utilisation + 1e-9).astype(np.int64)
        board.free -= held  # only for the length of this goal: above it, hosts count as full
        used_before = self._used()
        bound = self._bound(capacity - held)
        for host in self._candidates():
            if work.deadline.over() or self._used() <= bound:
                break
            self._empty(host)
        if self._used() > bound and not work.deadline.over(keep=CP_SAT_START_S):
            self._empty_by_repacking(bound)
        board.free += held
        used = self._used()
        if used < used_before:
            words = f"{used_before - used} hosts are freed: {used} in use instead of {used_before}"
            return Verdict(Outcome.PLAN, words, float(used), float(bound))
        if used <= bound:
            words = f"{used} hosts in use is proven to be the fewest"
            return Verdict(Outcome.NOTHING_TO_DO, words, float(used), float(bound))
        return Verdict(Outcome.NOTHING_TO_DO, "no host was found that can be emptied", float(used), float(bound))

    def _used(self) -> int:
        return sum(bool(servers) for servers in self.work.board.on)

    def _in_use(self) -> Bools:
        return np.array([bool(servers) for servers in self.work.board.on], dtype=bool)

    def _may_be_freed(self, host: int) -> bool:
        board = self.work.board
        alive = host not in self.work.problem.down
        return bool(board.on[host]) and alive and all(self.work.movable(one) for one in board.on[host])

    def _candidates(self) -> list[int]:
        problem, board = self.work.problem, self.work.board
        hosts = [host for host in range(len(problem.hosts)) if self._may_be_freed(host)]
        keys = {
            host: (float(problem.size[list(board.on[host])].sum()), float(problem.cost[list(board.on[host])].sum()))
            for host in hosts
        }
        return sorted(hosts, key=lambda host: (*keys[host], host))

    def _empty(self, host: int) -> bool:
        """Move everything off this host onto hosts in use, or change nothing."""
        work, board = self.work, self.work.board
        servers = sorted(board.on[host])
        if not servers or not self._may_be_freed(host):
            return False
        was_open = bool(board.open[host])
        mark = board.mark()
        board.close([host])
        among = self._in_use()
        among[host] = False
        board.leaving.update(servers)
        if work.room().place_all(servers, among=among, depth=DEPTH) and work.within_limits():
            self._note(host, servers)
            return True
        board.undo(mark)
        board.leaving.difference_update(one for one in servers if one not in board.moved)
        if was_open:
            board.reopen([host])
        return False

    def _note(self, host: int, servers: list[int]) -> None:
        self.freed.add(host)
        self.work.close([host])
        name = self.work.host(host)
        for server in servers:
            self.work.why[server] = f"{name} is being freed"
        self.work.explain(sorted(self.work.board.moved), f"makes room so that {name} can be freed")

    def _empty_by_repacking(self, bound: int) -> None:
        work, board = self.work, self.work.board
        for host in self._candidates():
            if work.deadline.over(keep=CP_SAT_START_S) or self._used() <= bound:
                return
            if not board.open[host] or not self._may_be_freed(host):
                continue
            near = self._neighbours(host)
            servers = sorted(board.on[host])
            free = [one for other in near for one in board.on[other] if work.movable(one)]
            board.close([host])
            seconds = work.deadline.budget(0.5, most=REPACK_S)
            answer = repack(
                board, near, servers, free,
                work_s=seconds, deadline=work.deadline, seed=work.seed, moves_max=work.moves_max,
            )  # fmt: skip
            if answer is not None and not answer.unplaced:
                mark = board.mark()
                for server in answer.at:
                    board.put(server, -1)
                for server, target in sorted(answer.at.items()):
                    board.put(server, target)
                if work.within_limits():
                    board.leaving.update(servers)
                    self._note(host, servers)
                    continue
                board.undo(mark)
            board.reopen([host])

    def _neighbours(self, host: int) -> list[int]:
        """The hosts in use with the most room that some server of this host may stand on."""
        board = self.work.board
        may = np.logical_or.reduce([board.may_stand(one) for one in board.on[host]]) & self._in_use()
        may[host] = False
        room = self.work.problem.weight @ np.maximum(board.free, 0)
        ranked = [one for one in np.argsort(-room, kind="stable").tolist() if may[one]]
        return sorted(ranked[:NEIGHBOURS])

    def _bound(self, capacity: Ints) -> int:
        """No fewer hosts can be in use: what cannot be emptied, and as many of the largest as the claims need."""
        problem, board = self.work.problem, self.work.board
        keep = {host for host, servers in enumerate(board.on) if servers and not self._could_ever_be_freed(host)}
        use = np.array([problem.demand[list(servers)].sum(axis=0) for servers in board.on]).T
        room = np.where(board.open, np.maximum(capacity, use), use)
        kept = sorted(keep)
        usable = [host for host, servers in enumerate(board.on) if host not in keep and (servers or board.open[host])]
        best = len(keep)
        for resource in range(problem.demand.shape[1]):
            need = int(use[resource].sum()) - int(room[resource, kept].sum())
            count = len(keep)
            for amount in np.sort(room[resource, usable])[::-1].tolist():
                if need <= 0:
                    break
                need -= amount
                count += 1
            best = max(best, count)
        return best

    def _could_ever_be_freed(self, host: int) -> bool:
        return host not in self.work.problem.down and not any(
            one in self.work.board.pinned for one in self.work.board.on[host]
        )

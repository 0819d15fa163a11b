"""Mend: hosts that carry more than they have give away as few servers as it takes; pure.

The fewest that must leave each host is a knapsack; their sum is the bound. Those servers are placed by best fit, the
host with the largest first; where nothing fits, other sets of the host are tried, then others make room. Where that
takes more moves than the bound, CP-SAT looks at the whole of a small cloud, which is then a proof, or at the hosts
that are left over and those with the most room.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow_planner.goals.leave import CP_SAT_START_S, EXACT_CELLS_MAX, REPACK_HOSTS
from restow_planner.goals.obstacles import limit_blocker, obstacle
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Ints
from restow_planner.solvers.eviction import Eviction, evictions
from restow_planner.solvers.repack import repack

CHAINS_TRIED = 4
"""Sets of one host for which others make room."""
SHARE_OF_TIME = 0.6
REPACK_S_MAX = 20.0
BLOCKERS_MAX = 20


def mend(work: Work, resources: Sequence[int], first: Sequence[int] = ()) -> Verdict | None:
    """Bring every host that runs within its capacity of these resources, the hosts of `first` before the others.

    None: no host carries more than it may.
    """
    over = [one for one in overfull(work, resources) if one not in work.problem.down]
    return _Mending(work, tuple(resources), over, frozenset(first)).run() if over else None


def overfull(work: Work, resources: Sequence[int]) -> list[int]:
    """The hosts on which more of one of these is claimed than capacity and reserves allow."""
    if not resources:
        return []
    found: list[int] = np.flatnonzero((work.board.free[list(resources)] < 0).any(axis=0)).tolist()
    return found


@dataclass(slots=True)
class _Mending:
    work: Work
    resources: tuple[int, ...]
    over: list[int]
    first: frozenset[int]
    ways: dict[int, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    """Per host that can be mended at all: sets of servers whose leaving mends it."""
    bound: int = 0
    proven: bool = False
    limit: str | None = None

    def run(self) -> Verdict:
        board = self.work.board
        for host in self.over:
            found = self._ways_for(host)
            if found is not None:
                movable = self._movable(host)
                self.bound += found.fewest
                self.ways[host] = tuple(tuple(movable[place] for place in one) for one in found.sets)
        start, earlier = board.mark(), set(board.moved)
        for host in self._in_order(self.ways):
            self._mend(host, chains=False)
        for host in self._in_order(self._left()):
            self._mend(host, chains=True)
        moves = len(board.moved - earlier)
        if self._left() or moves > self.bound:
            self._together(start, earlier)
        for host in self._left(named=False):
            self._relieve(host)
        return self._verdict(earlier)

    def _movable(self, host: int) -> list[int]:
        return [one for one in sorted(self.work.board.on[host]) if self.work.movable(one)]

    def _need(self, host: int) -> Ints:
        need: Ints = np.maximum(-self.work.board.free[list(self.resources), host], 0)
        return need

    def _ways_for(self, host: int) -> Eviction | None:
        problem, movable = self.work.problem, self._movable(host)
        demand = problem.demand[movable][:, list(self.resources)]
        return evictions(demand, self._need(host), problem.cost[movable], problem.size[movable])

    def _in_order(self, hosts: Iterable[int]) -> list[int]:
        """Those asked for first, then those whose servers are hardest to place."""
        size = self.work.problem.size
        hardest = {host: max((float(size[one]) for one in self.ways[host][0]), default=0.0) for host in hosts}
        return sorted(hardest, key=lambda host: (host not in self.first, -hardest[host], host))

    def _left(self, *, named: bool = True) -> list[int]:
        """Hosts that still carry too much: those that could be mended, or all."""
        free = self.work.board.free[list(self.resources)]
        return [host for host in self.over if (free[:, host] < 0).any() and (host in self.ways or not named)]

    # -- host by host ---------------------------------------------------------------------------------

    def _mend(self, host: int, *, chains: bool) -> bool:
        """Mend the host by one of its sets, or leave everything as it was. A chain may take more moves than the set."""
        work, board = self.work, self.work.board
        best: tuple[int, float, list[tuple[int, int]]] | None = None
        for chosen in self.ways[host][: CHAINS_TRIED if chains else None]:
            if work.deadline.over():
                break
            mark = board.mark()
            if self._place(host, chosen, chains=chains) and self._within_limits():
                touched = board.since(mark)
                ways = [(one, board.at[one]) for one in touched]
                found = (len(touched), float(work.problem.cost[touched].sum()), ways)
                best = found if best is None else min(best, found)
            board.undo(mark)
            if best is not None and best[0] == len(chosen):
                break
        if best is None:
            return False
        for one, _ in best[2]:
            board.put(one, -1)
        for one, target in best[2]:
            board.put(one, target)
        self._explain(host, (one for one, _ in best[2]))
        return True

    def _place(self, host: int, servers: Sequence[int], *, chains: bool) -> bool:
        """Nothing comes onto the host itself, so that carrying a chain out backwards is a safe order."""
        board, size = self.work.board, self.work.problem.size
        elsewhere = np.ones(len(board.open), dtype=bool)
        elsewhere[host] = False
        for server in sorted(servers, key=lambda one: (-size[one], one)):
            mask = board.fits(server)
            if mask.any():
                board.put(server, board.best(server, mask))
            elif not (chains and self.work.room().place(server, among=elsewhere)):
                return False
        return True

    def _within_limits(self) -> bool:
        broken = self.work.limit_broken()
        self.limit = broken or self.limit
        return broken is None

    def _explain(self, host: int, servers: Iterable[int]) -> None:
        work = self.work
        for server in servers:
            here = work.problem.start[server] == host
            work.why[server] = self._why(host) if here else f"makes room for servers that leave {work.host(host)}"

    def _why(self, host: int) -> str:
        return f"{self.work.host(host)} carries more than it may"

    def _relieve(self, host: int) -> None:
        """What cannot be mended is at least made less bad, by servers that fit elsewhere as they are."""
        work, board, columns = self.work, self.work.board, list(self.resources)
        for _ in range(len(board.on[host])):
            need = self._need(host)
            gain = {
                one: float(np.minimum(work.problem.demand[one, columns], need).sum()) for one in self._movable(host)
            }
            for server in sorted((one for one in gain if gain[one] > 0), key=lambda one: (-gain[one], one)):
                mark, mask = board.mark(), board.fits(server)
                if mask.any():
                    board.put(server, board.best(server, mask))
                    if self._within_limits():
                        self._explain(host, [server])
                        break
                    board.undo(mark)
            else:
                return

    # -- all at once ----------------------------------------------------------------------------------

    def _together(self, start: int, earlier: set[int]) -> None:
        """CP-SAT on the whole of a small cloud, from the start; else on what is left over and where there is room."""
        board = self.work.board
        taking = sorted({*np.flatnonzero(board.open).tolist(), *self.over})
        if sum(len(board.on[host]) for host in taking) * len(taking) <= EXACT_CELLS_MAX:
            kept = [(one, board.at[one]) for one in board.since(start)]
            before = len(self._left()), len(board.moved - earlier)
            board.undo(start)
            self.proven = self._repack(taking, earlier)
            after = len(self._left()), len(board.moved - earlier)
            if after >= before:
                board.undo(start)
                self._put_all(kept)
            if self.proven:
                self.bound = after[1]
            return
        for size in REPACK_HOSTS:
            left = self._left()
            if left:
                self._repack(sorted({*left, *self._roomiest(size)}), earlier)

    def _repack(self, hosts: Sequence[int], earlier: set[int]) -> bool:
        """Mend what can be mended among these hosts by the fewest moves; whether nothing better exists there."""
        work, board = self.work, self.work.board
        seconds = work.deadline.budget(SHARE_OF_TIME, most=REPACK_S_MAX)
        if seconds < CP_SAT_START_S:
            return False
        mine = board.moved - earlier - set(board.pinned)
        free = [one for host in hosts for one in board.on[host] if work.movable(one) or one in mine]
        answer = repack(
            board, hosts, (), free, work_s=seconds, deadline=work.deadline, seed=work.seed,
            moves_max=work.moves_max, mend=dict.fromkeys(self._left(), self.resources),
        )  # fmt: skip
        if answer is None:
            return False
        mark, left = board.mark(), len(self._left())
        self._put_all(list(answer.at.items()))
        if not self._within_limits() or len(self._left()) > left:
            board.undo(mark)
            return False
        for server in sorted(board.moved - earlier):
            home = int(work.problem.start[server])
            self._explain(home if home in self.ways else self.over[0], [server])
        return answer.proven

    def _put_all(self, places: Sequence[tuple[int, int]]) -> None:
        for server, _ in places:
            self.work.board.put(server, -1)
        for server, host in sorted(places):
            self.work.board.put(server, host)

    def _roomiest(self, size: int) -> list[int]:
        """Open hosts with the most room, weighed."""
        board = self.work.board
        room = self.work.problem.weight @ np.maximum(board.free, 0)
        return [host for host in np.argsort(-room, kind="stable").tolist() if board.open[host]][:size]

    # -- words ----------------------------------------------------------------------------------------

    def _verdict(self, earlier: set[int]) -> Verdict:
        work = self.work
        moves, left = len(work.board.moved - earlier), self._left(named=False)
        words = f"{_hosts(len(self.over))} more than allowed"
        if not left:
            fewest = ", the fewest there can be" if moves <= self.bound else ""
            return Verdict(Outcome.PLAN, f"{words}; {moves} moves mend that{fewest}", float(moves), float(self.bound))
        told = [(host, self._blocker(host)) for host in left[:BLOCKERS_MAX]]
        work.blockers += [blocker for _, blocker in told]
        if moves:
            return Verdict(Outcome.PLAN, f"{words}; {moves} moves mend all but {len(left)}, which get no worse")
        if self.limit is None and (self.proven or all(self._hopeless(host) for host in left)):
            return Verdict(Outcome.IMPOSSIBLE, f"proven: {words}, and no move mends that")
        return Verdict(Outcome.UNDECIDED, f"{words}, and no move was found that mends that")

    def _hopeless(self, host: int) -> bool:
        """Whether those of its servers that could stand elsewhere at all are too few."""
        problem = self.work.problem
        able = [one for one in self._movable(host) if not obstacle(self.work, one)[1]]
        freed = problem.demand[able][:, list(self.resources)].sum(axis=0)
        return bool((freed < self._need(host)).any())

    def _blocker(self, host: int) -> Blocker:
        work, name = self.work, self.work.host(host)
        need = self._need(host)
        amounts = ", ".join(
            f"{amount} {work.problem.cloud.resources[one]}"
            for one, amount in zip(self.resources, need.tolist(), strict=True)
            if amount > 0
        )
        lead = f"{name} carries {amounts} more than it may"
        rule = f"capacity {work.problem.cloud.resources[self.resources[int(np.argmax(need > 0))]]}"
        give = f"give {name} {amounts} more"
        found = self._ways_for(host)
        if found is None:
            staying = [one for one in sorted(work.board.on[host]) if not work.movable(one)]
            reasons = ", ".join(f"{work.label(one)}: {self._stays(one)}" for one in staying[:3])
            why = f"{lead}, and all that may move off it is too little" + (f" ({reasons})" if reasons else "")
            return Blocker(server=None, rule=rule, why=why, relaxation=f"let one of these move, or {give}")
        if self.limit is not None:
            blocker = limit_blocker(work, self._movable(host)[0], self.limit)
            return blocker.model_copy(update={"server": None, "why": f"{lead}; mending it would exceed {self.limit}"})
        movable = self._movable(host)
        stuck = [one for place in found.sets[0] if not work.board.fits(one := movable[place]).any()]
        if not stuck:
            why = f"{lead}, and those who would have to leave find no place together"
            return Blocker(server=None, rule=rule, why=why, relaxation=f"add room elsewhere, or {give}")
        blocker, _ = obstacle(work, stuck[0])
        relaxation = f"{blocker.relaxation}, or {give}"
        return blocker.model_copy(update={"why": f"{lead}: {blocker.why}", "relaxation": relaxation})

    def _stays(self, server: int) -> str:
        work = self.work
        if server in work.board.pinned:
            return work.board.pinned[server][1]
        return "would have to be stopped for it" if work.problem.cold[server] else "was moved already by this plan"


def _hosts(count: int) -> str:
    return "1 host carries" if count == 1 else f"{count} hosts carry"

"""Rebalance: no host is much fuller than the mean, by as few moves as it takes; pure.

Hosts that carry more of the claims in question than they have come first, whatever the threshold: see `mend`.
Hosts above the mean by more than the threshold are relieved, the fullest first, until they are well below it again
(so that noise does not bring them back at once). Each move or swap must lower the fuller host by enough to pay
for itself and must not make another one the new peak.
"""

from dataclasses import dataclass

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow.messages.request import RebalanceRequest
from restow_planner.goals.loads import Measure, measure
from restow_planner.goals.mend import mend
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Bools, Floats
from restow_planner.solvers.board import LoadLimit

RELIEF = 0.8
"""A host above the threshold is relieved to this part of it."""
GAIN_MIN = 0.005
"""A move that lowers the share of its host by less does not pay for itself."""
SWAP_HOSTS = 16
CHAINS_TRIED = 5
ROUNDS_MAX = 10_000


class Rebalance:
    request = RebalanceRequest

    def check(self, request: RebalanceRequest, names: Names, at: str) -> None:
        names.hosts(request.hosts, f"{at}hosts")
        names.resources_or_loads(request.resources, f"{at}resources")

    def pursue(self, work: Work, request: RebalanceRequest) -> Verdict:
        first = [work.problem.host_index[name] for name in dict.fromkeys(request.hosts)]  # type: ignore[index]
        measures = [measure(work.problem, name) for name in dict.fromkeys(request.resources)]
        work.notes += [one.note for one in measures if one.note]
        claims = [one.claim for one in measures if one.claim is not None]
        mended = mend(work, claims, first)
        verdicts = [_Evening(work, one, request.threshold, first).run() for one in measures]
        for one in measures:  # what comes later in the same plan keeps what was reached
            here = work.board.open
            reached = float(one.share(work.board)[here].max()) if here.any() else 1.0
            ceiling = max(reached, _mean(one, work) + request.threshold)
            work.board.add_limit(LoadLimit(one.part, one.room, one.base, ceiling))
        worst = _worst(verdicts)
        if mended is None or worst.outcome is Outcome.NOTHING_TO_DO:
            return mended or worst
        both = _worst([mended, worst])
        return Verdict(both.outcome, f"{mended.why}; {worst.why}", worst.objective, worst.bound)


def _worst(verdicts: list[Verdict]) -> Verdict:
    order = (Outcome.PLAN, Outcome.UNDECIDED, Outcome.IMPOSSIBLE, Outcome.NOTHING_TO_DO)
    return min(verdicts, key=lambda one: order.index(one.outcome))


def _mean(one: Measure, work: Work) -> float:
    """The mean share of the hosts that take part: those with servers, and those that may take some."""
    part = _taking_part(work)
    return float(one.load(work.board)[part].sum() / one.room[part].sum()) if part.any() else 0.0


def _taking_part(work: Work) -> Bools:
    return work.board.open.copy()


@dataclass(slots=True)
class _Evening:
    work: Work
    by: Measure
    threshold: float
    first: list[int]

    def run(self) -> Verdict:
        work, board = self.work, self.work.board
        part = _taking_part(work)
        part[self.first] = True
        if not part.any():
            return Verdict(Outcome.NOTHING_TO_DO, "no host takes servers")
        load = self.by.load(board)
        mean = float(load[part].sum() / self.by.room[part].sum())
        ceiling = mean + self.threshold
        before = float((load / self.by.room)[part].max())
        limit = mean + RELIEF * self.threshold
        hot = [host for host in np.flatnonzero(part).tolist() if load[host] / self.by.room[host] > ceiling + 1e-9]
        if not hot:
            words = f"no host is more than {self.threshold:.0%} above the mean {self.by.name} share of {mean:.0%}"
            return Verdict(Outcome.NOTHING_TO_DO, words, before, mean)
        hot.sort(key=lambda host: (host not in self.first, -load[host] / self.by.room[host], host))
        moves_before = len(board.moved)
        for host in hot:
            self._relieve(host, limit, load)
            if work.deadline.over():
                break
        share = load / self.by.room
        still = [host for host in hot if share[host] > ceiling + 1e-9]
        after = float(share[part].max())
        for host in still[:20]:
            why = f"{work.host(host)} stays at {share[host]:.0%} {self.by.name}: no further move pays for itself"
            work.blockers.append(Blocker(server=None, rule="rebalance", why=why, relaxation="allow more moves"))
        if len(board.moved) > moves_before:
            words = (
                f"{len(still)} hosts instead of {len(hot)} are too far above the mean {self.by.name} share of "
                f"{mean:.0%}; the peak goes from {before:.0%} to {after:.0%}"
            )
            return Verdict(Outcome.PLAN, words, after, mean)
        if all(self._stuck(host) for host in still):
            return Verdict(
                Outcome.IMPOSSIBLE, "proven: no server of the hot hosts may stand anywhere else", after, mean
            )
        return Verdict(Outcome.UNDECIDED, "no move or swap was found that pays for itself", after, mean)

    def _stuck(self, host: int) -> bool:
        board = self.work.board
        return all(
            one in board.pinned or not np.delete(board.may_stand(one), host).any() for one in board.on[host]
        ) and not (self.work.problem.ambiguous)

    def _relieve(self, host: int, limit: float, load: Floats) -> None:
        for _ in range(ROUNDS_MAX):
            if load[host] / self.by.room[host] <= limit + 1e-9 or self.work.deadline.over():
                return
            if not (self._move(host, limit, load) or self._swap(host, limit, load) or self._chain(host, limit, load)):
                return

    def _move(self, host: int, limit: float, load: Floats) -> bool:
        """The one move that relieves most for its price."""
        board, by = self.work.board, self.by
        excess = load[host] - limit * by.room[host]
        best: tuple[float, int, int] | None = None
        for server in sorted(board.on[host]):
            gain = min(float(by.part[server]), excess) / by.room[host]
            if gain < GAIN_MIN or not self.work.movable(server):
                continue
            value = gain / float(self.work.problem.cost[server])
            if best is not None and value <= best[0]:
                continue
            mask = board.fits(server)
            later = (load + by.part[server]) / by.room
            mask &= later <= max(limit, 0.0) + 1e-9
            if not mask.any():
                later = np.where(board.fits(server), later, np.inf)
                target = int(np.argmin(later))
                if later[target] >= load[host] / by.room[host] - GAIN_MIN:
                    continue
                value /= 10.0  # it becomes hot itself, though less: only where nothing better is
            else:
                target = self._coolest(server, mask, load)
            if best is None or value > best[0]:
                best = (value, server, target)
        if best is None:
            return False
        return self._do([(best[1], best[2])], load)

    def _coolest(self, server: int, mask: Bools, load: Floats) -> int:
        price = self.work.board.price(server)
        score = np.where(mask, load / self.by.room + (0.0 if price is None else price), np.inf)
        return int(np.argmin(score))

    def _swap(self, host: int, limit: float, load: Floats) -> bool:
        """The best exchange with one of the coolest hosts, where no single move helps."""
        board, by, work = self.work.board, self.by, self.work
        share = load / by.room
        cool = [int(one) for one in np.argsort(share, kind="stable") if board.open[one] and one != host]
        if not board.open[host]:
            return False
        best: tuple[float, int, int, int] | None = None
        for other in cool[:SWAP_HOSTS]:
            for mine in sorted(board.on[host]):
                for theirs in sorted(board.on[other]):
                    given = float(by.part[mine] - by.part[theirs])
                    gain = min(given, load[host] - limit * by.room[host]) / by.room[host]
                    if gain < GAIN_MIN or (load[other] + given) / by.room[other] > max(limit, share[other]) + 1e-9:
                        continue
                    price = float(work.problem.cost[mine] + work.problem.cost[theirs])
                    if best is not None and gain / price <= best[0]:
                        continue
                    if work.movable(mine) and work.movable(theirs) and self._exchangeable(mine, theirs):
                        best = (gain / price, mine, theirs, other)
        if best is None:
            return False
        return self._do([(best[1], best[3]), (best[2], host)], load)

    def _chain(self, host: int, limit: float, load: Floats) -> bool:
        """A move for which another server makes room first, where neither a move nor a swap helps."""
        board, by, work = self.work.board, self.by, self.work
        going = [one for one in board.on[host] if by.part[one] / by.room[host] >= GAIN_MIN and work.movable(one)]
        going.sort(key=lambda one: (-float(by.part[one]), one))
        before = load / by.room
        for server in going[:CHAINS_TRIED]:
            mark, earlier = board.mark(), set(board.moved)
            if not work.room().place(server, depth=1):
                continue
            after = by.share(board)
            higher = after > np.maximum(before, limit) + 1e-9
            if not higher.any() and work.within_limits():
                load[:] = by.load(board)
                work.explain(sorted(board.moved - earlier), f"evens out {by.name}, relieving {work.host(host)}")
                return True
            board.undo(mark)
        return False

    def _exchangeable(self, mine: int, theirs: int) -> bool:
        board = self.work.board
        here, there = board.at[mine], board.at[theirs]
        mark = board.mark()
        board.put(mine, -1)
        board.put(theirs, -1)
        fine = bool(board.fits(mine)[there])
        if fine:
            board.put(mine, there)
            fine = bool(board.fits(theirs)[here])
        board.undo(mark)
        return fine

    def _do(self, moves: list[tuple[int, int]], load: Floats) -> bool:
        board, work = self.work.board, self.work
        mark = board.mark()
        froms = [(server, board.at[server]) for server, _ in moves]
        for server, _ in moves:
            board.put(server, -1)
        for server, target in moves:
            board.put(server, target)
        if not work.within_limits():
            board.undo(mark)
            return False
        for (server, source), (_, target) in zip(froms, moves, strict=True):
            load[source] -= self.by.part[server]
            load[target] += self.by.part[server]
            work.explain([server], f"evens out {self.by.name} between {work.host(source)} and {work.host(target)}")
        return True

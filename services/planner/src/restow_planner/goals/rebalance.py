"""Rebalance: no host is much fuller than the mean, and all are about alike, by few moves; pure.

Hosts that carry more of the claims in question than they have come first, whatever the threshold: see `mend`.
Where a host is above the mean by more than the threshold, the moves that even out most for their price are made, one
by one, until none pays for itself (so that noise does not bring anybody back at once, and a second plan finds nothing
to do). Those that stay too full are relieved by swaps, and by moves for which others make room. Where that is not
enough, the whole placement is searched: see `levelling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow.messages.request import RebalanceRequest
from restow_planner.goals.levelling import Level, packed, searched
from restow_planner.goals.loads import Measure, measure
from restow_planner.goals.mend import mend
from restow_planner.goals.names import Names
from restow_planner.goals.survival import Trail, keep
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import MOVE_MIB, Bools, Floats
from restow_planner.solvers.board import NOWHERE, LoadLimit
from restow_planner.solvers.evening import Evening, Way
from restow_planner.solvers.repack import EXCESS_STEPS, STEPS_A_HOST, STEPS_A_MOVE

RELIEF = 0.8
"""A host above the threshold is relieved to this part of it."""
GAIN_MIN = STEPS_A_MOVE / EXCESS_STEPS
"""A move that lowers the share of its host by less does not pay for itself."""
WORTH = 0.25
"""A move pays if it takes off the squares as much as a host has that is off the mean by this part of the threshold."""
WORTH_LEAST = 0.005
"""Nobody moves for less than a host that is off the mean by this much."""
SLACK = 1e-9
SWAP_HOSTS = 16
CHAINS_TRIED = 5
ROUNDS_MAX = 1_000


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
        verdicts = [_Evening(work, one, request.threshold, first, Trail(work)).run() for one in measures]
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
    trail: Trail
    least: int = 0
    """It is proven that no placement has less above the ceiling, together with what is paid for moves, in steps."""

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
        hot = self._above(ceiling, part, load)
        if not hot:
            words = f"no host is more than {self.threshold:.0%} above the mean {self.by.name} share of {mean:.0%}"
            return Verdict(Outcome.NOTHING_TO_DO, words, before, mean)
        moves_before, start = len(board.moved), board.mark()
        self._even_out(part, load, mean, limit)
        for host in self._above(ceiling, part, load):
            self._relieve(host, limit, load)
        if self._above(ceiling, part, load):
            load = self._all_at_once(start, part, Level(ceiling, mean))
        cut = keep(work, self.trail)
        if cut:
            load = self.by.load(board)
        share = load / self.by.room
        still = self._above(ceiling, part, load)
        after = float(share[part].max())
        proven = self._excess(part, Level(ceiling, mean), start) <= self.least
        for host in still[:20]:
            work.blockers.append(self._blocker(host, float(share[host]), proven=proven))
        if len(board.moved) > moves_before:
            words = (
                f"{len(still)} hosts instead of {len(hot)} are too far above the mean {self.by.name} share of "
                f"{mean:.0%}; the peak goes from {before:.0%} to {after:.0%}"
            )
            return Verdict(Outcome.PLAN, words, after, mean)
        if cut:
            return Verdict(Outcome.UNDECIDED, "no move was found after which a failure would cost no more", after, mean)
        if proven:
            words = f"proven: no moves that pay for themselves leave less above {ceiling:.0%}"
            return Verdict(Outcome.IMPOSSIBLE, words, after, mean)
        if all(self._stuck(host) for host in still):
            return Verdict(
                Outcome.IMPOSSIBLE, "proven: no server of the hot hosts may stand anywhere else", after, mean
            )
        return Verdict(Outcome.UNDECIDED, "no move or swap was found that pays for itself", after, mean)

    def _blocker(self, host: int, share: float, *, proven: bool) -> Blocker:
        why = "it is proven that no move pays for itself" if proven else "no further move pays for itself"
        limited = self.work.moves_max is not None or not proven
        return Blocker(
            server=None, rule="rebalance", why=f"{self.work.host(host)} stays at {share:.0%} {self.by.name}: {why}",
            relaxation="allow more moves" if limited else "add a host, or raise the threshold",
        )  # fmt: skip

    def _above(self, ceiling: float, part: Bools, load: Floats) -> list[int]:
        """The hosts asked for first, then the fullest."""
        share = load / self.by.room
        found = np.flatnonzero(part & (share > ceiling + SLACK)).tolist()
        return sorted(found, key=lambda host: (host not in self.first, -share[host], host))

    def _even_out(self, part: Bools, load: Floats, mean: float, limit: float) -> None:
        """The hosts asked for first, then all; `load` is kept true."""
        work = self.work
        evening = Evening(
            board=work.board, part=self.by.part, room=self.by.room, load=load, mean=mean, limit=limit,
            price=work.problem.cost / MOVE_MIB, gain_min=GAIN_MIN,
            least=max(WORTH * self.threshold, WORTH_LEAST) ** 2, movable=work.movable,
        )  # fmt: skip
        for sources in (np.array(self.first, dtype=np.int64), np.flatnonzero(part)):
            evening.run(sources, self._go, work.deadline.over)

    def _all_at_once(self, start: int, part: Bools, level: Level) -> Floats:
        """Another placement, found in one go from the start, if it leaves less above the ceiling; the load then."""
        work, board = self.work, self.work.board
        least, steps = self._excess(part, level, start), self.trail.done
        self.trail.go_to(0)
        peak = float(self.by.share(board)[part].max())
        answer = packed(work, self.by, level, part)
        if answer is not None and answer.proven and not work.problem.ambiguous:
            self.least = answer.excess
        taken: list[tuple[int, int]] = []
        for exact in (True, False):
            if least <= self.least:
                break
            places = ([*answer.at.items()] if answer else []) if exact else (searched(work, self.by, level) or [])
            self._put_all(places)
            excess, higher = self._excess(part, level, start), float(self.by.share(board)[part].max()) > peak + SLACK
            if excess < least and not higher and work.within_limits():
                taken, least = places, excess
            board.undo(start)
        if taken:
            self._put_all(taken)
            self.trail.again(start)
            changed = board.since(start)
            work.why.update((server, f"evens out {self.by.name}, all hosts at once") for server in changed)
        else:
            self.trail.go_to(steps)
        return self.by.load(board)

    def _put_all(self, places: Sequence[tuple[int, int]]) -> None:
        board = self.work.board
        moves = [(server, host) for server, host in places if board.at[server] != host]
        for server, _ in moves:
            board.put(server, NOWHERE)
        for server, host in sorted(moves):
            board.put(server, host)

    def _excess(self, part: Bools, level: Level, start: int) -> int:
        """What the hosts have above the ceiling, the hosts that are, and the moves since then, all in steps."""
        board = self.work.board
        over = np.ceil((self.by.share(board) - level.ceiling)[part] * EXCESS_STEPS - 1e-6)
        moves = sum(board.at[one] != int(self.work.problem.start[one]) for one in board.since(start))
        return int(over[over > 0].sum()) + STEPS_A_HOST * int((over > 0).sum()) + STEPS_A_MOVE * moves

    def _go(self, way: Way) -> bool:
        work = self.work
        mark = work.board.mark()
        work.board.put(way.server, way.target)
        if not work.within_limits():
            work.board.undo(mark)
            return False
        self.trail.note(mark)
        why = f"evens out {self.by.name} between {work.host(way.source)} and {work.host(way.target)}"
        work.explain([way.server], why)
        return True

    def _stuck(self, host: int) -> bool:
        board = self.work.board
        return all(
            one in board.pinned or not np.delete(board.may_stand(one), host).any() for one in board.on[host]
        ) and not (self.work.problem.ambiguous)

    def _relieve(self, host: int, limit: float, load: Floats) -> None:
        for _ in range(ROUNDS_MAX):
            if load[host] / self.by.room[host] <= limit + 1e-9 or self.work.deadline.over():
                return
            if not (self._swap(host, limit, load) or self._chain(host, limit, load)):
                return

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
                self.trail.note(mark)
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
        self.trail.note(mark)
        for (server, source), (_, target) in zip(froms, moves, strict=True):
            load[source] -= self.by.part[server]
            load[target] += self.by.part[server]
            work.explain([server], f"evens out {self.by.name} between {work.host(source)} and {work.host(target)}")
        return True

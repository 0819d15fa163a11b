"""Rebalance: no host is much fuller than the mean, and all are about alike, by few moves; pure.

Hosts that carry more of the claims in question than they have come first, whatever the threshold: see `mend`.
Where a host is above the mean by more than the threshold, the moves that even out most for their price are made, one
by one, until none pays for itself (so that noise does not bring anybody back at once, and a second plan finds nothing
to do). Those that stay too full are relieved by swaps, and by moves for which others make room. Where that is not
enough, the whole placement is searched: see `levelling`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow.messages.request import RebalanceRequest
from restow_planner.goals.levelling import Level, packed, searched
from restow_planner.goals.loads import Measure, measure
from restow_planner.goals.mend import mend
from restow_planner.goals.names import Names
from restow_planner.goals.soft import Charges, priced
from restow_planner.goals.survival import Trail, keep
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import MOVE_MIB, Bools, Floats
from restow_planner.solvers.board import NOWHERE, LoadLimit
from restow_planner.solvers.evening import Evening, Way
from restow_planner.solvers.repack import EXCESS_STEPS, STEPS_A_HOST, STEPS_A_MOVE, Repacked

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
        before = len(work.board.moved), work.moved_mib()
        mended = mend(work, claims, first)
        verdicts = [_Evening(work, one, request.threshold, first, Trail(work), before).run() for one in measures]
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
    before: tuple[int, float]
    """Servers and MiB that earlier goals move."""
    least: int = 0
    """It is proven that no placement has less above the ceiling, together with what is paid for moves, in steps."""
    limit: tuple[str, str] | None = None
    """The limit that forbade a step first, and what it would have to be at least for that."""
    dear: dict[str, float] | None = None
    """What soft rules charge for a step that would have paid for itself without them."""
    charged_before: Charges = field(init=False)
    charges: Charges = field(init=False)

    def run(self) -> Verdict:
        work, board = self.work, self.work.board
        self.charged_before, self.charges = Charges(work.soft, board), Charges(work.soft, board)
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
        return Verdict(*self._why_none(still, ceiling, cut=cut, proven=proven), after, mean)

    def _why_none(self, still: Sequence[int], ceiling: float, *, cut: bool, proven: bool) -> tuple[Outcome, str]:
        """What it means that nothing moves, although these hosts are too full."""
        if cut:
            return Outcome.UNDECIDED, "no move was found after which a failure would cost no more"
        if self.limit is not None and not proven:
            return (
                Outcome.UNDECIDED,
                f"moves that pay for themselves were found, but {self.limit[0]} does not allow them",
            )
        if proven:
            allowed = "no moves that pay for themselves" if self.limit is None else f"no moves within {self.limit[0]}"
            return Outcome.IMPOSSIBLE, f"proven: {allowed} leave less above {ceiling:.0%}"
        if all(self._stuck(host) for host in still):
            return Outcome.IMPOSSIBLE, "proven: no server of the hot hosts may stand anywhere else"
        if self.dear is not None:
            return Outcome.UNDECIDED, "no move was found that is worth what soft rules charge for it"
        if self.work.deadline.over():
            return Outcome.UNDECIDED, "time was over before a move was found that pays for itself"
        return Outcome.UNDECIDED, "no move or swap was found that pays for itself"

    def _blocker(self, host: int, share: float, *, proven: bool) -> Blocker:
        if self.limit is not None:
            rule, enough = self.limit
            why, relaxation = f"{rule} does not allow the next move", f"raise {rule} to at least {enough}"
        elif proven:
            why, relaxation = "it is proven that no move pays for itself", "add a host, or raise the threshold"
        elif self.dear is not None:
            why, relaxation = f"what would relieve it breaks {priced(self.dear)}", "lower the price of these rules"
        else:
            why, relaxation = "no further move was found that pays for itself", "raise the threshold, or add a host"
        lead = f"{self.work.host(host)} stays at {share:.0%} {self.by.name}"
        rule = "rebalance" if self.limit is None else self.limit[0]
        return Blocker(server=None, rule=rule, why=f"{lead}: {why}", relaxation=relaxation)

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
        if answer is not None and answer.proven:
            self.least = answer.excess
        taken: list[tuple[int, int]] = []
        for places in self._placements(answer, part, level):
            if least <= self.least:
                break
            self._put_all(places)
            excess, higher = self._excess(part, level, start), float(self.by.share(board)[part].max()) > peak + SLACK
            if excess < least and not higher and self._within_limits():
                taken, least = places, excess
            elif not higher and excess - self._charged(start) < least:
                self.dear = self.charged_before.by_rule(board.since(start))
            board.undo(start)
        if taken:
            self._put_all(taken)
            self.trail.again(start)
            changed = board.since(start)
            work.why.update((server, f"evens out {self.by.name}, all hosts at once") for server in changed)
        else:
            self.trail.go_to(steps)
        return self.by.load(board)

    def _placements(self, answer: Repacked | None, part: Bools, level: Level) -> Iterator[list[tuple[int, int]]]:
        """The best by CP-SAT, the best that leaves alone who has a soft rule, and what a search finds."""
        work, tied = self.work, self.charges.named
        if answer is not None:
            yield [*answer.at.items()]
        if answer is not None and tied:
            other = packed(work, self.by, level, part, still=tied)
            yield [] if other is None else [*other.at.items()]
        yield searched(work, self.by, level) or []

    def _put_all(self, places: Sequence[tuple[int, int]]) -> None:
        board = self.work.board
        moves = [(server, host) for server, host in places if board.at[server] != host]
        for server, _ in moves:
            board.put(server, NOWHERE)
        for server, host in sorted(moves):
            board.put(server, host)

    def _excess(self, part: Bools, level: Level, start: int) -> int:
        """What the hosts have above the ceiling, the hosts that are, and the moves since then, all in steps.

        What soft rules charge more since then counts as so many moves.
        """
        board = self.work.board
        over = np.ceil((self.by.share(board) - level.ceiling)[part] * EXCESS_STEPS - 1e-6)
        moves = sum(board.at[one] != int(self.work.problem.start[one]) for one in board.since(start))
        above = int(over[over > 0].sum()) + STEPS_A_HOST * int((over > 0).sum())
        return above + STEPS_A_MOVE * moves + self._charged(start)

    def _charged(self, start: int) -> int:
        """What soft rules charge more since then, in steps."""
        return ceil(STEPS_A_MOVE * max(0.0, self.charged_before.change(self.work.board.since(start))) - 1e-6)

    def _go(self, way: Way) -> bool:
        work = self.work
        mark = work.board.mark()
        work.board.put(way.server, way.target)
        if not self._within_limits():
            work.board.undo(mark)
            return False
        self.charges.note([way.server])
        self.trail.note(mark)
        why = f"evens out {self.by.name} between {work.host(way.source)} and {work.host(way.target)}"
        work.explain([way.server], why)
        return True

    def _within_limits(self) -> bool:
        work = self.work
        broken = work.limit_broken()
        if broken is not None and self.limit is None:
            took = len(work.board.moved) - self.before[0], (work.moved_mib() - self.before[1]) / 1024
            self.limit = broken, f"{took[0]}" if broken == "limits.moves" else f"{took[1]:.2f}"
        return broken is None

    def _pays(self, mark: int, gain: float) -> bool:
        """Whether a share that the host is relieved by is worth what soft rules charge, and the limits allow it."""
        moved = self.work.board.since(mark)
        if gain < GAIN_MIN * (1.0 + self.charges.change(moved)):
            self.dear = self.charges.by_rule(moved)
            return False
        if not self._within_limits():
            return False
        self.charges.note(moved)
        return True

    def _stuck(self, host: int) -> bool:
        board = self.work.board
        return all(one in board.pinned or not np.delete(board.may_stand(one), host).any() for one in board.on[host])

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
        given = float(by.part[best[1]] - by.part[best[2]]) / by.room[host]
        return self._do([(best[1], best[3]), (best[2], host)], load, given)

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
            if not higher.any() and self._pays(mark, float(before[host] - after[host])):
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

    def _do(self, moves: list[tuple[int, int]], load: Floats, gain: float) -> bool:
        board, work = self.work.board, self.work
        mark = board.mark()
        froms = [(server, board.at[server]) for server, _ in moves]
        for server, _ in moves:
            board.put(server, -1)
        for server, target in moves:
            board.put(server, target)
        if not self._pays(mark, gain):
            board.undo(mark)
            return False
        self.trail.note(mark)
        for (server, source), (_, target) in zip(froms, moves, strict=True):
            load[source] -= self.by.part[server]
            load[target] += self.by.part[server]
            work.explain([server], f"evens out {self.by.name} between {work.host(source)} and {work.host(target)}")
        return True

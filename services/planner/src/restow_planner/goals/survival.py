"""Whether the loss of any so many hosts, racks or zones would still leave room for all after the plan; pure.

Rebalancing and consolidation keep that: of their steps the last ones are taken back until no loss would leave more
without a host than before. Goals that cannot wait, such as evacuation, may lose it, and the plan says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from restow.cloud.model import Survive
from restow.messages.plan import Action, Blocker
from restow_planner.goals.drill import Drill, Loss, judged_all
from restow_planner.goals.work import Work
from restow_planner.rules.units import unit_of
from restow_planner.solvers.board import NOWHERE

SHOWN_MAX = 5
NO_TIME = "there was no time left to judge what a failure would leave without a host"


@dataclass(frozen=True, slots=True)
class _Step:
    mark: int
    closes: frozenset[int]
    places: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Trail:
    """The steps of a goal, in order, so that they can be taken back and done again."""

    work: Work
    steps: list[_Step] = field(default_factory=list)
    done: int = 0

    def note(self, mark: int, closes: frozenset[int] = frozenset()) -> None:
        """A step was done that began at this mark of the board, and after which these hosts take nothing in."""
        board = self.work.board
        self.steps.append(_Step(mark, closes, tuple((one, board.at[one]) for one in board.since(mark))))
        self.done += 1

    def again(self, mark: int) -> None:
        """What was done since this mark is one step, and the only one."""
        self.steps.clear()
        self.done = 0
        self.note(mark)

    def closed(self) -> frozenset[int]:
        """The hosts that the steps done so far close."""
        return frozenset(host for step in self.steps[: self.done] for host in step.closes)

    def go_to(self, count: int) -> None:
        """Exactly so many steps are done."""
        board = self.work.board
        if count < self.done:
            board.undo(self.steps[count].mark)
        for index in range(self.done, count):
            step = self.steps[index]
            self.steps[index] = _Step(board.mark(), step.closes, step.places)
            for server, _ in step.places:
                board.put(server, NOWHERE)
            for server, host in step.places:
                board.put(server, host)
        self.done = count


def keep(work: Work, trail: Trail) -> bool:
    """Take back the last steps that would lose what is to survive; whether there were any.

    Steps that time does not allow to judge are taken back too, but for as many as were judged until then.
    """
    rules = {index: rule for index, rule in _rules(work) if rule.soft is None}
    everything = len(trail.steps)
    if not rules or not everything:
        return False
    trail.go_to(0)
    judge = _Judge(work, trail, rules)
    kept, lost, why, tried = 0, everything + 1, NO_TIME, everything
    while lost - kept > 1:
        trail.go_to(tried)
        found = judge.lost()
        if found is None:
            kept = tried
        else:
            lost, why = tried, found
            if found is NO_TIME:
                break
        tried = (kept + lost) // 2
    trail.go_to(kept)
    if kept < everything:
        relaxation = "add hosts, or let the cloud survive less"
        work.blockers.append(Blocker(server=None, rule=f"survive {min(rules)}", why=why, relaxation=relaxation))
    return kept < everything


class _Judge:
    """Says what the steps done so far would lose. `trail` is at its beginning when this is made."""

    def __init__(self, work: Work, trail: Trail, rules: Mapping[int, Survive]) -> None:
        self._work, self._trail, self._rules = work, trail, rules
        self._start, self._now = Drill(work), Drill(work)
        self._start.follow(work.board, _disabled(work))
        self._before = {index: frozenset(self._start.losses(rule)) for index, rule in rules.items()}
        self._suspect: Loss | None = None
        """What could not be lost the last time is asked about first."""
        work.drill = self._now

    def lost(self) -> str | None:
        """What would be lost, or why nobody knows; None: nothing."""
        self._now.follow(self._work.board, _disabled(self._work) | self._trail.closed())
        for index, rule in self._rules.items():
            for loss in sorted(self._now.losses(rule), key=lambda one: one != self._suspect):
                amount = self._now.without(loss)
                before = self._start.without(loss) if amount and loss in self._before[index] else 0
                if amount is None or before is None:
                    return NO_TIME
                if amount > before:
                    self._suspect = loss
                    what = f"the loss of {rule.of} {loss.name}"
                    return f"one step more, and {what} would leave {amount} MiB of servers without a host"
        return None


def survival(work: Work) -> tuple[tuple[Blocker, ...], tuple[str, ...]]:
    """A blocker for each loss that would leave more without a host than before the plan, and what was not judged."""
    blockers: list[Blocker] = []
    unsure: list[str] = []
    for index, rule in _rules(work):
        if not judged_all(len({unit_of(host, rule.of) for host in work.problem.cloud.hosts}), rule.failures):
            unsure.append(
                f"survive {index}: the loss of any {rule.failures} {rule.of}s at once"
                f" (each was judged together with the {rule.failures - 1} fullest others)"
            )
        lost = _lost_in_all(work, rule)
        if lost is None:
            unsure.append(f"survive {index}: time was over before the loss of every {rule.of} was judged")
            continue
        for name, amount in sorted(lost.items())[:SHOWN_MAX]:
            why = f"after this plan the loss of {rule.of} {name} would leave {amount} MiB of servers without a host"
            relaxation = f"move less, or add room for {amount} MiB"
            blockers.append(Blocker(server=None, rule=f"survive {index}", why=why, relaxation=relaxation))
    return tuple(blockers), tuple(unsure)


def _lost_in_all(work: Work, rule: Survive) -> dict[str, int] | None:
    """MiB without a host by loss, where they are more than before the plan. None: nobody knows of all."""
    drill = work.drill
    if drill is None or drill.dead != work.board.dead:
        drill = work.drill = Drill(work)
    drill.follow(work.board, _disabled(work))
    found: dict[Loss, int] = {}
    for loss in drill.losses(rule):
        amount = drill.without(loss)
        if amount is None:
            return None
        if amount:
            found[loss] = amount
    if not found:
        return {}
    start = Drill(work)
    before = {loss: start.without(loss) or 0 for loss in start.losses(rule) if loss in found}
    return {loss.name: amount for loss, amount in found.items() if amount > before.get(loss, 0)}


def _rules(work: Work) -> Iterator[tuple[int, Survive]]:
    for index, rule in enumerate(work.problem.cloud.rules):
        if isinstance(rule, Survive):
            yield index, rule


def _disabled(work: Work) -> frozenset[int]:
    """The hosts that the plan takes out of use."""
    out = {
        host
        for action, host in (*work.first, *work.last)
        if action in (Action.DISABLE_HOST, Action.FENCE, Action.POWER_OFF)
    }
    return frozenset(work.problem.host_index[host] for host in out)

"""What holds each step back, and what it holds back: edges, and by the schedule the limits on moves at once; pure.

An edge is a must in every interleaving. A limit only says how many may run at the same time: which step has to let
which others go first is what the schedule shows.
"""

from collections.abc import Iterator, Mapping

from restow.messages.plan import HOST_ACTIONS, Plan, Step
from restow_planner.why.names import Names

HALF_TICK_S = 0.0005
"""Schedules count in milliseconds: what is nearer than half of one is the same moment."""
GATE_SHOWN = 4

Wait = tuple[Step, str]
"""Another step, and because of what."""


class Waits:
    """Both directions of one plan, ready to be looked up."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self._by_id = {step.id: step for step in plan.steps}
        self._names = names
        self.limits = _limits(plan)
        self._after: dict[str, list[Wait]] = {}
        for step in plan.steps:
            for before, because in self.before(step):
                self._after.setdefault(before.id, []).append((step, because))

    def before(self, step: Step) -> list[Wait]:
        """What it waits for: each other step once, with every reason."""
        reasons: dict[str, list[str]] = {}
        for edge in step.waits_for:
            if edge.step in self._by_id:
                called = self._names.servers_in(edge.because, (step.server, self._by_id[edge.step].server))
                reasons.setdefault(edge.step, []).append(called)
        for other, because in self.limits.get(step.id, ()):
            reasons.setdefault(other.id, []).append(because)
        return [(self._by_id[other], "; ".join(because)) for other, because in reasons.items()]

    def after(self, step: Step) -> list[Wait]:
        return self._after.get(step.id, [])

    def idles(self, step: Step) -> bool:
        """Whether the schedule starts it later than what it waits for has ended."""
        ready = max((other.end_s for other, _ in self.before(step)), default=0.0)
        return step.start_s > ready + HALF_TICK_S


def _limits(plan: Plan) -> Mapping[str, list[Wait]]:
    """The running steps that a step lets go first, because as many as may be are under way until they end."""
    ends = {step.id: step.end_s for step in plan.steps}
    found: dict[str, list[Wait]] = {}
    running: list[Step] = []
    for step in sorted(plan.steps, key=lambda one: one.start_s):
        if step.action in HOST_ACTIONS:
            continue  # they load no link and count for no limit
        ready = max((ends.get(edge.step, 0.0) for edge in step.waits_for), default=0.0)
        running = [one for one in running if one.end_s >= step.start_s - HALF_TICK_S]
        if ready < step.start_s - HALF_TICK_S:
            beside = [one for one in running if one.start_s < step.start_s - HALF_TICK_S]
            held = [wait for gate in _gates(plan, step, beside) for wait in gate]
            if held:
                found[step.id] = held
        running.append(step)
    return found


def _gates(plan: Plan, step: Step, running: list[Step]) -> Iterator[list[Wait]]:
    """Per limit that was used up until this step began, the steps whose end gave way."""
    limits = plan.request.limits
    gates = [
        ("limits.total", limits.total, "the domain", running),
        *(
            ("limits.per_host", limits.per_host, host, [one for one in running if host in one.hosts_loaded])
            for host in step.hosts_loaded
        ),
    ]
    for name, most, where, under_way in gates:
        if len(under_way) >= most:
            shown = ", ".join(one.id for one in under_way[:GATE_SHOWN]) + (" …" if len(under_way) > GATE_SHOWN else "")
            because = f"{name} is {most}, and {where} has {len(under_way)} under way ({shown}) until"
            yield [  # one that runs on is nothing to wait for
                (one, f"{because} {one.id} ends at {one.end_s:g} s")
                for one in under_way
                if one.end_s <= step.start_s + HALF_TICK_S
            ]

"""From a cloud and a request to a checked plan: decide, order, judge; pure.

A plan that the referee refuses is never published: the answer is then `undecided`, with the finding as its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from restow import __version__
from restow.cloud.model import Cloud
from restow.cloud.snapshot import dump_cloud
from restow.ids import HostName, ServerId, digest_of
from restow.messages.plan import HOST_ACTIONS, MOVES, Action, Blocker, Outcome, Plan, Purpose, Step
from restow.messages.request import AnyRequest, ReachRequest
from restow.render import part_of, wave_of
from restow_planner.deadline import Clock, Deadline
from restow_planner.decision import Decision, decide
from restow_planner.ordering import Impossible, Ordered, Undecided, order
from restow_planner.partial import unordered, without
from restow_planner.primitives import Primitive
from restow_planner.referee import check
from restow_planner.referee.steps import requests
from restow_planner.rules import hard_primitives
from restow_planner.solvers.cp_sat import NO_MEMORY

ENGINE = f"restow-planner {__version__}"
DECISIONS_MAX = 4  # how often another placement is asked for when one cannot be ordered
DECIDE_SHARE = 0.6  # of the time that is left; the rest is for ordering and judging
REACH_SHARE = 0.1  # the same where there is nothing to decide
CLOSING_SHARE = 0.8  # of the time that closing takes, what comes after a sequence of moves is found
STAYS_MAX = 200
OUT_OF_MEMORY = "memory ran out before there was an answer: give the planner more, or ask for fewer hosts at a time"


def plan_for(
    cloud: Cloud,
    request: AnyRequest,
    *,
    plan_id: str,
    seconds: float | None = None,
    engine: str = ENGINE,
    clock: Clock | None = None,
) -> Plan:
    """The answer to a request, whatever it is; `seconds` defaults to the request's time limit.

    `clock`: what the clock said before, where a plan is made again. Raises BadInputError where the request names what
    the cloud does not have. `solve_s` is left to the caller.
    """
    seconds = request.limits.time_limit_s if seconds is None else min(seconds, request.limits.time_limit_s)
    deadline = Deadline.after(seconds, clock)
    primitives = hard_primitives(cloud)
    deadline = deadline.paced(len(cloud.servers))
    draft = _Draft(cloud, request, plan_id, engine, deadline)
    try:
        return _planned(draft, request, primitives, deadline, seconds=seconds)
    except NO_MEMORY:
        deadline.tear()
        return draft.without_steps(Decision(Outcome.UNDECIDED), Outcome.UNDECIDED, OUT_OF_MEMORY)


def _planned(
    draft: "_Draft", request: AnyRequest, primitives: Sequence[Primitive], deadline: Deadline, *, seconds: float
) -> Plan:
    """Decide and order, with other placements where one cannot be ordered."""
    cloud = draft.cloud
    unreachable: frozenset[tuple[ServerId, HostName]] = frozenset()
    failed: list[tuple[Decision, Impossible | Undecided]] = []
    for attempt in range(DECISIONS_MAX):
        share = seconds * (REACH_SHARE if isinstance(request, ReachRequest) else DECIDE_SHARE) / 2**attempt
        decision = decide(cloud, request, deadline=deadline.within(share), unreachable=unreachable)
        if decision.outcome is not Outcome.PLAN:
            if failed:
                break  # only because the pairs that could not be ordered are left out
            return draft.without_steps(decision, decision.outcome, _why(decision))
        decision = _asked(request, decision)
        ordering = draft.ordered(decision, primitives, seconds=(seconds - share) if not attempt else share / 2)
        if isinstance(ordering, Ordered):
            return draft.checked(decision, ordering)
        failed.append((decision, ordering))
        new = {(one, host) for one in ordering.stuck if (host := decision.targets.get(one)) is not None}
        if isinstance(request, ReachRequest) or not new - unreachable:
            break
        unreachable |= new
    return _not_ordered(draft, failed, seconds=seconds)


def made_again(cloud: Cloud, plan: Plan) -> Plan:
    """The plan anew, from the snapshot that it was made from: the clock says what it said then."""
    clock = Clock.again(plan.metadata.get("clock"))
    return plan_for(cloud, plan.request, plan_id=plan.id, engine=plan.engine, clock=clock)


def _not_ordered(draft: "_Draft", failed: Sequence[tuple[Decision, Impossible | Undecided]], *, seconds: float) -> Plan:
    """No way to any placement that was tried: what can be done without those who are stuck, or the reason."""
    decision, ordering = failed[0]
    blockers = (*decision.blockers, *unordered(draft.cloud, ordering.stuck, decision, ordering.why))
    if isinstance(draft.request, ReachRequest):
        impossible = isinstance(ordering, Impossible)
        outcome = Outcome.IMPOSSIBLE if impossible else Outcome.UNDECIDED
        why = f"the placement cannot be reached: {ordering.why}" if impossible else ordering.why
        return draft.without_steps(replace(decision, blockers=blockers), outcome, why)
    tries = (
        failed if len(failed) == 1 else (failed[0], failed[-1])
    )  # the best placement, and the one made of least doubt
    for one, found in tries:
        plan = _without_the_stuck(draft, one, found, seconds=seconds / len(tries))
        if plan is not None:
            return plan
    why = f"placements were found, but no safe order of moves to any of them: {ordering.why}"
    return draft.without_steps(replace(decision, blockers=blockers), Outcome.UNDECIDED, why)


def _without_the_stuck(
    draft: "_Draft", decision: Decision, ordering: Impossible | Undecided, *, seconds: float
) -> Plan | None:
    """The moves that are left when those that cannot be ordered are left out, as long as some are."""
    blockers = tuple(unordered(draft.cloud, ordering.stuck, decision, ordering.why))
    stuck = set(ordering.stuck)
    for _ in range(DECISIONS_MAX):
        rest = without(draft.cloud, draft.request, decision, stuck, blockers)
        if rest is None:
            return None
        again = draft.ordered(rest, hard_primitives(draft.cloud), seconds=seconds / 8)
        if isinstance(again, Ordered):
            return draft.checked(rest, again)
        if not set(again.stuck) - stuck:
            return None
        blockers += tuple(unordered(draft.cloud, (one for one in again.stuck if one not in stuck), decision, again.why))
        stuck |= set(again.stuck)
    return None


def _why(decision: Decision) -> str:
    return "; ".join(one for one in (decision.why_outcome, decision.of_rules) if one)


def _asked(request: AnyRequest, decision: Decision) -> Decision:
    """What must not be touched, not even to park, because the request says so. Targets that a goal holds on to may be.

    What a goal pins or excludes it does from that goal on: it binds neither whom an earlier goal moves, nor where to.
    """
    pins = frozenset(ServerId(name) for one in requests(request) for name in one.pin)
    reached = frozenset(host for host in decision.targets.values() if host is not None)
    return replace(decision, pinned=pins - decision.targets.keys(), closed=decision.closed - reached)


class _Draft:
    """What every answer to one request has in common."""

    def __init__(self, cloud: Cloud, request: AnyRequest, plan_id: str, engine: str, deadline: Deadline) -> None:
        self.cloud, self.request, self._id, self._engine = cloud, request, plan_id, engine
        self._deadline = deadline
        self._snapshot = digest_of(dump_cloud(cloud))

    def ordered(
        self, decision: Decision, primitives: Sequence[Primitive], *, seconds: float
    ) -> Ordered | Impossible | Undecided:
        closing = CLOSING_SHARE * self._deadline.closing_s(len(self.cloud.servers), len(decision.targets))
        deadline = replace(self._deadline.within(seconds), closing=lambda: closing)
        return order(
            self.cloud, decision, primitives, limits=self.request.limits, seconds=seconds, deadline=deadline,
            seed=self.request.seed,
        )  # fmt: skip

    def without_steps(self, decision: Decision, outcome: Outcome, why: str) -> Plan:
        blockers = decision.blockers
        if outcome is Outcome.IMPOSSIBLE and not blockers:
            blockers = (Blocker(server=None, rule="goal", why=why, relaxation="ask for less, or add hosts"),)
        return self._plan(
            decision, outcome=outcome, why=why, blockers=blockers, after=decision.before,
            objective=decision.objective if outcome is Outcome.NOTHING_TO_DO else None,
            bound=decision.bound if outcome is Outcome.NOTHING_TO_DO else None,
            gap=decision.gap if outcome is Outcome.NOTHING_TO_DO else None,
        )  # fmt: skip

    def checked(self, decision: Decision, ordered: Ordered) -> Plan:
        steps = ordered.steps
        plan = self._plan(
            decision, outcome=Outcome.PLAN, why=_why(decision), blockers=decision.blockers, after=decision.after,
            steps=steps, objective=decision.objective, bound=decision.bound, gap=decision.gap,
            makespan=max((step.end_s for step in steps), default=0.0),
        )  # fmt: skip
        plan = plan.model_copy(
            update={
                "emptied_hosts": self._emptied(plan),
                "metadata": plan.metadata | self._numbers(plan, optimal=ordered.optimal),
            }
        )
        findings = check(self.cloud, plan)
        if findings:
            why = f"the plan that was found was refused by the check: {findings[0]}"
            return self.without_steps(decision, Outcome.UNDECIDED, why)
        return plan

    def _plan(
        self, decision: Decision, *, outcome: Outcome, why: str, blockers: tuple[Blocker, ...],
        after: Mapping[str, float], objective: float | None, bound: float | None, gap: float | None,
        steps: tuple[Step, ...] = (), makespan: float = 0.0,
    ) -> Plan:  # fmt: skip
        return Plan(
            id=self._id, outcome=outcome, why=why, request=self.request, domain=self.cloud.domain,
            snapshot=self._snapshot, seed=self.request.seed, engine=self._engine, steps=steps, blockers=blockers,
            before=dict(decision.before), after=dict(after), objective=objective, bound=bound, gap=gap,
            makespan_s=makespan, moved_mib=sum(step.moved_mib for step in steps),
            not_modelled=self._not_modelled(decision, steps),
            stays=dict(list(decision.stays.items())[:STAYS_MAX]),
            metadata={"clock": said} if (said := self._deadline.clock.kept()) else {},
        )  # fmt: skip

    def _not_modelled(self, decision: Decision, steps: tuple[Step, ...]) -> tuple[str, ...]:
        known = self.cloud.server_by_id
        moved = {step.server: step.action for step in steps if step.action in MOVES and step.server is not None}
        found = ["changes of load and of claims while the plan runs", *decision.not_modelled]
        blind = sum(1 for one in moved if known[ServerId(one)].dirty_mib_s is None)
        if blind and not any(note.startswith("dirty rate") for note in found):
            found.append(f"dirty rate of {blind} servers")
        ends = {name for step in steps for name in (step.source, step.target) if name is not None}
        slow = sum(1 for name in ends if self.cloud.host_by_name[HostName(name)].link_mbps is None)
        if slow:
            found.append(f"link bandwidth of {slow} hosts (taken as 10,000 Mbit/s)")
        rebuilt = (known[ServerId(one)] for one, action in moved.items() if action is Action.EVACUATE)
        if any(one.storage is None for one in rebuilt):
            found.append("whether the disks of rebuilt servers are on shared storage")
        if Action.COLD_MIGRATE in moved.values():
            found.append("size of the disks that cold migrations copy")
        return tuple(dict.fromkeys(found))

    def _emptied(self, plan: Plan) -> tuple[str, ...]:
        """Hosts that had servers and have none at the end."""
        at = {server.id: server.host for server in self.cloud.servers}
        for step in plan.steps:
            if step.server is not None and step.action is not Action.STOP:
                at[ServerId(step.server)] = None if step.target is None else HostName(step.target)
        full = {host for host in at.values() if host is not None}
        return tuple(name for name, servers in self.cloud.servers_on.items() if servers and name not in full)

    def _numbers(self, plan: Plan, *, optimal: bool) -> dict[str, object]:
        known = self.cloud.server_by_id
        moves = [step for step in plan.steps if step.action in MOVES]
        waves = wave_of(plan)
        return {
            "moves": len(moves),
            "parkings": sum(1 for step in moves if step.purpose is Purpose.PARKING),
            "independent_parts": max(part_of(plan).values(), default=0),
            "longest_chain": max(waves.values(), default=-1) + 1,
            "serial_s": round(sum(step.end_s - step.start_s for step in plan.steps), 3),
            "hosts_touched": len(
                {name for s in plan.steps for name in (s.source, s.target, s.host) if name is not None}
            ),
            "projects_touched": len({known[ServerId(s.server)].project for s in moves if s.server is not None}),
            "host_steps": sum(1 for step in plan.steps if step.action in HOST_ACTIONS),
            "least_memory_moved": optimal,
        }

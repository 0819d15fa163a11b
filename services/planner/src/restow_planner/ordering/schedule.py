"""When each step is expected to run: durations from memory, links and dirty rates, then a timetable; pure.

A live migration copies memory while it is being dirtied: rounds form a geometric series, so the time is
memory / (bandwidth - dirty rate), bounded where the series would not converge (Clark et al., NSDI 2005).
"""

from collections.abc import Mapping, Sequence

from restow.cloud.model import Cloud, Server
from restow.ids import HostName, ServerId
from restow.messages.plan import HOST_ACTIONS, Action, Step
from restow.messages.request import Limits
from restow_planner.solvers.timetable import Job, Timetable, Way, Work, in_line

LINK_MBPS = 10_000  # of a host that does not say
MIB_PER_MBIT = 1_000_000 / 8 / 1_048_576
DIRTY_SHARE_MAX = 0.9  # beyond, the move is made to converge
TICKS_PER_S = 1_000
TOTAL = 0
"""The gate that every step of a server goes through."""
PLACED_MAX = 20_000
"""Steps that list scheduling starts while it looks for a better schedule: a tenth of a second or two."""
STALL_ROUNDS = 5
NEAR = 0.01
"""Durations are not known any better, so a schedule this near to the best possible is good enough."""
OVERHEAD_S: Mapping[Action, float] = {
    Action.LIVE_MIGRATE: 2.0,
    Action.COLD_MIGRATE: 20.0,
    Action.EVACUATE: 30.0,
    Action.START: 10.0,
    Action.STOP: 5.0,
    Action.SHELVE: 20.0,
    Action.DISABLE_HOST: 1.0,
    Action.ENABLE_HOST: 1.0,
    Action.FENCE: 15.0,
    Action.POWER_OFF: 15.0,
    Action.POWER_ON: 120.0,
}


def duration_s(cloud: Cloud, step: Step, limits: Limits) -> float:
    """Seconds this step is expected to take when its hosts' links are shared as the limits allow."""
    overhead = OVERHEAD_S[step.action]
    if step.action not in (Action.LIVE_MIGRATE, Action.COLD_MIGRATE) or step.server is None:
        return overhead
    server = cloud.server_by_id[ServerId(step.server)]
    rate = _mib_s(cloud, step, limits)
    if step.action is Action.COLD_MIGRATE:
        return overhead + _memory(server) / rate
    dirty = min(server.dirty_mib_s or 0.0, DIRTY_SHARE_MAX * rate)
    return overhead + _memory(server) / (rate - dirty)


def _memory(server: Server) -> int:
    return server.demand.get("memory_mib", 0)


def _mib_s(cloud: Cloud, step: Step, limits: Limits) -> float:
    ends = [cloud.host_by_name[HostName(name)].link_mbps or LINK_MBPS for name in (step.source, step.target) if name]
    return max(1.0, min(ends) * MIB_PER_MBIT / limits.per_host)


def scheduled(cloud: Cloud, steps: Sequence[Step], limits: Limits, *, seed: int) -> tuple[Step, ...]:
    """The steps with start and end: over as soon as list scheduling can make it, within the limits.

    The executor starts what can start in the order of `start_s`, which is what a list schedule says; an exact timetable
    may idle on purpose, and would be paid for in time and not be followed.
    """
    number = {step.id: index for index, step in enumerate(steps)}
    gate: dict[str, int] = {}
    jobs = []
    for step in steps:
        uses = [(gate.setdefault(host, len(gate) + 1), 1) for host in step.hosts_loaded]
        if step.action not in HOST_ACTIONS:
            uses.append((TOTAL, 1))
        ticks = max(1, round(duration_s(cloud, step, limits) * TICKS_PER_S))
        jobs.append(Job((Way(ticks, tuple(uses)),), after=tuple(number[edge.step] for edge in step.waits_for)))
    work = Work(tuple(jobs), gates=(limits.total, *(limits.per_host for _ in gate)))
    times = in_line(work, placed_max=PLACED_MAX, stall=STALL_ROUNDS, near=NEAR, seed=seed)
    assert isinstance(times, Timetable), "steps that wait for each other in a circle"
    return tuple(
        step.model_copy(update={"start_s": start / TICKS_PER_S, "end_s": end / TICKS_PER_S})
        for step, start, end in zip(steps, times.start, times.end, strict=True)
    )

"""When each step is expected to run: durations from memory, links and dirty rates, then list scheduling; pure.

A live migration copies memory while it is being dirtied: rounds form a geometric series, so the time is
memory / (bandwidth - dirty rate), bounded where the series would not converge (Clark et al., NSDI 2005).
"""

import heapq
from collections.abc import Mapping, Sequence

from restow.cloud.model import Cloud, Server
from restow.ids import HostName, ServerId
from restow.messages.plan import MOVES, Action, Step
from restow.messages.request import Limits

LINK_MBPS = 10_000  # of a host that does not say
MIB_PER_MBIT = 1_000_000 / 8 / 1_048_576
DIRTY_SHARE_MAX = 0.9  # beyond, the move is made to converge
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


def scheduled(cloud: Cloud, steps: Sequence[Step], limits: Limits) -> tuple[Step, ...]:
    """The steps with start and end: longest remaining chain first, within the limits per host and in total."""
    number = {step.id: index for index, step in enumerate(steps)}
    seconds = [duration_s(cloud, step, limits) for step in steps]
    before = [{number[edge.step] for edge in step.waits_for} for step in steps]
    after: list[list[int]] = [[] for _ in steps]
    for index, mine in enumerate(before):
        for one in mine:
            after[one].append(index)
    tail = list(seconds)
    for index in range(len(steps) - 1, -1, -1):
        tail[index] += max((tail[one] for one in after[index]), default=0.0)
    missing = [len(mine) for mine in before]
    ready = [(-tail[index], index) for index in range(len(steps)) if not missing[index]]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    busy: dict[str, int] = {}
    held_back: dict[str, list[tuple[float, int]]] = {}
    moving, now = 0, 0.0
    times: list[tuple[float, float]] = [(0.0, 0.0)] * len(steps)
    while ready or running:
        put_back = []
        while ready:
            entry = heapq.heappop(ready)
            step = steps[entry[1]]
            if step.action in MOVES:
                if moving >= limits.total:
                    put_back.append(entry)
                    break
                full = next((host for host in _ends(step) if busy.get(host, 0) >= limits.per_host), None)
                if full is not None:
                    held_back.setdefault(full, []).append(entry)
                    continue
                moving += 1
                for host in _ends(step):
                    busy[host] = busy.get(host, 0) + 1
            times[entry[1]] = (now, now + seconds[entry[1]])
            heapq.heappush(running, (now + seconds[entry[1]], entry[1]))
        for entry in put_back:
            heapq.heappush(ready, entry)
        assert running, "steps that wait for each other in a circle"
        now, done = heapq.heappop(running)
        if steps[done].action in MOVES:
            moving -= 1
            for host in _ends(steps[done]):
                busy[host] -= 1
                for entry in held_back.pop(host, ()):
                    heapq.heappush(ready, entry)
        for one in after[done]:
            missing[one] -= 1
            if not missing[one]:
                heapq.heappush(ready, (-tail[one], one))
    return tuple(
        step.model_copy(update={"start_s": round(start, 3), "end_s": round(end, 3)})
        for step, (start, end) in zip(steps, times, strict=True)
    )


def _ends(step: Step) -> tuple[str, ...]:
    return tuple(host for host in (step.source, step.target) if host is not None)

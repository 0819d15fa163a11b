"""A plan beside the one without the changes: both in numbers, and where they differ; pure."""

from collections.abc import Mapping
from typing import Any

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow.messages.plan import MOVES, Action, Blocker, Plan, Purpose
from restow_planner.deadline import was_cut

BESIDE, DIFFERENCE = "beside", "difference"
"""Where a plan's metadata have the plan without the changes, and what the changes change."""
SERVERS_TOLD_MAX = 1_000
BLOCKERS_TOLD_MAX = 200
PEAKS = "peak_"
COUNTS = ("hosts_used", "hosts_over_capacity", "servers_without_host")


def without(old: Plan | None, why: str) -> dict[str, Any]:
    """The plan without the changes in short; why there is none where it is None."""
    if old is None:
        return {"outcome": None, "why": why, "cut": False, "numbers": {}}
    return {
        "outcome": old.outcome.value,
        "why": old.why,
        "cut": was_cut(old.metadata.get("clock")),
        "numbers": numbers(old),
    }


def numbers(plan: Plan) -> dict[str, float]:
    """What two plans are compared by; the units are in the names."""
    moves = [step for step in plan.steps if step.action in MOVES]
    found: dict[str, float] = {
        "steps": len(plan.steps),
        "moves": len(moves),
        "parkings": sum(step.purpose is Purpose.PARKING for step in moves),
        "moved_mib": plan.moved_mib,
        "makespan_s": plan.makespan_s,
        "blockers": len(plan.blockers),
    }
    return found | {key: value for key, value in plan.after.items() if key in COUNTS or key.startswith(PEAKS)}


def difference(cloud: Cloud, old: Plan, new: Plan) -> dict[str, Any]:
    """With the changes less without them, the blockers that come and go, and the servers that end elsewhere."""
    was, now = numbers(old), numbers(new)
    before, after = _blockers(old), _blockers(new)
    elsewhere = _elsewhere(cloud, old, new)
    return {
        "with": now,
        "numbers": {key: round(now[key] - was[key], 6) for key in now if key in was},
        "blockers_gone": [why for key, why in before.items() if key not in after][:BLOCKERS_TOLD_MAX],
        "blockers_new": [why for key, why in after.items() if key not in before][:BLOCKERS_TOLD_MAX],
        "servers": elsewhere[:SERVERS_TOLD_MAX],
        "servers_differ": len(elsewhere),
    }


def _blockers(plan: Plan) -> Mapping[tuple[str, str], str]:
    def key(one: Blocker) -> tuple[str, str]:
        return (one.server or one.why, one.rule)

    return {key(one): one.why for one in plan.blockers}


def _elsewhere(cloud: Cloud, old: Plan, new: Plan) -> list[dict[str, str | None]]:
    """The servers that end on another host than without the changes; null: on none."""
    was, now = ends(old), ends(new)
    found = []
    for name in dict.fromkeys([*was, *now]):
        server = cloud.server_by_id[ServerId(name)]
        was_at, now_at = was.get(name, server.host), now.get(name, server.host)
        if was_at != now_at:
            found.append({"server": server.id, "name": server.name, "without": was_at, "with": now_at})
    return found


def ends(plan: Plan) -> dict[str, str | None]:
    """Each server that the plan moves, with the host where it ends; None: it is shelved."""
    moves = (step for step in plan.steps if step.server is not None and step.action is not Action.STOP)
    return {step.server: step.target for step in moves if step.server is not None}

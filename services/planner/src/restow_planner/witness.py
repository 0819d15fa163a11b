"""What the planner tells a witness: which rules are broken, and whether it would decide the same again; pure."""

import json
from collections.abc import Iterator, Mapping

from restow.cloud.model import Cloud
from restow.cloud.snapshot import read_cloud
from restow.ids import HostName, ServerId
from restow.messages.base import parse
from restow.messages.plan import Plan
from restow_planner.plan import made_again
from restow_planner.rules import RULES
from restow_planner.rules.base import Violation

CHANGES_WITH_THE_MACHINE = ("solve_s",)


def violations(cloud: Cloud, where: Mapping[ServerId, tuple[HostName, ...]]) -> Iterator[Violation]:
    """Every broken hard rule for servers standing so; a server on its way stands on both ends."""
    for rule in RULES:
        yield from rule.violations(cloud, where)


def decide_again(snapshot: bytes, plan: bytes) -> str | None:
    """None if this snapshot (restow.cloud/1) and the plan's request give this plan (restow.plan/1) again."""
    before = parse(Plan, plan, what="plan")
    after = made_again(read_cloud(snapshot), before)
    was, now = _lasting(before), _lasting(after)
    if was == now:
        return None
    differing = sorted(key for key in was if was[key] != now[key])
    return f"decided again, it differs in {', '.join(differing)}"


def _lasting(plan: Plan) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in plan.dump().items() if key not in CHANGES_WITH_THE_MACHINE}

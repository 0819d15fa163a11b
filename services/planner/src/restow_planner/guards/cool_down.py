"""Servers that moved a short while ago are not moved again for an optional goal; pure.

Not a reason to plan nothing: those servers are pinned, and the plan says so.
"""

from datetime import timedelta

from restow.ids import ServerId
from restow.messages.request import AnyRequest, ThenRequest
from restow_planner.guards.base import OPTIONAL_GOALS, Facts

GUARD = "server-cool-down"


def cooling(facts: Facts) -> tuple[ServerId, ...]:
    """The servers of the cloud that moved less than the cool-down ago, in the order of their ids."""
    since = facts.now - timedelta(seconds=facts.cool_down_s)
    return tuple(sorted(one for one, at in facts.moved_at.items() if at > since and one in facts.cloud.server_by_id))


def with_pins(request: AnyRequest, servers: tuple[ServerId, ...]) -> AnyRequest:
    """The request with these servers pinned wherever its goal is an optional one."""
    if not servers:
        return request
    if isinstance(request, ThenRequest):
        return request.model_copy(update={"goals": tuple(with_pins(one, servers) for one in request.goals)})
    if request.goal not in OPTIONAL_GOALS:
        return request
    return request.model_copy(update={"pin": tuple(dict.fromkeys([*request.pin, *servers]))})

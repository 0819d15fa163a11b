"""Servers that moved a short while ago are not moved again for an optional goal; pure.

Not a reason to plan nothing: those servers are pinned, and the plan says so. A server may have a cool-down of its own.
"""

from datetime import datetime, timedelta

from restow.cloud.model import Cloud, Server
from restow.ids import ServerId
from restow.messages.request import AnyRequest, ThenRequest
from restow_planner.guards.base import OPTIONAL_GOALS, Facts

GUARD = "server-cool-down"


def cooling(facts: Facts) -> tuple[ServerId, ...]:
    """The servers of the cloud that moved less than their cool-down ago, in the order of their ids."""
    known = facts.cloud.server_by_id
    return tuple(sorted(one for one, at in facts.moved_at.items() if one in known and at > _since(facts, known[one])))


def _since(facts: Facts, server: Server) -> datetime:
    return facts.now - timedelta(seconds=facts.cool_down_s if server.cool_down_s is None else server.cool_down_s)


def longest_s(cloud: Cloud, cool_down_s: float) -> float:
    """How far back a move can matter."""
    own = (one.cool_down_s for one in cloud.servers if one.cool_down_s is not None)
    return max(cool_down_s, max(own, default=0.0))


def with_pins(request: AnyRequest, servers: tuple[ServerId, ...]) -> AnyRequest:
    """The request with these servers pinned wherever its goal is an optional one."""
    if not servers:
        return request
    if isinstance(request, ThenRequest):
        return request.model_copy(update={"goals": tuple(with_pins(one, servers) for one in request.goals)})
    if request.goal not in OPTIONAL_GOALS:
        return request
    return request.model_copy(update={"pin": tuple(dict.fromkeys([*request.pin, *servers]))})

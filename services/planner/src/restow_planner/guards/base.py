"""What a guard is: a reason not to plan at all, found before the solvers are asked; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow.messages.request import AnyRequest, ThenRequest

OPTIONAL_GOALS = frozenset({"rebalance", "consolidate", "defragment"})
"""Goals that can wait: nothing is broken if they are not met today."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What guards look at. `open_optional`: optional plans of this domain that are proposed, approved or running."""

    request: AnyRequest
    cloud: Cloud
    now: datetime
    open_optional: int = 0
    moved_at: Mapping[ServerId, datetime] = field(default_factory=dict)
    cool_down_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is planned, and why."""

    guard: str
    why: str


class Guard(Protocol):
    @property
    def name(self) -> str: ...

    def judge(self, facts: Facts) -> Stop | None: ...


def is_optional(request: AnyRequest) -> bool:
    if isinstance(request, ThenRequest):
        return all(is_optional(one) for one in request.goals)
    return request.goal in OPTIONAL_GOALS

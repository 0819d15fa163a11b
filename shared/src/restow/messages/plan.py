"""Plans, `restow.plan/1`: steps, the edges between them with reasons, and what they achieve; pure."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from restow.messages.base import Message
from restow.messages.request import WrittenRequest


class Outcome(StrEnum):
    PLAN = "plan"
    NOTHING_TO_DO = "nothing-to-do"
    IMPOSSIBLE = "impossible"
    UNDECIDED = "undecided"


class Action(StrEnum):
    LIVE_MIGRATE = "live-migrate"
    COLD_MIGRATE = "cold-migrate"
    EVACUATE = "evacuate"
    START = "start"
    STOP = "stop"
    SHELVE = "shelve"
    DISABLE_HOST = "disable-host"
    ENABLE_HOST = "enable-host"
    FENCE = "fence"
    POWER_OFF = "power-off"
    POWER_ON = "power-on"


MOVES = frozenset({Action.LIVE_MIGRATE, Action.COLD_MIGRATE, Action.EVACUATE})
HOST_ACTIONS = frozenset({Action.DISABLE_HOST, Action.ENABLE_HOST, Action.FENCE, Action.POWER_OFF, Action.POWER_ON})


class Purpose(StrEnum):
    REQUIRED = "required"
    PARKING = "parking"
    RETURN = "return"


class Edge(Message):
    """A wait until `step` has ended, and because of what."""

    step: str
    because: str


class Step(Message):
    """One thing done to the cloud.

    `server`, `source`, `target` are null where the action has none; host actions name their `host`. A server holds
    its resources on the source until the step ends and on the target from its start.
    """

    id: str
    action: Action
    server: str | None = None
    source: str | None = Field(default=None, alias="from")
    target: str | None = Field(default=None, alias="to")
    host: str | None = None
    purpose: Purpose = Purpose.REQUIRED
    why: str = ""
    waits_for: tuple[Edge, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0
    moved_mib: int = 0

    @property
    def hosts_loaded(self) -> tuple[str, ...]:
        """The hosts whose limit on moves at once it counts against. A dead host has nothing to send."""
        if self.action not in MOVES:
            return ()
        ends = (self.target,) if self.action is Action.EVACUATE else (self.source, self.target)
        return tuple(dict.fromkeys(host for host in ends if host is not None))


class Blocker(Message):
    """A server (or host) that could not be served: the rule that binds, why, and the cheapest way out."""

    server: str | None
    rule: str
    why: str
    relaxation: str


class Plan(Message):
    """A complete answer of the planner. `bound` and `gap` are null where nothing was bounded.

    `domain` may be empty: a plan that another program made need not tell it.
    """

    format: Literal["restow.plan/1"] = "restow.plan/1"
    id: str
    outcome: Outcome
    why: str = ""
    request: WrittenRequest
    domain: str = ""
    snapshot: str
    seed: int
    engine: str
    steps: tuple[Step, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    before: dict[str, float] = Field(default_factory=dict)
    after: dict[str, float] = Field(default_factory=dict)
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    makespan_s: float = 0.0
    moved_mib: int = 0
    solve_s: float = 0.0
    not_modelled: tuple[str, ...] = ()
    stays: dict[str, str] = Field(default_factory=dict, description="why named servers do not move")
    emptied_hosts: tuple[str, ...] = Field(default=(), description="hosts without servers at the end")
    metadata: dict[str, Any] = Field(default_factory=dict)

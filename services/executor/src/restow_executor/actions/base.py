"""What an action is: look, ask, check; and the answers that each may give.

`look` reads again and says whether the step is still wanted; `ask` makes the one call; `check` says what
came of it. The engine (`carry.py`) keeps the journal, the waits and the bounds around them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from restow.clock import Clock
from restow.cloud.model import Cloud
from restow.cloud.port import CloudPort
from restow.ids import HostName
from restow.messages.plan import Action as Name
from restow.messages.plan import Step
from restow.policy import Policy
from restow_executor.progress import StepState
from restow_executor.room import Claims


@dataclass(frozen=True, slots=True)
class Site:
    """All that an action may use. `asked`: the request ids that this step has used. `before`: what `look` noted."""

    step: Step
    port: CloudPort
    clock: Clock
    policy: Policy
    cloud: Callable[[], Awaitable[Cloud]]  # a read of the whole domain that begins after the call
    fenced: Callable[[HostName], bool]  # whether this plan holds a verified fence of that host
    lost: Callable[[HostName], bool]  # whether any plan under way has fenced it
    claims: Claims
    asked: tuple[str, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Go:
    """Do it; `before` is what the check will be held against."""

    before: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """It was done already."""

    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Later:
    """Something else is under way there: look again soon, for a bounded time."""

    why: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What the plan relied on is no longer true: plan again."""

    why: str
    guard: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A guard forbids it, and no other plan would help."""

    why: str
    guard: str


Look = Go | Done | Later | Changed | Refused


@dataclass(frozen=True, slots=True)
class Verified:
    """Done and seen to be done."""

    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Underway:
    """`progress`: the share that is done, where the cloud tells; `queued`: it has not begun."""

    why: str
    progress: float | None = None
    queued: bool = False


@dataclass(frozen=True, slots=True)
class NoSign:
    """Nothing shows that the cloud took the request."""

    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It ended, and not well. `end`: STALE, MISSED or FAILED."""

    why: str
    end: StepState
    guard: str | None = None


Check = Verified | Underway | NoSign | Broken


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often. `settle_s`: without any sign for so long, the request counts as not taken.

    `again`: whether to ask again even though the cloud had said yes (harmless calls only).
    `limit_s`: after this from the start the step is given up, by `give_up`. `stalled_s`: so it is after that long
    without progress.
    """

    settle_s: float = 20.0
    asks_max: int = 3
    again: bool = False
    limit_s: float = 600.0
    stalled_s: float | None = None


class Action(Protocol):
    """One thing that can be done to the cloud. Errors of the port pass through to the engine."""

    @property
    def name(self) -> Name: ...

    @property
    def host_change(self) -> str | None:
        """The event `restow.host.…` that tells of it, if there is one."""

    def patience(self, site: Site) -> Patience: ...

    async def look(self, site: Site) -> Look: ...

    async def ask(self, site: Site, *, request_id: str) -> None: ...

    async def check(self, site: Site) -> Check: ...

    async def give_up(self, site: Site) -> Broken | None:
        """Out of time. None: the end was asked for (an abort), keep checking for a bounded time."""

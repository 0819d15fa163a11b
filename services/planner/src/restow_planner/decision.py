"""Where servers are to be at the end: what the placement half of the planner answers; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Blocker, Outcome
from restow.messages.request import AnyRequest
from restow_planner.deadline import Deadline
from restow_planner.rules.base import Violation


@dataclass(frozen=True, slots=True)
class Decision:
    """The wanted end of a plan; how to get there safely is the ordering's affair.

    A goal that can be met in part only is `PLAN` with blockers. `IMPOSSIBLE` is said only with a proof;
    `targets` is then empty. Numbers in `before` and `after` are shares or counts.
    """

    outcome: Outcome
    targets: Mapping[ServerId, HostName | None] = field(default_factory=dict)
    """Final host of each server that changes; None: it is shelved."""
    actions: Mapping[ServerId, Action] = field(default_factory=dict)
    """live-migrate, cold-migrate, evacuate, start or shelve, for the same servers as `targets`."""
    why: Mapping[ServerId, str] = field(default_factory=dict)
    """The reason of each change, for the same servers as `targets`."""
    stays: Mapping[ServerId, str] = field(default_factory=dict)
    """Why servers that the goal asked about do not move; bounded in number."""
    blockers: tuple[Blocker, ...] = ()
    host_steps_first: tuple[tuple[Action, HostName], ...] = ()
    """disable-host and fence: each before any move off that host."""
    host_steps_last: tuple[tuple[Action, HostName], ...] = ()
    """power-off of emptied hosts: after every move off that host."""
    closed: frozenset[HostName] = frozenset()
    """Hosts that take nothing in at any time of this plan, not even to park: emptied, excluded, failed."""
    pinned: frozenset[ServerId] = frozenset()
    """Servers that must not be touched, not even parked, on top of what the rules fix."""
    priority: tuple[ServerId, ...] = ()
    """The order in which servers should be served, most urgent first."""
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    why_outcome: str = ""
    broken: tuple[Violation, ...] = ()
    """The hard rules that the cloud breaks at the start."""
    of_rules: str = ""
    """What becomes of these, and what soft rules charge, in words."""
    not_modelled: tuple[str, ...] = ()


def decide(
    cloud: Cloud,
    request: AnyRequest,
    *,
    deadline: Deadline,
    unreachable: frozenset[tuple[ServerId, HostName]] = frozenset(),
) -> Decision:
    """The end placement for this request, by the deadline.

    `unreachable`: pairs that ordering or execution could not realise; `request.avoid` is added to them.
    Raises BadInputError where the request names hosts, servers or resources that the cloud does not have.
    """
    from restow_planner.goals import pursue  # the goals build decisions, so they import this module

    return pursue(cloud, request, deadline=deadline, unreachable=unreachable)

"""The desk on which a goal works: the board, what limits it, and what it has to say in the end; pure.

Goals in a sequence share one desk, so a later goal sees what the earlier ones closed, pinned and moved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Blocker, Outcome
from restow_planner.deadline import Deadline
from restow_planner.problem import Problem
from restow_planner.rules import hard_primitives
from restow_planner.rules.clashes import Clash, clashes
from restow_planner.solvers.board import NOWHERE, Board
from restow_planner.solvers.room import Room

if TYPE_CHECKING:
    from restow_planner.goals.drill import Drill
    from restow_planner.goals.soft import Soft

STAYS_MAX = 200
"""How many servers a plan explains that do not move."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a goal came to. `objective` and `bound` are in the goal's own unit, the smaller the better."""

    outcome: Outcome
    why: str
    objective: float | None = None
    bound: float | None = None


@dataclass
class Work:
    problem: Problem
    board: Board
    deadline: Deadline
    seed: int
    moves_max: int | None = None
    moved_mib_max: float | None = None
    why: dict[int, str] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    """Servers that are rebuilt, not migrated: their host has failed."""
    shelved: set[int] = field(default_factory=set)
    urgent: list[int] = field(default_factory=list)
    blockers: list[Blocker] = field(default_factory=list)
    stays: dict[int, str] = field(default_factory=dict)
    first: list[tuple[Action, HostName]] = field(default_factory=list)
    last: list[tuple[Action, HostName]] = field(default_factory=list)
    closed: set[int] = field(default_factory=set)
    excluded: set[int] = field(default_factory=set)
    """Hosts that the request itself wants nothing on."""
    unordered: set[tuple[int, int]] = field(default_factory=set)
    """Servers and hosts where no safe order of moves was found; `barred` on the board, as are those that failed."""
    notes: list[str] = field(default_factory=list)
    soft: "tuple[Soft, ...]" = ()
    """What soft rules say."""
    drill: "Drill | None" = None
    """Where a goal judged last what is to survive: what it learned there is soon judged again."""

    @cached_property
    def clashes(self) -> tuple[Clash, ...]:
        """Hard rules of this cloud that contradict each other."""
        cloud = self.problem.cloud
        return tuple(clashes(cloud, hard_primitives(cloud)))

    # -- who may go -----------------------------------------------------------------------------------

    def movable(self, server: int) -> bool:
        """Whether the server may be moved to make room: at most once, and nobody is stopped for it."""
        board = self.board
        if server in board.pinned or self.problem.cold[server]:
            return False
        if board.at[server] == self.problem.start[server] and (server in self.dead or self.stranded(server)):
            return False  # what runs nowhere cannot be migrated
        return server not in board.moved or server in board.leaving

    def stranded(self, server: int) -> bool:
        """Whether the server began on a host that is down: it can be rebuilt elsewhere, not migrated."""
        return int(self.problem.start[server]) in self.problem.down

    def room(self) -> Room:
        return Room(self.board, self.deadline.over, self.movable)

    # -- limits ---------------------------------------------------------------------------------------

    def within_limits(self) -> bool:
        return self.limit_broken() is None

    def limit_broken(self) -> str | None:
        """Which limit the moves so far break, as a rule name."""
        moved = self.board.moved
        if self.moves_max is not None and len(moved) > self.moves_max:
            return "limits.moves"
        if self.moved_mib_max is not None and self.moved_mib() > self.moved_mib_max:
            return "limits.moved_gib"
        return None

    def moved_mib(self) -> int:
        """Memory that the moves carry; a rebuilt, started or shelved server carries none."""
        carried = (one for one in self.board.moved if one not in self.dead and self.board.at[one] >= 0)
        return sum(int(self.problem.memory[one]) for one in carried if self.problem.start[one] >= 0)

    # -- words ----------------------------------------------------------------------------------------

    def host(self, index: int) -> HostName:
        return self.problem.hosts[index]

    def server(self, index: int) -> ServerId:
        return self.problem.servers[index]

    def label(self, index: int) -> str:
        """The server as a person knows it."""
        one = self.problem.cloud.servers[index]
        return one.name or one.id

    def stay(self, server: int, why: str) -> None:
        if len(self.stays) < STAYS_MAX:
            self.stays.setdefault(server, why)

    def explain(self, moved: Iterable[int], why: str) -> None:
        for server in moved:
            self.why.setdefault(server, why)

    def close(self, hosts: Iterable[int], *, for_good: bool = True) -> None:
        """Nothing arrives on these hosts any more, in this goal or a later one."""
        hosts = list(hosts)
        self.board.close(hosts)
        if for_good:
            self.closed.update(hosts)

    def host_steps_first(self, action: Action, hosts: Iterable[int]) -> None:
        for host in hosts:
            step = (action, self.host(host))
            if step not in self.first:
                self.first.append(step)

    def changes(self) -> Sequence[int]:
        """The servers that end elsewhere than they began."""
        start = self.problem.start
        return [one for one in sorted(self.board.moved) if self.board.at[one] != start[one]]

    def action(self, server: int) -> Action:
        start, end = self.problem.start[server], self.board.at[server]
        if end == NOWHERE:
            return Action.SHELVE
        if start == NOWHERE:
            return Action.START
        if server in self.dead:
            return Action.EVACUATE
        stopped = self.problem.cloud.servers[server].state == "stopped"
        return Action.COLD_MIGRATE if self.problem.cold[server] or stopped else Action.LIVE_MIGRATE

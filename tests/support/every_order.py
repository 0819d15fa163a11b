"""Whether any order of moves reaches a goal, by looking at every placement; the rules' own judgement, no solver; pure.

Breadth first over placements. A move is allowed when, while it runs and when it has ended, nothing is worse than at
the start of the plan; where it arrives, nothing may be broken that speaks of this server alone, and what is counted
there may not grow beyond its limit, even where it was beyond it at the start. For clouds of a few servers only.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from restow.cloud.model import LOCAL_STORAGE, Cloud, HostState, Move, Server, ServerState
from restow_planner.rules import all_violations, worse
from restow_planner.rules.base import Violation

TIED = ("affinity", "spread", "together", "among", "licence", "near")
"""Rules about how servers stand to each other: who has died counts for none of them."""
COUNTED = ("capacity", "reserve", "load", "numa", "anti-affinity", "at-most", "isolate")
"""Rules about who shares a host or a unit: each arrival is judged by what is there when it comes."""
Places = tuple[str | None, ...]
"""Host of each server, in the order of the cloud; None: it runs nowhere."""


@dataclass(slots=True)
class EveryOrder:
    """`wanted`: servers that the goal itself moves; `closed`: hosts that take nothing in; `dead`: fenced hosts."""

    cloud: Cloud
    wanted: frozenset[str]
    closed: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    states_max: int = 4_000
    _known: dict[tuple[tuple[str, ...], ...], tuple[Violation, ...]] = field(default_factory=dict)

    def some_order_reaches(self, goal: Callable[[Places], bool]) -> bool | None:
        """None: more than `states_max` placements, and the goal is not among those seen."""
        start: Places = tuple(one.host for one in self.cloud.servers)
        seen, todo = {start}, deque([start])
        while todo:
            here = todo.popleft()
            if goal(here) and self._may_end(here):
                return True
            if len(seen) > self.states_max:
                return None
            for there in self._next(here):
                if there not in seen:
                    seen.add(there)
                    todo.append(there)
        return False

    def _next(self, here: Places) -> Iterator[Places]:
        for index, server in enumerate(self.cloud.servers):
            if not self._may_move(server, here[index]):
                continue
            for host in self.cloud.hosts:
                if host.name == here[index] or host.name in self.closed or not host.takes_servers:
                    continue
                if server.numa and host.name == server.host:
                    continue  # it may be given other cells than it had
                there = (*here[:index], host.name, *here[index + 1 :])
                both = () if here[index] in self.dead else (str(here[index]),)
                if self._is_lawful(here, index, (*both, host.name)) and self._is_lawful(there, index, (host.name,)):
                    yield there

    def _may_move(self, server: Server, at: str | None) -> bool:
        if at is None:
            return False
        if at in self.dead:
            return server.id in self.wanted and server.storage != LOCAL_STORAGE  # it would come back empty
        host = self.cloud.host_by_name[at]  # type: ignore[index]
        if host.state is not HostState.UP or host.forced_down:
            return False
        return server.id in self.wanted or server.move is Move.LIVE or server.state is ServerState.STOPPED

    def _is_lawful(self, here: Places, index: int, ends: tuple[str, ...]) -> bool:
        """Whether the server may hold these hosts, the last of which it arrives on, while the others are `here`."""
        now, then = self._judged(here), self._judged(here, index, ends)
        if worse(self._at_start(), then) or worse(_of(now, COUNTED), _of(then, COUNTED)):
            return False
        arrived = self._judged(here, index, ends[-1:])
        own = self.cloud.servers[index].id
        return not any(one.subject == own and one not in _of(arrived, TIED) for one in arrived)

    def _may_end(self, here: Places) -> bool:
        """At the end those who died run again: nothing is worse than it was before they did."""
        start = tuple(one.host for one in self.cloud.servers)
        return not self.dead or not worse(self._judged(start, dead=False), self._judged(here))

    def _at_start(self) -> tuple[Violation, ...]:
        start = tuple(one.host for one in self.cloud.servers)
        before, living = self._judged(start, dead=False), self._judged(start)
        return (*(one for one in before if one not in _of(before, TIED)), *_of(living, TIED))

    def _judged(
        self, places: Places, moving: int = -1, ends: tuple[str, ...] = (), *, dead: bool = True
    ) -> tuple[Violation, ...]:
        """What is broken; servers on a dead host run nowhere, unless `dead` is False."""
        where = tuple(
            ends if index == moving else () if at is None or (dead and at in self.dead) else (at,)
            for index, at in enumerate(places)
        )
        if where not in self._known:
            held = {one.id: hosts for one, hosts in zip(self.cloud.servers, where, strict=True)}
            self._known[where] = all_violations(self.cloud, held)  # type: ignore[arg-type]
        return self._known[where]


def _of(violations: tuple[Violation, ...], kinds: tuple[str, ...]) -> tuple[Violation, ...]:
    return tuple(one for one in violations if one.rule.split(" ")[0] in kinds)

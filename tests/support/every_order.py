"""Whether any order of moves reaches a goal, by looking at every placement; the rules' own judgement, no solver; pure.

Breadth first over placements. A move is allowed when, while it runs and when it has ended, nothing is worse than at
the start of the plan. For clouds of a few servers only.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from restow.cloud.model import LOCAL_STORAGE, Cloud, HostState, Move, Server, ServerState
from restow_planner.rules import all_violations, worse

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
    _lawful: dict[tuple[tuple[str, ...], ...], bool] = field(default_factory=dict)

    def some_order_reaches(self, goal: Callable[[Places], bool]) -> bool | None:
        """None: more than `states_max` placements, and the goal is not among those seen."""
        start: Places = tuple(one.host for one in self.cloud.servers)
        seen, todo = {start}, deque([start])
        while todo:
            here = todo.popleft()
            if goal(here):
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

    def _is_lawful(self, places: Places, moving: int, ends: tuple[str, ...]) -> bool:
        where = [
            ends if index == moving else () if at is None or at in self.dead else (at,)
            for index, at in enumerate(places)
        ]
        key = tuple(where)
        if key not in self._lawful:
            servers = self.cloud.servers
            home = {one.id: () if one.host is None else (one.host,) for one in servers}
            now = {one.id: held for one, held in zip(servers, where, strict=True)}
            before, after = all_violations(self.cloud, home), all_violations(self.cloud, now)  # type: ignore[arg-type]
            if self.dead:  # whom a death has left without company, no move has; who stay apart are kept apart
                living = {one: tuple(at for at in held if at not in self.dead) for one, held in home.items()}
                found = all_violations(self.cloud, living)  # type: ignore[arg-type]
                before += tuple(one for one in found if one.rule.startswith("near "))
            self._lawful[key] = not worse(before, after)
        return self._lawful[key]

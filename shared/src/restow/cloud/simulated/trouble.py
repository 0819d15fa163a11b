"""Trouble of the simulated cloud beyond dead hosts: slow, lost and late answers, fencing that fails, silent sources."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from restow.cloud.port import Heartbeat
from restow.cloud.simulated import hosts
from restow.cloud.simulated.world import World
from restow.errors import BadInputError, FieldError
from restow.ids import HostName, ServerId

Lost = Literal["before", "after"]
BrokenFence = Literal["ignored", "error"]


@dataclass(slots=True)
class _Losing:
    times: int
    when: Lost
    methods: frozenset[str]


@dataclass(slots=True)
class Trouble:
    """What goes wrong from now on. `methods` are names of the port's methods; none: all of them."""

    world: World
    slow_s: dict[str, float] = field(default_factory=dict)
    broken_fences: dict[HostName, BrokenFence] = field(default_factory=dict)
    silent: dict[str, tuple[Heartbeat, ...]] = field(default_factory=dict)
    stale_s: float = 0.0
    refused: int = 0
    _losing: list[_Losing] = field(default_factory=list)

    def slow_answers(self, seconds: float, methods: Iterable[str] = ("*",)) -> None:
        """Every call of these methods waits so long before it is taken; 0 ends it."""
        self.slow_s.update(dict.fromkeys(methods, seconds))

    def lose_answers(self, times: int, *, when: Lost = "after", methods: Iterable[str] = ()) -> None:
        """The next so many actions end in LostAnswerError, before or after the cloud has taken them."""
        self._losing.append(_Losing(times, when, frozenset(methods)))

    def refuse_reads(self, times: int) -> None:
        """The next so many reads of any kind are refused, as with a credential that was withdrawn."""
        self.refused = times

    def refuses(self) -> bool:
        """Each refusal is used up once."""
        refused = self.refused > 0
        self.refused -= refused
        return refused

    def stale_reads(self, seconds: float) -> None:
        """`read` shows the domain as it was so long ago; 0 ends it."""
        self.stale_s = seconds

    def never_converges(self, server: ServerId) -> None:
        self.world.server(server)
        self.world.stubborn.add(server)

    def fails(self, server: ServerId, *, why: str = "the copy failed", in_error: bool = False) -> None:
        """The next migration of this server fails after it has copied; `in_error`: the server is in error then."""
        self.world.server(server)
        self.world.doomed[server] = (why, in_error)

    def break_fence(self, host: HostName, *, how: BrokenFence = "ignored") -> None:
        """`ignored`: its controller says yes and does nothing. `error`: it fails, and its power is unknown."""
        self.world.host(host)
        if how not in ("ignored", "error"):
            raise BadInputError("trouble", (FieldError("how", how, "one of ignored, error"),))
        self.broken_fences[host] = how

    def mend_fence(self, host: HostName) -> None:
        self.broken_fences.pop(host, None)

    def silence(self, source: str) -> None:
        """The source says nothing new from now on: its last words stay, with their old times."""
        if source not in self.world.options.heartbeat_sources:
            expected = "one of " + ", ".join(self.world.options.heartbeat_sources)
            raise BadInputError("trouble", (FieldError("source", source, expected),))
        words = hosts.heartbeats(self.world, {})
        self.silent[source] = tuple(word for word in words if word.source == source)

    def hear(self, source: str) -> None:
        self.silent.pop(source, None)

    def delay_of(self, method: str) -> float:
        return self.slow_s.get(method, self.slow_s.get("*", 0.0))

    def loses(self, method: str) -> Lost | None:
        """Whether the answer to this action is lost; each loss is used up once."""
        for losing in self._losing:
            if losing.times > 0 and (not losing.methods or method in losing.methods):
                losing.times -= 1
                return losing.when
        return None

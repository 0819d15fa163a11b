"""Rules about several servers that no counter covers, each judged as a whole: spread, together, licence, near; pure.

`Ends` says on which hosts each member holds resources: one, two during its move, none where it runs nowhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from restow.cloud.model import Unit
from restow.ids import HostName, ServerId

Ends = Mapping[ServerId, tuple[HostName, ...]]
UnitOf = Callable[[HostName, Unit], str]


@dataclass(frozen=True, slots=True)
class Scene:
    """`settled`: where the members are that stay throughout; `held`: all hosts that any member ever holds."""

    settled: Ends
    held: frozenset[HostName]
    unit_of: UnitOf


class GroupRule(Protocol):
    @property
    def rule(self) -> str: ...

    @property
    def servers(self) -> tuple[ServerId, ...]:
        """All members: a move of another server cannot break the rule."""

    @property
    def per(self) -> Unit:
        """A member that moves within one of these changes nothing."""

    def excess(self, ends: Ends, unit_of: UnitOf) -> int:
        """By how much these ends break the rule."""

    def never_breaks(self, scene: Scene) -> bool:
        """Whether no state at all can break it."""


@dataclass(frozen=True, slots=True)
class SpreadRule:
    """In at least `at_least` units, whichever end of a move is counted; one member moves at a time."""

    rule: str
    servers: tuple[ServerId, ...]
    per: Unit
    at_least: int

    def excess(self, ends: Ends, unit_of: UnitOf) -> int:
        units = [frozenset(unit_of(host, self.per) for host in here) for here in ends.values()]
        placed = [one for one in units if one]
        sure = {next(iter(one)) for one in placed if len(one) == 1}
        loose = [one for one in placed if len(one) > 1]  # one member moves at a time, so there is at most one
        standing = len(sure) + (1 if len(loose) == 1 and not loose[0] & sure else 0)  # whichever end is counted
        return max(0, min(self.at_least, len(placed)) - standing)

    def never_breaks(self, scene: Scene) -> bool:
        return len({scene.unit_of(host, self.per) for here in scene.settled.values() for host in here}) >= self.at_least


@dataclass(frozen=True, slots=True)
class TogetherRule:
    """Within one of these sets of hosts."""

    rule: str
    servers: tuple[ServerId, ...]
    sets: tuple[frozenset[HostName], ...]
    per: Unit = "host"

    def excess(self, ends: Ends, unit_of: UnitOf) -> int:  # noqa: ARG002  (as the others; sets are of hosts)
        held = [frozenset(here) for here in ends.values() if here]
        return len(held) - max((sum(here <= one for here in held) for one in self.sets), default=0)

    def never_breaks(self, scene: Scene) -> bool:
        return any(scene.held <= one for one in self.sets)


@dataclass(frozen=True, slots=True)
class LicenceRule:
    """In at most `count` units."""

    rule: str
    servers: tuple[ServerId, ...]
    per: Unit
    count: int

    def excess(self, ends: Ends, unit_of: UnitOf) -> int:
        return max(0, len({unit_of(host, self.per) for here in ends.values() for host in here}) - self.count)

    def never_breaks(self, scene: Scene) -> bool:
        return len({scene.unit_of(host, self.per) for host in scene.held}) <= self.count


@dataclass(frozen=True, slots=True)
class NearRule:
    """`others` stand in each unit in which one of `near` stands; one on its way is company to nobody."""

    rule: str
    near: frozenset[ServerId]
    others: tuple[ServerId, ...]
    per: Unit

    @property
    def servers(self) -> tuple[ServerId, ...]:
        return (*sorted(self.near), *self.others)

    def excess(self, ends: Ends, unit_of: UnitOf) -> int:
        served = set()
        for one in self.others:
            units = {unit_of(host, self.per) for host in ends.get(one, ())}
            served |= units if len(units) == 1 else set()
        return sum(
            any(unit_of(host, self.per) not in served for host in here)
            for one, here in ends.items()
            if one in self.near
        )

    def never_breaks(self, scene: Scene) -> bool:
        served = {scene.unit_of(host, self.per) for one in self.others for host in scene.settled.get(one, ())}
        return served.issuperset(scene.unit_of(host, self.per) for host in scene.held)

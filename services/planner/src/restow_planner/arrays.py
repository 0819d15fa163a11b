"""Rules about several servers as plain arrays: the parts of a Problem; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNLIMITED = 10**12
"""Of a resource, where no rule says how much there is."""
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Reason = tuple[str, str]  # rule, why


@dataclass(frozen=True, slots=True)
class Tally:
    """The unit of each host, the members, and a number: `count` at most in a unit, units at least, units at most."""

    rule: str
    unit: Ints  # (hosts,)
    units: int
    members: tuple[int, ...]
    number: int
    soft: float | None


@dataclass(frozen=True, slots=True)
class SoftTogether:
    """`label`: which of the sets each host belongs to (H,), -1 for none, the first where several do."""

    rule: str
    members: tuple[int, ...]
    label: Ints
    price: float


@dataclass(frozen=True, slots=True)
class Homeless:
    """A hard Together of which no member stands anywhere yet: the first that is placed chooses the set."""

    rule: str
    members: tuple[int, ...]
    sets: tuple[Ints, ...]  # the hosts of each

    def allowed(self, placed: frozenset[int], hosts: int) -> Bools:
        """(H,) the hosts of all sets that hold these hosts."""
        mask = np.zeros(hosts, dtype=bool)
        for one in self.sets:
            if not placed or placed.issubset(one.tolist()):
                mask[one] = True
        return mask


@dataclass(frozen=True, slots=True)
class Nearness:
    """A Near: `servers` stand only in units in which some of `to` stands. Nobody is in both."""

    rule: str
    servers: Tally
    to: Tally

    @property
    def members(self) -> tuple[int, ...]:
        return self.servers.members + self.to.members


@dataclass(frozen=True, slots=True)
class CellRows:
    """NUMA cells: N rows, one for each number of a cell and each resource in it.

    `room`: what that cell of a host has (N, H), without end where the host has no such cell. `away`, `home`: what a
    server takes of each row (N,) on another host, and on that where it is at the start.
    """

    rule: str
    names: tuple[str, ...]
    room: Ints
    away: Mapping[int, Ints]
    home: Mapping[int, Ints]

    def taken(self, server: int, host: int, start: int) -> Ints:
        return (self.home if host == start else self.away)[server]


def named_by(rules: Sequence[Tally | SoftTogether | Homeless | Nearness]) -> dict[int, tuple[int, ...]]:
    """The numbers of the rules that each member is in."""
    found: dict[int, list[int]] = {}
    for index, rule in enumerate(rules):
        for member in rule.members:
            found.setdefault(member, []).append(index)
    return {member: tuple(indices) for member, indices in found.items()}

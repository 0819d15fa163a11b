"""Rules about several servers as plain arrays: the parts of a Problem; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True, eq=False)
class HostSets:
    """Sets of hosts by number: the hosts of each, the sets that each host is in, and the sets that share a host."""

    hosts: tuple[Ints, ...]
    of: Mapping[int, tuple[int, ...]]
    shared: frozenset[int]

    def mask(self, sets: Iterable[int], hosts: int) -> Bools:
        """(H,) the hosts of all these sets."""
        found = np.zeros(hosts, dtype=bool)
        for one in sets:
            found[self.hosts[one]] = True
        return found

    def inside(self, hosts: int) -> Bools:
        """(H,) the hosts that are in any set."""
        found = np.zeros(hosts, dtype=bool)
        found[list(self.of)] = True
        return found

    def total(self, amount: NDArray[Any]) -> Floats:
        """Of each set the sum of what its hosts have (H,)."""
        flat = np.concatenate([*self.hosts, np.zeros(0, dtype=np.int64)])
        number = np.repeat(np.arange(len(self.hosts)), [len(one) for one in self.hosts])
        found: Floats = np.bincount(number, weights=amount[flat], minlength=len(self.hosts)).astype(np.float64)
        return found

    def held(self, standing: Iterable[int]) -> Counter[int]:
        """How many of these hosts, one for each server, are in each set."""
        return Counter(one for host in standing for one in self.of.get(host, ()))


@dataclass(frozen=True, slots=True)
class Homeless:
    """A hard Together whose members share no set at the start, or more than one, or one that its death may empty.

    Which set it is to be shows only as they move. Any other is a row of hosts allowed.
    """

    rule: str
    members: tuple[int, ...]
    sets: HostSets


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

"""Rules about several servers as plain arrays: the parts of a Problem; pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

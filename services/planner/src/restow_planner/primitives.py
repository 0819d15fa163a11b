"""The few words in which all rules speak to the solvers and to the ordering; pure.

A new rule is a new combination of these, never a new branch in a solver.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from restow.cloud.model import Resource, Unit
from restow.ids import HostName, ServerId


@dataclass(frozen=True, slots=True)
class Capacity:
    """The demands of the servers of a host stay within `capacity`; both ends are held during a move.

    A server's demand of `resource` is `server.demand.get(resource, 0)`, or what `demand` says: then `resource` is no
    resource of the cloud, and whoever names it gives the same `demand`. A host that `capacity` does not name has
    none. `soft`: price per unit too many. `held`: the host that a server left keeps its share until all is over, as
    where a copy stays behind or all moves are made at once.
    """

    rule: str
    resource: Resource
    capacity: Mapping[HostName, int]
    soft: float | None = None
    demand: Mapping[ServerId, int] | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """Each of these servers may stand on these hosts only. `soft`: price per server elsewhere."""

    rule: str
    servers: tuple[ServerId, ...]
    hosts: frozenset[HostName]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """No server arrives on these hosts; those that are there may stay. `why` by host."""

    rule: str
    why: Mapping[HostName, str]


@dataclass(frozen=True, slots=True)
class Fixed:
    """These servers stay where they are. `why` by server."""

    rule: str
    why: Mapping[ServerId, str]


@dataclass(frozen=True, slots=True)
class AtMost:
    """At most `count` of these servers in one unit; a server on its way counts at both ends.

    `soft`: price per server too many.
    """

    rule: str
    servers: tuple[ServerId, ...]
    per: Unit
    count: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """These servers stand in at least `at_least` units, whichever end of a move is counted."""

    rule: str
    servers: tuple[ServerId, ...]
    over: Unit
    at_least: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """These servers stand, with both ends of every move, within one of these sets of hosts."""

    rule: str
    servers: tuple[ServerId, ...]
    host_sets: tuple[frozenset[HostName], ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class AtMostUnits:
    """At most `count` units hold any of these servers, with both ends of every move. `soft`: price per unit more."""

    rule: str
    servers: tuple[ServerId, ...]
    per: Unit
    count: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """In each unit where one of `servers` stands, at least one of `to` stands. `soft`: price per server without.

    One of `to` counts where it stands with both ends of its move; who is under both is near itself.
    """

    rule: str
    servers: tuple[ServerId, ...]
    to: tuple[ServerId, ...]
    per: Unit
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Isolated:
    """None of these servers is on a host with one that is not among them. `soft`: price per arrival among such."""

    rule: str
    servers: tuple[ServerId, ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class AtOnce:
    """At most `count` of these servers hold resources on two hosts at the same time."""

    rule: str
    servers: tuple[ServerId, ...]
    count: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Cells:
    """In each NUMA cell of a host there is room for all who may be in it; both ends are held during a move.

    A server on the host where it is at the start claims there, cell by cell, what `at_home` says of it; on any other,
    or where `at_home` does not name it, it claims what `largest` says in every cell. It does not come back.
    """

    rule: str
    cells: Mapping[HostName, tuple[Mapping[Resource, int], ...]]
    largest: Mapping[ServerId, Mapping[Resource, int]]
    at_home: Mapping[ServerId, tuple[Mapping[Resource, int], ...]]


Primitive = (
    Capacity | Allowed | Closed | Fixed | AtMost | Spread | Together | AtMostUnits | Near | Isolated | AtOnce | Cells
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostCost:
    """Each host pays `price` for every unit by which the `amount` of its servers, summed, exceeds `over`.

    Who is not named has 0. An amount may be negative. Several on the same amounts make any convex price: of the share
    above the mean, of its peak. What one resource leaves free while another is used up is priced by
    max(0, target * free(a) - free(b)): amounts b - target * a, over capacity(b) - target * capacity(a).
    """

    rule: str
    amount: Mapping[ServerId, float]
    over: Mapping[HostName, float]
    price: Mapping[HostName, float]


@dataclass(frozen=True, slots=True, eq=False)
class MoveCost:
    """What it costs that servers do not end where they started.

    `price`: of each server that moved. `between` (H, H): from the host in the row to that in the column, in the order
    of the cloud. `set_price`: per move in that of the `sets` in which most moved; sets do not overlap.
    """

    rule: str
    price: Mapping[ServerId, float]
    between: NDArray[np.float64] | None = None
    sets: tuple[tuple[ServerId, ...], ...] = ()
    set_price: float = 0.0


Price = HostCost | MoveCost
"""What is to be low, where primitives say what must hold."""

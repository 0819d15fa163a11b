"""What a rearrangement is about, as arrays: places, classes of alike items, a shape, and what may be spent; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restow_planner.problem import Bools, Floats, Ints

STATES_MAX = 2_048
"""States of one resource on one node in a table of bounds; finer resources are rounded, to the safe side."""


@dataclass(frozen=True, slots=True)
class Stock:
    """H hosts of N nodes each, R resources, C classes of alike items, B budgets.

    A narrow item takes its size on one node, a wide one on every node of its host. `on` counts the items that may
    go; what may not is already taken off `free`. A node with less than nothing free may not get worse.
    """

    free: Ints  # (H, N, R)
    size: Ints  # (C, R)
    wide: Bools  # (C,)
    on: Ints  # (H, N, C), wide items on node 0
    allowed: Bools  # (C, H), where items of the class may arrive
    shape: Ints  # (R,), of a slot
    spent: Ints  # (B, C), what the departure of one item takes of each budget
    budget: Ints  # (B,)

    def slots(self, free: Ints) -> Ints:
        """Slots of each node (...) for what is free there (..., R)."""
        wanted = self.shape > 0
        found: Ints = (np.maximum(free[..., wanted], 0) // self.shape[wanted]).min(axis=-1)
        return found


@dataclass(frozen=True, slots=True)
class Kinds:
    """K kinds of hosts: alike in room, items and what may arrive. `of` (H,) is each host's kind.

    `order` (H, N): the node of the host that stands for each node of its kind. `room` (K, N, R) is what would be
    free without any item that may go, `debt` (K, N, R) how much of it is not there: a start over capacity.
    """

    of: Ints
    order: Ints
    count: Ints  # (K,)
    room: Ints
    debt: Ints
    on: Ints  # (K, N, C)
    allowed: Bools  # (C, K)
    slots: Ints  # (K,), at the start

    @classmethod
    def sorted_out(cls, stock: Stock) -> "Kinds":
        """Hosts that differ only in the order of their nodes are of one kind."""
        hosts, nodes, _ = stock.free.shape
        narrow = np.flatnonzero(~stock.wide)
        keys: dict[tuple[bytes, ...], int] = {}
        of = np.empty(hosts, dtype=np.int64)
        order = np.empty((hosts, nodes), dtype=np.int64)
        first: list[int] = []
        for host in range(hosts):
            each = [(tuple(stock.free[host, n]), tuple(stock.on[host, n, narrow])) for n in range(nodes)]
            order[host] = sorted(range(nodes), key=each.__getitem__)
            wide = stock.on[host, 0, stock.wide]
            arranged = stock.free[host, order[host]].tobytes(), stock.on[host][order[host]][:, narrow].tobytes()
            key = (*arranged, wide.tobytes(), stock.allowed[:, host].tobytes())
            if key not in keys:
                keys[key] = len(first)
                first.append(host)
            of[host] = keys[key]
        free = np.take_along_axis(stock.free[first], order[first][:, :, None], axis=1)
        on = np.take_along_axis(stock.on[first], order[first][:, :, None], axis=1)
        on[:, :, stock.wide] = 0
        on[:, 0, stock.wide] = stock.on[first][:, 0, stock.wide]
        debt = np.maximum(-free, 0)
        out = on @ np.where(stock.wide[:, None], 0, stock.size)
        out += on[:, :1] @ np.where(stock.wide[:, None], stock.size, 0)
        return cls(
            of=of,
            order=order,
            count=np.bincount(of, minlength=len(first)),
            room=free + debt + out,
            debt=debt,
            on=on,
            allowed=stock.allowed[:, first],
            slots=stock.slots(free).sum(axis=1),
        )


@dataclass(frozen=True, slots=True)
class Aim:
    """`reward` for each slot that counts, no more than `slots` of them, and `cost` of each departure."""

    reward: float
    cost: float
    slots: int


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid for a slot more, for an `item` (C,) less, and for a unit of each `budget` (B,)."""

    slot: float
    item: Floats
    budget: Floats

    @classmethod
    def guessed(cls, stock: Stock) -> "Prices":
        """An item is worth the part of a slot that it takes, a move half a slot."""
        part = (stock.size / np.maximum(stock.shape, 1))[:, stock.shape > 0].max(axis=1, initial=0.0)
        nodes = np.where(stock.wide, stock.free.shape[1], 1)
        return cls(1.0, -part * nodes, 0.5 / np.maximum(stock.spent.max(axis=1, initial=1), 1))

    def mixed(self, other: "Prices", share: float) -> "Prices":
        """So much of these, the rest of the others."""
        rest = 1.0 - share
        return Prices(
            share * self.slot + rest * other.slot,
            share * self.item + rest * other.item,
            share * self.budget + rest * other.budget,
        )


@dataclass(frozen=True, slots=True)
class Patterns:
    """L ways to fill hosts: of which kind, and how many of each class stand on each node in the end."""

    kind: Ints  # (L,)
    final: Ints  # (L, N, C), wide items on node 0
    value: Floats  # (L,)

    @classmethod
    def joined(cls, parts: Sequence["Patterns"]) -> "Patterns":
        """At least one part."""
        kind, final, value = (
            np.concatenate([getattr(one, name) for one in parts]) for name in ("kind", "final", "value")
        )
        return cls(kind, final, value)

    def best(self, width: int) -> "Patterns":
        """The most valuable of each kind, at most so many."""
        order = best_of_each(self.kind, self.value, width)
        return Patterns(self.kind[order], self.final[order], self.value[order])

    def __len__(self) -> int:
        return len(self.kind)


def best_of_each(kind: Ints, value: Floats, width: int) -> Ints:
    """The indices of the `width` most valuable of each kind."""
    order: Ints = np.lexsort((-value, kind))
    starts = np.flatnonzero(np.diff(kind[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    found: Ints = order[rank < width]
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """One decision: how many of this class stand on this node in the end (`node` None: on all of them)."""

    item: int
    node: int | None


def staged(stock: Stock) -> tuple[Stage, ...]:
    """Wide classes first, then node by node; the largest first."""
    weight = stock.size / np.maximum(stock.free.max(axis=(0, 1), initial=1), 1)
    by_size: Sequence[int] = sorted(range(len(stock.size)), key=lambda one: (-float(weight[one].max()), one))
    wide = [Stage(one, None) for one in by_size if stock.wide[one]]
    narrow = [one for one in by_size if not stock.wide[one]]
    return (*wide, *(Stage(one, node) for node in range(stock.free.shape[1]) for one in narrow))

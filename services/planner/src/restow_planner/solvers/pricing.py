"""Which patterns of a host are worth their price: tables of bounds for every kind of host at once, then a search; pure.

The table of a resource is the bounded knapsack that knows this resource only (Bellman's recursion, max-plus), so with
several resources it bounds what can still come; with one it is exact, and the search never turns back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from restow_planner.problem import Bools, Floats, Ints
from restow_planner.solvers.stock import STATES_MAX, Kinds, Patterns, Prices, Stage, Stock, best_of_each, staged

LABELS_MAX = 200_000
"""Partly filled hosts that a search holds at once before it gives up."""
TINY = 1e-9


@dataclass(slots=True)
class Pricing:
    stock: Stock
    kinds: Kinds
    stages: tuple[Stage, ...] = field(init=False)
    resources: list[int] = field(init=False)
    unit: Ints = field(init=False)  # (R,)
    prices: Prices = field(init=False)
    cost: float = field(init=False)
    _wide: dict[int, list[Floats]] = field(init=False)
    """By resource: (K, states) the best that can still come before each wide class, and after them all."""
    _narrow: dict[int, list[Floats]] = field(init=False)
    """By resource: (K, N, states) the same on one node before each narrow class, and after them all."""

    def __post_init__(self) -> None:
        self.stages = staged(self.stock)
        self.resources = _binding(self.stock, self.kinds)
        unit = []
        for resource in range(len(self.stock.shape)):
            common = int(np.gcd.reduce([*self.stock.size[:, resource], self.stock.shape[resource]])) or 1
            states = int(self.kinds.room[:, :, resource].max(initial=0)) // common + 1
            unit.append(common * -(-states // STATES_MAX))
        self.unit = np.array(unit, dtype=np.int64)

    # -- the tables -----------------------------------------------------------------------------------

    def charge(self, prices: Prices, cost: float) -> Floats:
        """Fill the tables for these prices; `cost` is that of a departure, besides the budgets.

        (K,) no pattern of the kind is worth more than this, its slots included.
        """
        self.prices, self.cost = prices, cost
        self._wide, self._narrow = {}, {}
        bounds = [self._fill(resource) for resource in self.resources]
        found: Floats = np.min(bounds, axis=0)
        return found

    def _fill(self, resource: int) -> Floats:
        kinds = self.kinds
        room = kinds.room[:, :, resource] // self.unit[resource]
        top = int(room.max(initial=0))
        tables = [self._slots(resource, top)]
        for stage in reversed(self.stages):
            if stage.node == 0:
                tables.append(self._step(tables[-1], stage.item, resource, kinds.on[:, :, stage.item]))
        self._narrow[resource] = tables[::-1]
        state = room[:, :, None] - top + np.arange(top + 1)
        each = np.take_along_axis(tables[-1], np.maximum(state, 0), axis=2)
        totals: list[Floats] = [np.where(state >= 0, each, -np.inf).sum(axis=1)]
        for stage in reversed(self.stages):
            if stage.node is None:
                totals.append(self._step(totals[-1], stage.item, resource, kinds.on[:, 0, stage.item]))
        self._wide[resource] = totals[::-1]
        return totals[-1][:, top]

    def _slots(self, resource: int, top: int) -> Floats:
        """(K, N, states) the price of the slots at most there when all is filled, by what is left of the resource."""
        kinds, unit, wanted = self.kinds, int(self.unit[resource]), self.stock.shape > 0
        most = self.stock.slots(kinds.room - kinds.debt)[:, :, None]
        found = np.broadcast_to(most, (*most.shape[:2], top + 1))
        if wanted[resource]:
            exact = not (self.stock.size[:, resource] % unit).any()
            odd = kinds.room[:, :, resource] % unit if exact else np.full(most.shape[:2], unit - 1)
            left = np.arange(top + 1) * unit + (odd - kinds.debt[:, :, resource])[:, :, None]
            found = np.minimum(np.maximum(left, 0) // self.stock.shape[resource], most)
        return self.prices.slot * found.astype(np.float64)

    def _step(self, ahead: Floats, item: int, resource: int, on: Ints) -> Floats:
        """The best over how many of the class stand there in the end; `ahead` is (..., states), `on` is (...)."""
        size = int(self.stock.size[item, resource] // self.unit[resource])
        leave, come = self._worth(item)
        may = self.kinds.allowed[item].reshape(-1, *[1] * (on.ndim - 1)) & (come > 0)
        if size == 0:  # rounded to nothing: only the number of items that fit at all is known
            most = self._most(item)
            change = np.maximum(
                leave * on,
                np.where(may, come * np.maximum(most.reshape(-1, 1)[:, :1] if on.ndim > 1 else most, 0), 0.0),
            )
            grown: Floats = ahead + np.maximum(change, 0.0)[..., None]
            return grown
        states = ahead.shape[-1]
        most_on = int(on.max(initial=0))
        at = np.arange(states + most_on * size) - (on * size)[..., None]
        stay = np.take_along_axis(ahead, np.clip(at, 0, states - 1), axis=-1)
        stay[(at < 0) | (at >= states)] = -np.inf
        best: Floats = stay[..., :states].copy()
        come_to = best.copy()
        for number in range(1, most_on + 1):
            fewer = stay[..., number * size : number * size + states] + leave * number
            np.maximum(best, fewer, out=best, where=(on >= number)[..., None])
        if may.any():
            number = 1
            while number * size < states:
                step = number * size
                come_to[..., step:] = np.maximum(come_to[..., step:], come_to[..., :-step] + come * number)
                number *= 2
            np.maximum(best, come_to, out=best, where=may[..., None])
        return best

    def _most(self, item: int) -> Floats:
        """(K,) how many items of the class a node could hold at most."""
        size = self.stock.size[item]
        if not size.any():
            return np.full(len(self.kinds.room), float(self.stock.on[:, :, item].sum()))
        found: Floats = (self.kinds.room[..., size > 0] // size[size > 0]).min(axis=2).max(axis=1).astype(np.float64)
        return found

    def _worth(self, item: int) -> tuple[float, float]:
        """What one item that leaves, and one that comes, is worth."""
        price = float(self.prices.item[item])
        return price - self.cost - float(self.prices.budget @ self.stock.spent[:, item]), -price

    # -- the search -----------------------------------------------------------------------------------

    def patterns(
        self,
        floor: Floats,
        *,
        width: int | None = None,
        best_only: bool = False,
        most: int = LABELS_MAX,
        over: Callable[[], bool] = lambda: False,
    ) -> Patterns | None:
        """Patterns worth more than `floor` (K,) at the prices charged, slots included.

        All of them, or None where they are more than `most` or the time is over; of those that come to the same in
        the master, one. `width`: only so many a kind, those of the highest bound. `best_only`: of those that leave
        the same room behind, the most valuable one.
        """
        labels = _Labels.roots(self.kinds)
        found = []
        waiting = [labels.where(floor < np.inf)]
        while waiting:
            labels = waiting.pop()
            grown = self._all_grown(labels, floor, width, over, best_only=best_only)
            if grown is not None:
                found.append(grown)
                if sum(len(one) for one in found) > most:
                    return None
            elif over() or len(labels.kind) == 1:
                return None
            else:
                middle = np.arange(len(labels.kind)) < len(labels.kind) // 2
                waiting += [labels.where(~middle), labels.where(middle)]
        return Patterns.joined(found)

    def _all_grown(
        self, labels: "_Labels", floor: Floats, width: int | None, over: Callable[[], bool], *, best_only: bool
    ) -> Patterns | None:
        for index, stage in enumerate(self.stages):
            if over():
                return None
            grown = self._grown(labels, index, stage, floor, width)
            if grown is None:
                return None
            labels = grown
            if width is None and (best_only or (stage.node is not None and stage.node > 0)):
                labels = grown.undominated(None if best_only else self._effect(grown))
        free = labels.left - self.kinds.debt[labels.kind]
        value = labels.value + self.prices.slot * self.stock.slots(free).sum(axis=1)
        good = value > floor[labels.kind]
        return Patterns(labels.kind[good], labels.final[good], value[good])

    def _effect(self, labels: "_Labels") -> Ints:
        """(L, C + B) what the master will see of the choices so far; what is not yet chosen counts alike for all."""
        gone = np.maximum(self.kinds.on[labels.kind] - labels.final, 0).sum(axis=1)
        effect: Ints = np.column_stack((labels.final.sum(axis=1), gone @ self.stock.spent.T))
        return effect

    def _grown(self, labels: "_Labels", index: int, stage: Stage, floor: Floats, width: int | None) -> "_Labels | None":
        kinds, size = self.kinds, self.stock.size[stage.item]
        nodes = slice(None) if stage.node is None else slice(stage.node, stage.node + 1)
        on = kinds.on[labels.kind, stage.node or 0, stage.item]
        taken = size > 0
        if taken.any():
            fit = (labels.left[:, nodes][..., taken] // size[taken]).min(axis=(1, 2))
        else:
            fit = np.full(len(on), self.stock.on[:, :, stage.item].sum())
        fit = np.where(kinds.allowed[stage.item, labels.kind], fit, np.minimum(fit, on))
        if width is None and int((fit + 1).sum()) > LABELS_MAX:
            return None
        number = np.arange(int(fit.max(initial=0)) + 1)
        parent, count = np.nonzero(number <= fit[:, None])
        leave, come = self._worth(stage.item)
        change = count - on[parent]
        value = labels.value[parent] + np.where(change > 0, come * change, -leave * change)
        left = labels.left[parent]
        left[:, nodes] -= count[:, None, None] * size
        kind = labels.kind[parent]
        bound = value + self._ahead_of(index, kind, left)
        good = np.flatnonzero(bound > floor[kind])
        if width is not None:
            good = good[best_of_each(kind[good], bound[good], width)]
        final = labels.final[parent[good]]
        final[:, stage.node or 0, stage.item] = count[good]
        return _Labels(kind[good], left[good], value[good], final)

    def _ahead_of(self, index: int, kind: Ints, left: Ints) -> Floats:
        """(L,) the most that the stages after this one can add, the price of the slots included."""
        stage, found = self.stages[index], np.full(len(kind), np.inf)
        for resource in self.resources:
            if stage.node is None:
                table = self._wide[resource][index + 1]
                used = (self.kinds.room[kind, 0, resource] - left[:, 0, resource]) // self.unit[resource]
                more = table[kind, table.shape[1] - 1 - used]
            else:
                tables, more = self._narrow[resource], np.zeros(len(kind))
                done = (index - len(self._wide[resource]) + 1) % (len(tables) - 1) + 1
                for node in range(left.shape[1]):
                    table = tables[-1 if node < stage.node else done if node == stage.node else 0]
                    more += table[kind, node, left[:, node, resource] // self.unit[resource]]
            np.minimum(found, more, out=found)
        return found


@dataclass(frozen=True, slots=True)
class _Labels:
    """L partly filled hosts: what is left of their room (L, N, R), and what they are worth without their slots."""

    kind: Ints
    left: Ints
    value: Floats
    final: Ints  # (L, N, C)

    @classmethod
    def roots(cls, kinds: Kinds) -> "_Labels":
        return cls(np.arange(len(kinds.count)), kinds.room.copy(), np.zeros(len(kinds.count)), np.zeros_like(kinds.on))

    def where(self, mask: Bools | Ints) -> "_Labels":
        return _Labels(self.kind[mask], self.left[mask], self.value[mask], self.final[mask])

    def undominated(self, effect: Ints | None) -> "_Labels":
        """Of labels that leave the same room (and had the same `effect`, if that matters) the most valuable one."""
        left = [self.left[:, node] for node in range(self.left.shape[1])]
        rows = np.column_stack((self.kind, *left, *([] if effect is None else [effect])))
        order = np.argsort(-self.value, kind="stable")
        _, first = np.unique(rows[order], axis=0, return_index=True)
        return self.where(np.sort(order[first]))


def _binding(stock: Stock, kinds: Kinds) -> list[int]:
    """The resources that can bind at all: not those that are slack wherever another one is kept."""
    found = list(range(len(stock.shape)))
    for slack in reversed(range(len(stock.shape))):
        for tight in found:
            if tight != slack and slack in found and _keeps_slack(stock, kinds, tight=tight, slack=slack):
                found.remove(slack)
    return found


def _keeps_slack(stock: Stock, kinds: Kinds, *, tight: int, slack: int) -> bool:
    """Whether on every node what fits by `tight` fits by `slack`: no class has more of it than its part."""
    room = kinds.room
    if (kinds.debt[..., slack] > 0).any():
        return False
    sizes = stock.size[:, [tight, slack]].astype(float)
    fits = (sizes[:, 1] * room[..., tight, None] <= sizes[:, 0] * room[..., slack, None]).all()
    if not fits or stock.shape[slack] == 0:
        return bool(fits)
    if stock.shape[tight] == 0:
        return False
    full = room[..., slack] * float(stock.shape[tight]) >= room[..., tight] * float(stock.shape[slack])
    return bool(full.all())

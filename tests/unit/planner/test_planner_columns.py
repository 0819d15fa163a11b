"""Column generation against every arrangement there is, on instances small enough to try them all."""

import time
from random import Random

import numpy as np
import pytest

from restow_planner.solvers.columns import rearranged
from restow_planner.solvers.stock import Stock

PLENTY = 10_000


def a_stock(capacity, items, *, shape, moves, size, wide=None, allowed=None, memory=None, unmovable=None):
    """`items`: (class, host, node) each; `memory`: a second budget, charged by the second resource of what leaves."""
    capacity, size = np.array(capacity), np.array(size)
    wide = np.zeros(len(size), dtype=bool) if wide is None else np.array(wide)
    on = np.zeros((*capacity.shape[:2], len(size)), dtype=np.int64)
    free = capacity.copy()
    for item, host, node in items:
        on[host, 0 if wide[item] else node, item] += 1
        free[host, slice(None) if wide[item] else node] -= size[item]
    for host, node, amount in unmovable or ():
        free[host, node] -= amount
    spent, budget = [np.ones(len(size), dtype=np.int64)], [moves]
    if memory is not None:
        spent, budget = [*spent, size[:, 1]], [*budget, memory]
    everywhere = np.ones((len(size), len(capacity)), dtype=bool)
    return Stock(
        free=free, size=size, wide=wide, on=on, allowed=everywhere if allowed is None else np.array(allowed),
        shape=np.array(shape), spent=np.array(spent), budget=np.array(budget),
    )  # fmt: skip


def free_after(stock, final):
    """(H, N, R), item by item, nothing of the solver's own."""
    free = stock.free.copy()
    for host, node, item in np.ndindex(*final.shape):
        more = final[host, node, item] - stock.on[host, node, item]
        free[host, slice(None) if stock.wide[item] else node] -= more * stock.size[item]
    return free


def slots(stock, free):
    wanted = stock.shape > 0
    return int((np.maximum(free[..., wanted], 0) // stock.shape[wanted]).min(axis=-1).sum())


def departures(stock, final):
    return np.maximum(stock.on - final, 0).sum(axis=(0, 1))


def assert_obeys(stock, found):
    free = free_after(stock, found.final)
    assert (found.final >= 0).all()
    assert (found.final.sum(axis=(0, 1)) == stock.on.sum(axis=(0, 1))).all(), "an item was lost or made"
    assert (free >= np.minimum(stock.free, 0)).all(), "a node is overfull"
    assert (stock.spent @ departures(stock, found.final) <= stock.budget).all(), "a budget is overspent"
    assert (stock.allowed.T[:, None, :] | (found.final <= stock.on)).all(), "an item came where it may not"
    assert not (found.final[:, 1:, stock.wide]).any()
    assert slots(stock, free) - slots(stock, stock.free) >= found.gain
    assert found.departures == departures(stock, found.final).sum()


def best_of_all(stock):
    """The most slots that can be gained, and the fewest departures for them: every arrangement is looked at."""
    hosts, nodes, _ = stock.free.shape
    items = [item for *_, item in np.argwhere(stock.on) for _ in range(1)]
    start = [
        (item, host, node) for host, node, item in np.argwhere(stock.on) for _ in range(stock.on[host, node, item])
    ]
    places = [
        [(h, n) for h in range(hosts) for n in range(1 if stock.wide[item] else nodes)
         if stock.allowed[item, h] or (h, n) == (host, node)]
        for item, host, node in start
    ]  # fmt: skip
    assert items or not start
    picks = np.indices([len(one) for one in places]).reshape(len(start), -1)
    free = np.broadcast_to(stock.free, (picks.shape[1], *stock.free.shape)).copy()
    gone = np.zeros((picks.shape[1], len(stock.size)), dtype=np.int64)
    rows = np.arange(picks.shape[1])
    for (item, host, node), choices, pick in zip(start, places, picks, strict=True):
        target = np.array(choices)[pick]
        away = (target != (host, node)).any(axis=1)
        gone[away, item] += 1
        if stock.wide[item]:
            free[:, host] += stock.size[item]
            free[rows, target[:, 0]] -= stock.size[item]
        else:
            free[:, host, node] += stock.size[item]
            free[rows, target[:, 0], target[:, 1]] -= stock.size[item]
    good = (free >= np.minimum(stock.free, 0)).all(axis=(1, 2, 3)) & (gone @ stock.spent.T <= stock.budget).all(axis=1)
    wanted = stock.shape > 0
    total = (np.maximum(free[..., wanted], 0) // stock.shape[wanted]).min(axis=-1).sum(axis=(1, 2))
    most = int(total[good].max())
    return most - slots(stock, stock.free), int(gone[good & (total == most)].sum(axis=1).min())


def a_random_stock(seed, *, resources=1, nodes=1, over=False):
    random = Random(seed)
    hosts = random.randint(2, 4 if nodes == 1 else 2)
    size = [[random.randint(1, 5), random.randint(0, 6)][:resources] for _ in range(random.randint(2, 4))]
    wide = [nodes > 1 and random.random() < 0.4 for _ in size]
    capacity = [[[random.randint(5, 9) for _ in range(resources)] for _ in range(nodes)] for _ in range(hosts)]
    free, items = np.array(capacity), []
    for _ in range(40):
        item, host, node = random.randrange(len(size)), random.randrange(hosts), random.randrange(nodes)
        where = (host, slice(None)) if wide[item] else (host, node)
        if len(items) < 6 and (free[where] >= size[item]).all():
            free[where] -= size[item]
            items.append((item, host, 0 if wide[item] else node))
    return a_stock(
        capacity, items, size=size, wide=wide,
        shape=[random.randint(2, 4), random.choice((0, 2, 3))][:resources],
        moves=random.choice((1, 2, 3, 4, 6)),
        memory=random.randint(2, 16) if resources > 1 and random.random() < 0.3 else None,
        allowed=[[random.random() < 0.8 for _ in range(hosts)] for _ in size],
        unmovable=[(random.randrange(hosts), 0, random.randint(1, 5))] if over else None,
    )  # fmt: skip


def solved(stock, *, seconds=10.0, **options):
    ends = time.monotonic() + seconds
    return rearranged(stock, left=lambda: ends - time.monotonic(), seed=1, **options)


@pytest.mark.parametrize("kind", [{}, {"nodes": 2}, {"resources": 2}, {"resources": 2, "nodes": 2}, {"over": True}])
def test_no_arrangement_at_all_has_more_slots(kind):
    gains = 0
    for seed in range(60):
        stock = a_random_stock(seed, **kind)
        found = solved(stock)
        assert_obeys(stock, found)
        most, fewest = best_of_all(stock)
        assert (found.gain, found.bound, found.proven) == (most, most, True), seed
        assert found.departures == (fewest if most else 0), seed
        gains += most
    assert gains > 10, "these instances ask for nothing"

"""Column generation against every arrangement there is, on instances small enough to try them all."""

import time
from random import Random

import numpy as np
import pytest

from restow_planner.deadline import REFUSED, Clock, Deadline
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


def best_of_all(stock, wanted=PLENTY):
    """The most slots that can be gained of those wanted, and the fewest departures for them, by trying everything."""
    hosts, nodes, _ = stock.free.shape
    start = [
        (item, host, node) for host, node, item in np.argwhere(stock.on) for _ in range(stock.on[host, node, item])
    ]
    places = [
        [(h, n) for h in range(hosts) for n in range(1 if stock.wide[item] else nodes)
         if stock.allowed[item, h] or (h, n) == (host, node)]
        for item, host, node in start
    ]  # fmt: skip
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
    shaped = stock.shape > 0
    total = (np.maximum(free[..., shaped], 0) // stock.shape[shaped]).min(axis=-1).sum(axis=(1, 2))
    most = min(int(total[good].max()), slots(stock, stock.free) + wanted)
    return most - slots(stock, stock.free), int(gone[good & (total >= most)].sum(axis=1).min())


def a_random_stock(seed, *, resources=1, nodes=1, over=False, fine=False):
    """A few items on a few hosts. `fine`: amounts so large and odd that the tables of bounds round them."""
    random = Random(seed)
    hosts = random.randint(2, 4 if nodes == 1 else 2)
    size = [[random.randint(1, 5), random.randint(0, 6)][:resources] for _ in range(random.randint(2, 4))]
    wide = [nodes > 1 and random.random() < 0.4 for _ in size]
    capacity = [[[random.randint(5, 9) for _ in range(resources)] for _ in range(nodes)] for _ in range(hosts)]
    shape = [random.randint(2, 4), random.choice((0, 2, 3))][:resources]
    if fine:
        size, shape = (np.array(one) * 997 for one in (size, shape))
        size += np.array([[random.randint(0, 40) for _ in row] for row in size])
        capacity = np.array(capacity) * 1009
    free, items = np.array(capacity), []
    for _ in range(40):
        item, host, node = random.randrange(len(size)), random.randrange(hosts), random.randrange(nodes)
        where = (host, slice(None)) if wide[item] else (host, node)
        if len(items) < 6 and (free[where] >= size[item]).all():
            free[where] -= size[item]
            items.append((item, host, 0 if wide[item] else node))
    return a_stock(
        capacity, items, size=size, wide=wide, shape=shape,
        moves=random.choice((1, 2, 3, 4, 6)),
        memory=random.randint(2, 16) if resources > 1 and not fine and random.random() < 0.3 else None,
        allowed=[[random.random() < 0.8 for _ in range(hosts)] for _ in size],
        unmovable=[(random.randrange(hosts), 0, random.randint(1, 5))] if over else None,
    )  # fmt: skip


def a_large_stock(*, hosts=120, resources=2, seed=1):
    """Two nodes a host, odd sizes; with two resources, both bind: more than a second's work."""
    random = np.random.default_rng(seed)
    size = np.column_stack((random.integers(1, 17, 12), random.integers(500, 9_000, 12)))
    wide = np.arange(12) % 3 == 0
    on = random.integers(0, 2, (hosts, 2, 12)) * random.integers(0, 3, (hosts, 2, 12))
    on[:, 1, wide] = 0
    free = np.column_stack((random.integers(0, 16, 2 * hosts), random.integers(0, 6_000, 2 * hosts)))
    return Stock(
        free=free.reshape(hosts, 2, 2)[..., :resources], size=size[:, :resources], wide=wide, on=on,
        allowed=np.ones((12, hosts), dtype=bool),
        shape=np.array([16, 4_000])[:resources], spent=np.ones((1, 12), dtype=np.int64), budget=np.array([40]),
    )  # fmt: skip


def solved(stock, *, seconds=10.0, **options):
    return rearranged(stock, deadline=Deadline.after(seconds), seed=1, **options)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"nodes": 2},
        {"resources": 2},
        {"resources": 2, "nodes": 2},
        {"over": True},
        {"fine": True, "resources": 2, "nodes": 2},
    ],
    ids=str,
)
def test_no_arrangement_at_all_has_more_slots_or_as_many_by_fewer_moves(kind):
    gains = 0
    for seed in range(50):
        stock = a_random_stock(seed, **kind)
        found = solved(stock)
        assert_obeys(stock, found)
        most, fewest = best_of_all(stock)
        assert (found.gain, found.bound, found.proven) == (most, most, True), seed
        assert found.departures == (fewest if most else 0), seed
        gains += most
    assert gains > 5, "these instances ask for nothing"


def test_no_more_slots_are_made_than_are_wanted_and_no_more_is_moved_for_them():
    fewer = 0
    for seed in range(40):
        stock = a_random_stock(seed, nodes=1 + seed % 2)
        found = solved(stock, wanted=1)
        assert_obeys(stock, found)
        most, fewest = best_of_all(stock, wanted=1)
        assert (found.gain, found.bound, found.departures) == (most, most, fewest if most else 0), seed
        fewer += best_of_all(stock)[0] > 1
    assert fewer, "more than one slot could be had nowhere"


@pytest.mark.parametrize("looks", [*range(14), 17, 20, 25, 30, 40])
def test_wherever_the_time_ends_the_answer_obeys_and_the_bound_holds(looks):
    for seed in (3, 9, 21):
        stock = a_random_stock(seed, resources=2, nodes=2)
        refused = [[grant, REFUSED] for grant in range(looks // 7, 20)]
        deadline = Deadline.after(10.0, Clock.again({"over": [looks], "halved": refused}))
        found = rearranged(stock, deadline=deadline, seed=1)
        assert_obeys(stock, found)
        assert found.gain <= best_of_all(stock)[0] <= found.bound


def test_an_answer_comes_when_the_time_is_over():
    stock = a_large_stock()
    begun = time.process_time()
    found = solved(stock, seconds=1.0)
    assert time.process_time() - begun < 1.5
    assert_obeys(stock, found)
    assert found.gain <= found.bound


def test_the_same_stock_has_the_same_answer():
    stock = a_large_stock(hosts=40, resources=1)
    found = solved(stock, seconds=60.0)
    assert found.proven
    assert (solved(stock, seconds=60.0).final == found.final).all()


def test_two_hosts_that_differ_in_the_order_of_their_nodes_only_are_both_understood():
    stock = a_stock(
        [[[8], [8]], [[8], [8]]], [(0, 0, 0), (1, 0, 1), (1, 1, 0), (0, 1, 1)], size=[[2], [6]], shape=[8], moves=1
    )
    found = solved(stock)
    assert_obeys(stock, found)
    assert (found.gain, found.departures, found.proven) == (1, 1, True)
    assert [move.source != move.target for move in found.moves()] == [True]


def test_a_slot_that_fits_to_the_last_unit_is_seen_through_rounded_tables():
    stock = a_stock([[[4_001]], [[4_003]]], [(0, 0, 0)], size=[[3]], shape=[4_001], moves=1, unmovable=[(1, 0, 3_990)])
    assert solved(stock).gain == 1

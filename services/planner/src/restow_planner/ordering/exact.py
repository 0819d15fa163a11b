"""The cheapest sequence, or a proof that there is none: A* over placements, cost = MiB of memory moved; pure.

The estimate of what is left (`Grid.left` and `Grid.detours`) never says too much, so the first arrival is the optimum.
The dear part of it is asked for late, only of nodes that are about to be opened, and of what may follow a node only
what is as cheap as the node itself is looked at: the node waits for its turn with the rest (partial expansion:
Yoshizumi, Miura and Ishida, 2000). An exhausted search that left nobody and no host out is a proof.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from restow.ids import ServerId
from restow_planner.deadline import Deadline
from restow_planner.ordering.grid import NEVER, Grid, Placement, Step

LOOKS = 50  # nodes between two looks at the clock
INFINITE = float("inf")
NODES_MAX = 1_000_000  # whatever the time limit: what is remembered of each costs memory


@dataclass(frozen=True, slots=True)
class Found:
    """`optimal`: no sequence of the servers and hosts searched moves less memory."""

    moves: tuple[Step, ...]
    optimal: bool


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Every placement that can be reached was looked at. `stuck`: who is not served in the best of them."""

    stuck: tuple[ServerId, ...]


@dataclass(frozen=True, slots=True)
class OutOfNodes:
    """`stuck`: who is not served in the best placement that was seen."""

    stuck: tuple[ServerId, ...]


def search(
    grid: Grid,
    *,
    nodes_max: int,
    weight: float = 1.0,
    cost_max: float = INFINITE,
    deadline: Deadline | None = None,
) -> Found | Exhausted | OutOfNodes:
    """Walk from the start to the targets. `weight` > 1 is faster and not optimal.

    Nodes dearer than `cost_max` MiB are dropped: then an exhausted search proves only that nothing cheaper exists.
    `nodes_max`: placements judged.
    """
    opened = count(0, -1)  # of equals, the newest first
    origin = grid.canonical(grid.origin)
    memory, goal = grid.memory, grid.goal
    left = grid.left(origin)
    # estimate of the whole way; left; age; MiB spent; the estimate up to which its followers are known, -1: not judged
    heap: list[tuple[float, int, int, int, float, Placement]] = [(weight * left, left, next(opened), 0, -1.0, origin)]
    cost: dict[Placement, int] = {origin: 0}
    came: dict[Placement, tuple[Placement, int, int]] = {}
    best: tuple[float, Placement] = (INFINITE, origin)
    nodes, nodes_max = 0, min(nodes_max, NODES_MAX)
    while heap:
        value, left, _, spent, known, here = heapq.heappop(heap)
        if spent > cost[here]:
            continue
        if left == 0:
            return Found(tuple(_way(came, here)), optimal=weight == 1.0)
        nodes += 1
        if nodes > nodes_max or (deadline is not None and not nodes % LOOKS and deadline.over()):
            return OutOfNodes(grid.stuck(best[1]))
        free = grid.free(here)
        if known < 0:
            rest = left + grid.detours(here, free)
            if rest >= NEVER or spent + rest >= cost_max:
                continue
            if rest < best[0]:
                best = (rest, here)
            known = 0.0
            if spent + weight * rest > value:
                value = spent + weight * rest
                if heap and value > heap[0][0]:
                    heapq.heappush(heap, (value, left, next(opened), spent, 0.0, here))
                    continue
        moves = grid.moves(here, free) if known == 0 else []
        # A parking costs its own memory, and what is undone where the server was on its target.
        later, due, base = INFINITE, [], spent + weight * left
        for index, (at, wanted) in enumerate(zip(here, goal, strict=True)):
            guess = base + (memory[index] if at != wanted else (1 + weight) * memory[index])
            if guess > value:
                later = min(later, guess)
            elif guess > known:
                due.append(index)
        moves += grid.parkings(here, free, due)
        for index, host in moves:
            at, wanted, carried = here[index], goal[index], memory[index]
            rest = left + (carried if at == wanted else 0) - (carried if host == wanted else 0)
            total = spent + carried
            if total + rest >= cost_max:
                continue
            there = grid.after(here, index, host)
            if total >= cost.get(there, NEVER):
                continue
            cost[there] = total
            came[there] = (here, index, host)
            # With weight 1 the estimate of the node before holds for what follows it.
            guess = value if weight == 1.0 else total + weight * rest
            heapq.heappush(heap, (guess, rest, next(opened), total, -1.0, there))
        if later < INFINITE:
            heapq.heappush(heap, (later, left, next(opened), spent, value, here))
    return Exhausted(grid.stuck(best[1]))


def _way(came: Mapping[Placement, tuple[Placement, int, int]], end: Placement) -> list[Step]:
    """Each move on the way to `end`."""
    found = []
    while end in came:
        before, index, host = came[end]
        found.append((index, before[index], host))
        end = before
    return found[::-1]

"""The least memory that any order of moves carries, by a search of its own: shares no code with the planner; pure.

A* over placements (Hart, Nilsson and Raphael, 1968); the estimate is the memory of all servers not on their targets.
"""

import heapq
from collections.abc import Sequence


def cheapest_order(
    sizes: Sequence[int], room: Sequence[int], start: Sequence[int], goal: Sequence[int], *, states_max: int = 2_000_000
) -> int | None:
    """MiB that the cheapest list of moves carries; None: every placement that can be reached was seen, in vain.

    `sizes` of the servers and `room` of the hosts in MiB; `start`, `goal`: host number of each server. A server holds
    memory on both hosts while it moves. Raises MemoryError beyond `states_max` placements: then nothing is known.
    """
    origin, end = tuple(start), tuple(goal)
    spent = {origin: 0}
    heap = [(_left(sizes, origin, end), origin)]
    done: set[tuple[int, ...]] = set()
    while heap:
        _, here = heapq.heappop(heap)
        if here == end:
            return spent[here]
        if here in done:
            continue
        done.add(here)
        if len(done) > states_max:
            raise MemoryError(f"more than {states_max} placements")
        free = list(room)
        for size, host in zip(sizes, here, strict=True):
            free[host] -= size
        for server, size in enumerate(sizes):
            total = spent[here] + size
            for host, left in enumerate(free):
                if left < size or host == here[server]:
                    continue
                there = (*here[:server], host, *here[server + 1 :])
                if total < spent.get(there, total + 1):
                    spent[there] = total
                    heapq.heappush(heap, (total + _left(sizes, there, end), there))
    return None


def least_possible(sizes: Sequence[int], start: Sequence[int], goal: Sequence[int]) -> int:
    """MiB that every order carries at least: each server that changes host is carried once."""
    return _left(sizes, start, goal)


def _left(sizes: Sequence[int], here: Sequence[int], end: Sequence[int]) -> int:
    return sum(size for size, at, wanted in zip(sizes, here, end, strict=True) if at != wanted)

"""The most that can be on a counter at any instant of any interleaving, exactly; pure.

To have an arrival started, all its ancestors must have ended, and those among them that are departures have
given back what they held. Which arrivals to start for the highest load is a maximum closure: arrivals are
worth what they add, and require departures that cost what they free. It is a minimum cut (Picard, 1976).
"""

from collections import deque
from collections.abc import Mapping, Sequence


def highest(
    start: int, arrivals: Sequence[tuple[int, int]], departures: Sequence[tuple[int, int]], ancestors: Sequence[int]
) -> tuple[int, tuple[int, ...]]:
    """The highest load, and the arrivals (step numbers) that are under way or done then.

    `arrivals`, `departures`: (step number, amount); `ancestors[step]`: bits of the steps that end before it starts.
    """
    all_in = start + sum(amount for _, amount in arrivals)
    needs = {
        step: [place for place, (other, _) in enumerate(departures) if ancestors[step] >> other & 1]
        for step, _ in arrivals
    }
    if not any(needs.values()):
        return all_in, tuple(step for step, _ in arrivals)
    cut = _Cut(arrivals, departures, needs)
    return all_in - cut.value, cut.chosen


class _Cut:
    """Dinic's algorithm from the source over arrivals and departures to the sink."""

    def __init__(
        self,
        arrivals: Sequence[tuple[int, int]],
        departures: Sequence[tuple[int, int]],
        needs: Mapping[int, Sequence[int]],
    ) -> None:
        self._to: list[int] = []
        self._left: list[int] = []
        self._out: list[list[int]] = [[] for _ in range(len(arrivals) + len(departures) + 2)]
        source, sink = 0, len(self._out) - 1
        endless = sum(amount for _, amount in arrivals) + 1
        for place, (step, amount) in enumerate(arrivals, start=1):
            self._add(source, place, amount)
            for other in needs[step]:
                self._add(place, 1 + len(arrivals) + other, endless)
        for place, (_, amount) in enumerate(departures, start=1 + len(arrivals)):
            self._add(place, sink, amount)
        self.value = 0
        while True:
            level = self._levels(source)
            if level[sink] < 0:
                break
            nexts = [0] * len(self._out)
            while pushed := self._push(source, sink, endless, level, nexts):
                self.value += pushed
        reached = self._levels(source)
        self.chosen = tuple(step for place, (step, _) in enumerate(arrivals, start=1) if reached[place] >= 0)

    def _add(self, one: int, other: int, amount: int) -> None:
        for start, end, left in ((one, other, amount), (other, one, 0)):
            self._out[start].append(len(self._to))
            self._to.append(end)
            self._left.append(left)

    def _levels(self, source: int) -> list[int]:
        level = [-1] * len(self._out)
        level[source] = 0
        queue = deque([source])
        while queue:
            here = queue.popleft()
            for arc in self._out[here]:
                if self._left[arc] > 0 and level[self._to[arc]] < 0:
                    level[self._to[arc]] = level[here] + 1
                    queue.append(self._to[arc])
        return level

    def _push(self, source: int, sink: int, endless: int, level: list[int], nexts: list[int]) -> int:
        """One augmenting path along the levels, without recursion."""
        path: list[int] = []
        here = source
        while here != sink:
            while nexts[here] < len(self._out[here]):
                arc = self._out[here][nexts[here]]
                if self._left[arc] > 0 and level[self._to[arc]] == level[here] + 1:
                    path.append(arc)
                    here = self._to[arc]
                    break
                nexts[here] += 1
            else:
                if not path:
                    return 0
                level[here] = -1
                here = self._to[path.pop() ^ 1]
                nexts[here] += 1
        amount = min((self._left[arc] for arc in path), default=endless)
        for arc in path:
            self._left[arc] -= amount
            self._left[arc ^ 1] += amount
        return amount

"""Evening out: move by move, what lowers the squares of the hosts' deviations most for its price; pure.

The best move of each fuller host waits in a heap and is looked at again when its turn comes: as cool hosts fill up,
gains only fall, so most are never looked at twice. After M. Minoux, "Accelerated greedy algorithms for maximizing
submodular set functions" (1978).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from restow_planner.problem import Bools, Floats, Ints
from restow_planner.solvers.board import NOWHERE, Board

COOL_HOSTS = (48, 384)
"""So many of the coolest hosts that might take a server are looked at first, then so many, then all."""
NEAR_BEST = 0.8
"""A move is made if it is worth this part of what the others last were, which is no less than what they are now."""
PEAK_DIVISOR = 10.0
"""A move that makes its target too full, though less than its source was, counts for so much less."""


@dataclass(frozen=True, slots=True)
class Way:
    """One move; `value` is what it takes off the squares of the shares, per unit of what it costs."""

    value: float
    server: int
    source: int
    target: int


@dataclass
class Evening:
    """`part` (S,) is what each server adds to the `load` (H,) of its host, `room` (H,) what counts as full.

    Shares aim at `mean`; a move brings its target above `limit` (a share) only where its source was fuller still. It
    must lower the share of its source by `gain_min`, and the squares by `least` for each unit of its `price` (S,)
    and of what soft rules charge more for its target than for where it stands.
    """

    board: Board
    part: Floats
    room: Floats
    load: Floats
    mean: float
    limit: float
    price: Floats
    gain_min: float
    least: float
    movable: Callable[[int], bool]
    _candidates: dict[int, Ints] = field(default_factory=dict)

    def run(self, sources: Ints, go: Callable[[Way], bool], late: Callable[[], bool]) -> None:
        """Offer the best move again and again; `go` makes it, or says no, and then its source has had its turn."""
        heap = [(-way.value, host) for host in sources.tolist() if not late() and (way := self.best(host))]
        heapq.heapify(heap)
        while heap and not late():
            _, host = heapq.heappop(heap)
            way = self.best(host)
            if way is None:
                continue
            if heap and way.value < -heap[0][0] * NEAR_BEST:
                heapq.heappush(heap, (-way.value, host))
            elif go(way):
                self.load[host] -= self.part[way.server]
                self.load[way.target] += self.part[way.server]
                self._candidates.pop(host, None)
                heapq.heappush(heap, (-way.value, host))

    def best(self, host: int) -> Way | None:
        """The most valuable move off this host that pays for itself."""
        if self.load[host] <= self.mean * self.room[host]:
            return None
        servers = self._worth_moving(host)
        if not len(servers):
            return None
        share = self.load / self.room
        cool = self._might_take(servers, share)
        for width in (*COOL_HOSTS, len(cool)):
            near = cool if width >= len(cool) else cool[np.argpartition(share[cool], width)[:width]]
            way = self._among(host, servers, near, share)
            if way is not None or len(near) == len(cool):
                return way
        return None

    def _worth_moving(self, host: int) -> Ints:
        """Who came here in the course of this is not among them: nobody moves twice."""
        known = self._candidates.get(host)
        if known is None:
            lowest = self.gain_min * self.room[host]
            found = [one for one in sorted(self.board.on[host]) if self.part[one] >= lowest and self.movable(one)]
            known = self._candidates[host] = np.array(found, dtype=np.int64)
        return known

    def _might_take(self, servers: Ints, share: Floats) -> Ints:
        """The open hosts below the mean with room for the smallest claim of each resource."""
        board = self.board
        mask = board.open & (share < self.mean)
        for resource, amount in enumerate(board.problem.demand[servers].min(axis=0).tolist()):
            if amount:
                mask &= board.free[resource] >= amount
        return np.flatnonzero(mask)

    def _among(self, host: int, servers: Ints, targets: Ints, share: Floats) -> Way | None:
        values = self._values(host, servers, targets, share)
        close: set[int] = set()
        for _ in range(len(servers) + 1):  # each that is tied to others is looked at closely once
            if not values.size:
                return None
            row, column = divmod(int(np.argmax(values)), len(targets))
            if values[row, column] < self.least or values[row, column] <= 0.0:
                return None
            server = int(servers[row])
            if server in close or server not in self._tied:
                return Way(float(values[row, column]), server, host, int(targets[column]))
            close.add(server)
            agreed, charged = self._looked_at(server)
            if charged is not None:
                price = float(self.price[server])
                values[row] *= price / (price + np.maximum(charged[targets], 0.0))
            values[row, ~agreed[targets]] = -np.inf
        return None

    @cached_property
    def _tied(self) -> frozenset[int]:
        """The servers whose place other rules than room and permission decide, or price."""
        problem = self.board.problem
        if problem.soft_capacity or problem.isolated:  # that concerns those who are not named, too
            return frozenset(range(len(problem.servers)))
        priced = np.flatnonzero(problem.price_of >= 0).tolist()
        return problem.bound_to_others | problem.together_of.keys() | set(priced)

    def _looked_at(self, server: int) -> tuple[Bools, Floats | None]:
        """(H,) where the other servers leave it a place, and (H,) what soft rules charge more there than at home."""
        board = self.board
        agreed = board.agrees(server)
        mask: Bools = np.ones(len(board.open), dtype=bool) if agreed is None else agreed.copy()
        mark, home = board.mark(), board.at[server]
        board.put(server, NOWHERE)
        charged = board.price(server)
        board.undo(mark)
        return mask, None if charged is None else charged - charged[home]

    def _values(self, host: int, servers: Ints, targets: Ints, share: Floats) -> Floats:
        """(servers, targets) value of each move, -inf where it may not be."""
        board, problem = self.board, self.board.problem
        part = self.part[servers]
        above, less = share[host] - self.mean, part / self.room[host]
        more, below = part[:, None] / self.room[targets], share[targets] - self.mean
        taken = less * (2.0 * above - less)
        value: Floats = (taken[:, None] - more * (2.0 * below + more)) / self.price[servers][:, None]
        after = share[targets] + more
        fine: Bools = problem.allowed[problem.class_of[servers][:, None], targets]
        full = after > self.limit + 1e-9
        if full.any():
            fine &= ~full | (after <= share[host] - self.gain_min)
            value[full] /= PEAK_DIVISOR
        for resource, amounts in enumerate(problem.demand[servers].T):
            fine &= (board.free[resource, targets] >= amounts[:, None]) | (amounts == 0)[:, None]
        for limit, load in zip(board.limits, board.loads, strict=True):
            fine &= load[targets] + limit.part[servers][:, None] <= limit.limit * limit.room[targets] + 1e-9
        for row, server in enumerate(servers.tolist()) if board.barred else ():
            fine[row] &= board.may_stand(server)[targets]
        value[~fine] = -np.inf
        return value

"""Defragment: free slots of a shape, by moving what stands in their way; pure.

Servers that no rule ties to others are rearranged by column generation, as few moves as it takes. Where this proves
nothing, a second way is tried and the better one taken: again and again the cheapest way to one more slot on any host,
the servers that must leave the host going where they cost no slot. No more slots can come than the free room of the
domain would hold if it were one host. On hosts that tell their NUMA cells a slot is within one cell: see `slots`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow.messages.request import DefragmentRequest
from restow_planner.goals.alike import Shuffle, shuffle
from restow_planner.goals.names import Names
from restow_planner.goals.slots import Slots
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Ints
from restow_planner.solvers.board import NOWHERE
from restow_planner.solvers.eviction import evictions
from restow_planner.solvers.room import EVICTION_NODES, SETS_OF_FEWEST, Room

DEPTH = 1
TRIES_MAX = 20_000


class Defragment:
    request = DefragmentRequest

    def check(self, request: DefragmentRequest, names: Names, at: str) -> None:
        names.resources(request.shape, f"{at}shape")
        names.positive(request.shape, f"{at}shape")

    def pursue(self, work: Work, request: DefragmentRequest) -> Verdict:
        shape = np.array([request.shape.get(name, 0) for name in work.problem.resources], dtype=np.int64)
        making = _Making(work, Slots(work, shape))
        slots = making.slots
        if slots.celled.any():
            work.notes.append("slots across NUMA cells: on hosts that tell their cells, each is within one")
        before, most = slots.total(), slots.most()
        wanted = min(request.count, most)
        bound = before + making.rearrange(wanted - before) if before < wanted else most
        after = slots.total()
        work.close(np.flatnonzero(slots.per_host()).tolist(), for_good=False)  # later goals do not fill the slots again
        words = f"{after} free slots instead of {before}; {request.count} wanted, {min(bound, most)} at most possible"
        if after < request.count:
            why = f"{after} of {request.count} slots can be had"
            relaxation = making.relaxation() if after < most else "add hosts, or ask for a smaller shape"
            work.blockers.append(Blocker(server=None, rule="defragment", why=why, relaxation=relaxation))
        if before >= request.count:
            return Verdict(Outcome.NOTHING_TO_DO, f"{before} slots are free already", -before, -before)
        if after > before:
            return Verdict(Outcome.PLAN, words, -after, -min(wanted, bound))
        if before >= min(bound, most):
            how = "by counting" if before >= most else "for the moves that are allowed"
            return Verdict(Outcome.IMPOSSIBLE, f"proven {how}: {words}", -after, -min(bound, most))
        return Verdict(Outcome.UNDECIDED, words, -after, -min(wanted, bound))


@dataclass(slots=True)
class _Making:
    work: Work
    slots: Slots
    limit: str | None = None
    """The limit that forbade a way to one slot more."""
    heap: list[tuple[float, int, int, tuple[int, ...]]] = field(default_factory=list)
    version: list[int] = field(default_factory=list)

    def relaxation(self) -> str:
        if self.limit is not None:
            return f"raise {self.limit}"
        return "allow more time" if self.work.deadline.over() else "ask for a smaller shape, or add hosts"

    def rearrange(self, wanted: int) -> int:
        """At most `wanted` more slots; how many more there can be at most."""
        work, board = self.work, self.work.board
        before, mark, why = self.slots.total(), board.mark(), dict(work.why)
        shuffled = None if self.slots.celled.any() else shuffle(work, self.slots.shape, wanted)
        bound = wanted if shuffled is None or shuffled.bound is None else shuffled.bound
        if shuffled is None or shuffled.gain < bound:
            self.gain(before + wanted)
        if shuffled is not None and shuffled.gain >= self.slots.total() - before:  # as many slots by fewer moves
            board.undo(mark)
            work.why = why
            self._apply(shuffled)
        return bound

    def _apply(self, shuffled: Shuffle) -> None:
        work, board = self.work, self.work.board
        slots, start = self.slots.per_host(), {server: board.at[server] for server, _ in shuffled.moves}
        for server, _ in shuffled.moves:
            board.put(server, NOWHERE)
        for server, target in shuffled.moves:
            board.put(server, target)
        gained = self.slots.per_host() > slots
        for server, source in start.items():
            here = work.host(source)
            why = f"makes room for a slot on {here}" if gained[source] else f"makes room on {here} for what comes there"
            work.explain([server], why)

    def gain(self, wanted: int) -> None:
        """The hosts where a slot more seems cheapest are looked at first, so that what time allows is well spent."""
        work = self.work
        room = work.room()
        self.version = [0] * len(work.problem.hosts)
        self._await(np.flatnonzero(work.board.open))
        now = self.slots.total()
        for _ in range(TRIES_MAX):
            if not self.heap or now >= wanted or work.deadline.over():
                return
            _, version, host, out = heappop(self.heap)
            if version != self.version[host]:
                continue
            if not out:
                self._offer(room, host)
                continue
            touched = self._try(room, host, out, now)
            if touched:
                now = self.slots.total()
                for one in touched:
                    self.version[one] += 1
                self._await(np.array(sorted(touched), dtype=np.int64))

    def _await(self, hosts: Ints) -> None:
        """Put these hosts on the heap, at the least that a slot more could cost there."""
        board, problem = self.work.board, self.work.problem
        need, possible = self.slots.lacking(hosts)
        for place in np.flatnonzero(board.open[hosts] & possible).tolist():
            host = int(hosts[place])
            on = list(board.on[host])
            if on:
                largest = np.maximum(problem.demand[on].max(axis=0), 1)
                moves = max(1, int((-(-need[:, place] // largest)).max()))
                heappush(self.heap, (moves * float(problem.cost[on].min()), self.version[host], host, ()))

    def _offer(self, room: Room, host: int) -> None:
        """Put the ways to one more slot on this host on the heap."""
        need = self.slots.lacking(np.array([host]))[0][:, 0]
        for out in self._out_of_cells(host, need) if self.slots.celled[host] else room.sets_freeing(host, need):
            if out:
                price = float(self.work.problem.cost[list(out)].sum())
                heappush(self.heap, (price, self.version[host], host, out))

    def _out_of_cells(self, host: int, need: Ints) -> Iterator[tuple[int, ...]]:
        """Small sets of servers that leave room for a slot in one cell, and on the host."""
        problem = self.work.problem
        going = [one for one in sorted(self.work.board.on[host]) if self.work.movable(one)]
        claims = {one: self.slots.claims(one, host) for one in going}
        for place, lacking in self.slots.lacking_in_cells(host):
            able = [one for one in going if claims[one][place].any() or need.any()]
            demand = np.array([np.concatenate([claims[one][place], problem.demand[one]]) for one in able])
            if able:
                both = np.concatenate([lacking, need])
                found = evictions(demand, both, problem.cost[able], problem.size[able], nodes_max=EVICTION_NODES)
                for places in found.sets[:SETS_OF_FEWEST] if found is not None else ():
                    yield tuple(sorted(able[one] for one in places))

    def _try(self, room: Room, host: int, out: tuple[int, ...], now: int) -> set[int]:
        """The hosts that this changed; none if it gave no slot."""
        work, board = self.work, self.work.board
        size = work.problem.size
        mark = board.mark()
        before = {one: board.at[one] for one in board.moved}
        for server in out:
            board.put(server, NOWHERE)
        for server in sorted(out, key=lambda one: (-size[one], one)):
            harmless = self.slots.per_host(server) >= self.slots.per_host()  # all slots are kept when it arrives there
            harmless[host] = False
            if not room.place(server, among=harmless, depth=DEPTH):
                board.undo(mark)
                return set()
        broken = work.limit_broken()
        if self.slots.total() <= now or broken is not None:
            self.limit = broken or self.limit
            board.undo(mark)
            return set()
        changed = [one for one in board.moved if before.get(one) != board.at[one]]
        work.explain(sorted(changed), f"makes room for a slot on {work.host(host)}")
        start = work.problem.start
        return {host, *(board.at[one] for one in changed), *(int(start[one]) for one in changed)} - {NOWHERE}

"""Defragment: free slots of a shape, by moving what stands in their way; pure.

Servers that no rule ties to others are rearranged by column generation, as few moves as it takes. Where this proves
nothing, a second way is tried and the better one taken: again and again the cheapest way to one more slot on any host,
the servers that must leave the host going where they cost no slot. No more slots can come than the free room of the
domain would hold if it were one host.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np

from restow.messages.plan import Blocker, Outcome
from restow.messages.request import DefragmentRequest
from restow_planner.goals.alike import Shuffle, shuffle
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Ints
from restow_planner.solvers.board import NOWHERE
from restow_planner.solvers.room import Room

DEPTH = 1
TRIES_MAX = 20_000


class Defragment:
    request = DefragmentRequest

    def check(self, request: DefragmentRequest, names: Names, at: str) -> None:
        names.resources(request.shape, f"{at}shape")
        names.positive(request.shape, f"{at}shape")

    def pursue(self, work: Work, request: DefragmentRequest) -> Verdict:
        shape = np.array([request.shape.get(name, 0) for name in work.problem.resources], dtype=np.int64)
        slots = _Slots(work, shape)
        before = slots.total()
        most = slots.most()
        wanted = min(request.count, most)
        bound = before + slots.rearrange(wanted - before) if before < wanted else most
        after = slots.total()
        work.close(slots.hosts(), for_good=False)  # later goals do not fill the slots again
        words = f"{after} free slots instead of {before}; {request.count} wanted, {min(bound, most)} at most possible"
        if after < request.count:
            why = f"{after} of {request.count} slots can be had"
            relaxation = "allow more moves" if after < most else "add hosts, or ask for a smaller shape"
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
class _Slots:
    work: Work
    shape: Ints
    heap: list[tuple[float, int, int, tuple[int, ...]]] = field(default_factory=list)
    version: list[int] = field(default_factory=list)

    def per_host(self) -> Ints:
        """(H,) free slots now; hosts that take nothing in have none."""
        wanted = self.shape > 0
        free = np.maximum(self.work.board.free[wanted], 0) // self.shape[wanted][:, None]
        slots: Ints = np.where(self.work.board.open, free.min(axis=0), 0)
        return slots

    def total(self) -> int:
        return int(self.per_host().sum())

    def hosts(self) -> list[int]:
        found: list[int] = np.flatnonzero(self.per_host() > 0).tolist()
        return found

    def most(self) -> int:
        """A bound: the free room of the whole domain as one host, but no more than each open host could hold."""
        board, problem = self.work.board, self.work.problem
        wanted = np.flatnonzero(self.shape > 0)
        here = np.flatnonzero(board.open)
        room = np.maximum(board.free[:, here], 0)
        each = (problem.capacity[:, here][wanted] // self.shape[wanted][:, None]).min(axis=0)
        total = room[wanted].sum(axis=1) // self.shape[wanted]
        return int(min(total.min(), np.maximum(each, 0).sum())) if len(here) else 0

    def rearrange(self, wanted: int) -> int:
        """At most `wanted` more slots; how many more there can be at most."""
        work, board = self.work, self.work.board
        before, mark, why = self.total(), board.mark(), dict(work.why)
        shuffled = shuffle(work, self.shape, wanted)
        bound = wanted if shuffled is None or shuffled.bound is None else shuffled.bound
        if shuffled is None or shuffled.gain < bound:
            self.gain(before + wanted)
        if shuffled is not None and shuffled.gain >= self.total() - before:  # as many slots by fewer moves
            board.undo(mark)
            work.why = why
            self._apply(shuffled)
        return bound

    def _apply(self, shuffled: Shuffle) -> None:
        work, board = self.work, self.work.board
        slots, start = self.per_host(), {server: board.at[server] for server, _ in shuffled.moves}
        for server, _ in shuffled.moves:
            board.put(server, NOWHERE)
        for server, target in shuffled.moves:
            board.put(server, target)
        gained = self.per_host() > slots
        for server, source in start.items():
            here = work.host(source)
            why = f"makes room for a slot on {here}" if gained[source] else f"makes room on {here} for what comes there"
            work.explain([server], why)

    def gain(self, wanted: int) -> None:
        work = self.work
        room = work.room()
        self.version = [0] * len(work.problem.hosts)
        for host in np.flatnonzero(work.board.open).tolist():
            self._offer(room, host)
        heapify(self.heap)
        now = self.total()
        for _ in range(TRIES_MAX):
            if not self.heap or now >= wanted or work.deadline.over():
                return
            _, version, host, out = heappop(self.heap)
            if version != self.version[host]:
                continue
            touched = self._try(room, host, out, now)
            if touched:
                now = self.total()
                for one in sorted(touched):
                    self.version[one] += 1
                    self._offer(room, one)

    def _offer(self, room: Room, host: int) -> None:
        """Put the ways to one more slot on this host on the heap."""
        board, problem = self.work.board, self.work.problem
        if not board.open[host]:
            return
        slots = int(self.per_host()[host])
        need = np.maximum((slots + 1) * self.shape - board.free[:, host], 0)
        if (problem.capacity[:, host] < (slots + 1) * self.shape).any():
            return
        for out in room.sets_freeing(host, need):
            if out:
                price = float(problem.cost[list(out)].sum())
                heappush(self.heap, (price, self.version[host], host, out))

    def _try(self, room: Room, host: int, out: tuple[int, ...], now: int) -> set[int]:
        """The hosts that this changed; none if it gave no slot."""
        work, board = self.work, self.work.board
        size = work.problem.size
        mark = board.mark()
        before = {one: board.at[one] for one in board.moved}
        for server in out:
            board.put(server, NOWHERE)
        for server in sorted(out, key=lambda one: (-size[one], one)):
            harmless = self._harmless(server)
            harmless[host] = False
            if not room.place(server, among=harmless, depth=DEPTH):
                board.undo(mark)
                return set()
        if self.total() <= now or not work.within_limits():
            board.undo(mark)
            return set()
        changed = [one for one in board.moved if before.get(one) != board.at[one]]
        work.explain(sorted(changed), f"makes room for a slot on {work.host(host)}")
        start = work.problem.start
        return {host, *(board.at[one] for one in changed), *(int(start[one]) for one in changed)} - {NOWHERE}

    def _harmless(self, server: int) -> np.ndarray:
        """(H,) hosts that keep all their slots when the server arrives."""
        wanted = self.shape > 0
        free = self.work.board.free[wanted] - self.work.problem.demand[server][wanted][:, None]
        after = (np.maximum(free, 0) // self.shape[wanted][:, None]).min(axis=0)
        kept: np.ndarray = after >= self.per_host()
        return kept

"""Emptying hosts one after another, as tightly packed as is allowed, towards the fewest hosts in use; pure.

Of the hosts that cost the cloud least when they are gone, the one whose servers are the cheapest to move is tried
first; its servers go to hosts that are in use, tightly packed, never above the utilisation allowed: of what may be
claimed, and of every physical resource whose load is measured. Where best fit ends, CP-SAT repacks a few hosts at a
time into one less, or all hosts of a small cloud, and there it proves that none can be emptied. A bound by counting
says how far from the best the answer can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from restow.cloud.model import Survive
from restow_planner.deadline import Deadline
from restow_planner.goals.fewest import fewest_hosts
from restow_planner.goals.loads import real_limits
from restow_planner.goals.soft import Charges
from restow_planner.goals.survival import Trail
from restow_planner.goals.work import Work
from restow_planner.problem import Bools
from restow_planner.solvers.fit import Front, ShapeFit
from restow_planner.solvers.repack import Repacked, repack
from restow_planner.solvers.room import Room

NEIGHBOURS = 7
"""Hosts that CP-SAT repacks together with the one to be emptied."""
EXACT_CELLS_MAX = 2_000
"""Servers × hosts up to which CP-SAT looks at all hosts at once."""
REPACK_S = 2.0
REPACK_SHARE = 0.5
REPACK_HOSTS_MAX = 50
"""Where more hosts are in use, one of them is a fiftieth, and not worth the time."""
REPACK_FAILURES_MAX = 3
"""Where so many hosts could not be repacked, the others are not tried, but in a small cloud."""
CP_SAT_START_S = 0.25
DEPTH = 1
"""How far a chain may go to make room when a host is emptied: more moves would not pay for themselves."""
CHAIN_FAILURES_MAX = 30
"""Where so many hosts in a row could not be emptied with others making room, the others are not tried."""
EMPTYING_SHARE = 0.6
"""Of the time, where what is to survive must be judged in the rest."""
HOST_WORTH = 100.0
"""A host is freed if soft rules charge no more for that: a hundred moves, in which their prices are counted."""


@dataclass(slots=True)
class Emptying:
    work: Work
    max_utilisation: float
    freed: set[int] = field(default_factory=set)
    in_use: Bools = field(init=False)
    """(H,) kept true while hosts are emptied."""
    bound: int = field(init=False, default=0)
    proven: bool = field(init=False, default=False)
    """It is proven that no host that is in use can be emptied."""
    late: bool = field(init=False, default=False)
    needs: dict[str, float] = field(default_factory=dict)
    """By the limit that forbade it, how much at least one more host would have taken in all."""
    dear: tuple[int, dict[str, float]] | None = None
    """The host for which soft rules charged least, though too much to free it, and what each charged."""
    fit: ShapeFit = field(init=False)
    opened: frozenset[int] = field(init=False)
    trail: Trail = field(init=False)
    charges: Charges = field(init=False)

    def __post_init__(self) -> None:
        board = self.work.board
        self.in_use = np.array([bool(servers) for servers in board.on], dtype=bool)
        self.opened = frozenset(np.flatnonzero(board.open).tolist())
        self.trail = Trail(self.work)
        self.charges = Charges(self.work.soft, board)

    def run(self) -> None:
        work, board = self.work, self.work.board
        capacity = work.problem.capacity
        held = capacity - np.floor(capacity * self.max_utilisation + 1e-9).astype(np.int64)
        limits, notes = real_limits(work.problem, self.max_utilisation)
        work.notes += notes
        board.free -= held  # only for the length of this goal: above it, hosts count as full
        for limit in limits:
            board.add_limit(limit)
        self.fit = ShapeFit(board)
        self.bound = fewest_hosts(work, capacity - held, limits)
        self.late = work.deadline.over()
        if not self.late:
            self._empty_all()
        if self.bound < self.used() <= REPACK_HOSTS_MAX and not self.late:
            self._repack_all()
        board.free += held
        board.drop_limits(len(limits))

    def used(self) -> int:
        return int(self.in_use.sum())

    def idle(self) -> set[int]:
        """Hosts that are empty and take servers in; those that were freed do not."""
        return set(np.flatnonzero(self.work.board.open & ~self.in_use).tolist())

    def spare(self) -> int | None:
        """The largest of the empty hosts, where no other host runs that is in use."""
        problem = self.work.problem
        if not set(np.flatnonzero(self.in_use).tolist()) <= problem.down:
            return None
        room = problem.weight @ problem.capacity
        return max(sorted(self.idle()), key=lambda host: float(room[host]), default=None)

    def take_back(self) -> None:
        """The hosts that could not stay empty take servers in as before."""
        board = self.work.board
        again = self.freed - self.trail.closed()
        self.freed -= again
        self.in_use[sorted(again)] = True
        self.work.closed -= again
        board.reopen(sorted(again & self.opened))
        board.leaving.difference_update(one for one in tuple(board.leaving) if one not in board.moved)

    # -- host by host ---------------------------------------------------------------------------------

    def _may_be_freed(self, host: int) -> bool:
        board = self.work.board
        alive = host not in self.work.problem.down
        return bool(board.on[host]) and alive and all(self.work.movable(one) for one in board.on[host])

    def _candidates(self) -> list[int]:
        """The smallest hosts first, and among hosts about as large those whose servers are the cheapest to move."""
        problem, board = self.work.problem, self.work.board
        at = np.array(board.at, dtype=np.int64)
        stays = problem.cold.copy()
        stays[list(board.pinned)] = True
        held = np.zeros(len(problem.hosts), dtype=bool)
        held[at[stays & (at >= 0)]] = True
        held[list(problem.down)] = True
        placed = np.flatnonzero(at >= 0)
        price = np.bincount(at[placed], weights=problem.cost[placed], minlength=len(held))
        room = problem.weight @ problem.capacity
        size = np.round(room / max(float(room.mean()), 1e-12), 1)
        hosts = np.flatnonzero(self.in_use & ~held)
        ranked: list[int] = hosts[np.lexsort((hosts, price[hosts], size[hosts]))].tolist()
        return ranked

    def _empty_all(self) -> None:
        """All as far as their servers fit without further ado; those that are left with others making room."""
        until = self._until()
        for depth, failures_max in ((0, len(self.in_use)), (DEPTH, CHAIN_FAILURES_MAX)):
            failed = 0
            for host in self._candidates():
                if self.used() <= self.bound or failed > failures_max:
                    break
                if until.over():
                    self.late = True
                    return
                failed = 0 if self._empty(host, depth) else failed + 1

    def _until(self) -> Deadline:
        to_survive = any(isinstance(rule, Survive) and rule.soft is None for rule in self.work.problem.cloud.rules)
        return self.work.deadline.part(EMPTYING_SHARE) if to_survive else self.work.deadline

    def _empty(self, host: int, depth: int) -> bool:
        """Move everything off this host onto hosts in use, or change nothing."""
        board = self.work.board
        servers = sorted(board.on[host])
        if not servers or not self._may_be_freed(host) or self._in_vain(host):
            return False
        was_open = bool(board.open[host])
        mark = board.mark()
        board.close([host])
        board.leaving.update(servers)
        if self._place_all(servers, host, depth) and self._pays(host, mark):
            self._note(host, servers, mark)
            return True
        board.undo(mark)
        board.leaving.difference_update(one for one in servers if one not in board.moved)
        if was_open:
            board.reopen([host])
        return False

    def _place_all(self, servers: Sequence[int], host: int, depth: int) -> bool:
        """The largest first."""
        work, board, size = self.work, self.work.board, self.work.problem.size
        among = self.in_use.copy()
        among[host] = False
        ranked = sorted(servers, key=lambda one: (-size[one], one))
        front = Front(self.fit, ranked, among)
        room = Room(board, work.deadline.over, work.movable, self.fit.best)
        for server in ranked:
            if board.at[server] != host:
                continue  # it had to make room for another
            target = front.best(server)
            if target is not None:
                board.put(server, target)
                front.take(server, target)
            elif room.place(server, among=among, depth=depth):
                front = Front(self.fit, ranked, among)
            else:
                return False
        return True

    def _note(self, host: int, servers: Sequence[int], mark: int) -> None:
        self.charges.note(self.work.board.since(mark))
        self.trail.note(mark, frozenset({host}))
        self.freed.add(host)
        self.in_use[host] = False
        self.work.close([host])
        name = self.work.host(host)
        for server in servers:
            self.work.why[server] = f"{name} is being freed"
        self.work.explain(self.work.board.since(mark), f"makes room so that {name} can be freed")

    # -- what it may take -----------------------------------------------------------------------------

    def _pays(self, host: int, mark: int) -> bool:
        """Whether what was done since the mark is within the limits, and worth what soft rules charge; if not, why."""
        work, moved = self.work, self.work.board.since(mark)
        broken = work.limit_broken()
        if broken is not None:
            took = len(work.board.moved) if broken == "limits.moves" else work.moved_mib()
            self.needs[broken] = min(took, self.needs.get(broken, np.inf))
            return False
        price = self.charges.change(moved)
        if price > HOST_WORTH:
            if self.dear is None or price < sum(self.dear[1].values()):
                self.dear = host, self.charges.by_rule(moved)
            return False
        return True

    def _in_vain(self, host: int) -> bool:
        """Whether the host is beyond a limit by counting, and teaches nothing about what would be enough."""
        least = self._beyond(host)
        return least is not None and least[1] >= self.needs.get(least[0], np.inf)

    def _beyond(self, host: int) -> tuple[str, float] | None:
        """A limit that the servers of this host alone exceed, with the amount that they come to in all."""
        work, board = self.work, self.work.board
        more = [one for one in board.on[host] if one not in board.moved]
        moves = len(board.moved) + len(more)
        if work.moves_max is not None and moves > work.moves_max:
            return "limits.moves", moves
        if work.moved_mib_max is not None:
            mib = work.moved_mib() + float(work.problem.memory[more].sum())
            if mib > work.moved_mib_max:
                return "limits.moved_gib", mib
        return None

    def out_of_reach(self) -> bool:
        """Whether every host that could be freed is beyond a limit by counting. To be asked where none was freed."""
        candidates = self._candidates() if self.needs else []
        return bool(candidates) and all(self._beyond(host) for host in candidates)

    # -- by CP-SAT ------------------------------------------------------------------------------------

    def _repack_all(self) -> None:
        work, board = self.work, self.work.board
        here = [*np.flatnonzero(self.in_use | board.open).tolist()]
        small = len(here) * sum(len(board.on[host]) for host in here) <= EXACT_CELLS_MAX
        failed, hopeless, candidates = 0, 0, self._candidates()
        for host in candidates:
            if self.used() <= self.bound or (failed >= REPACK_FAILURES_MAX and not small):
                return
            if work.deadline.over(keep=CP_SAT_START_S):
                self.late = True
                return
            if not self._may_be_freed(host) or self._in_vain(host):
                continue
            others = [one for one in np.flatnonzero(self.in_use).tolist() if one != host]
            answer = self._repack(host, others if small else self._neighbours(host))
            if answer is not None and not answer.unplaced and self._take(host, answer):
                continue
            failed += 1
            hopeless += small and self._hopeless(host, answer)
        self.proven = hopeless == len(candidates) and not self.freed and self._may_prove()

    def _may_prove(self) -> bool:
        work = self.work
        return not (work.board.barred or work.board.moved or self.needs or self.dear)

    def _hopeless(self, host: int, answer: Repacked | None) -> bool:
        """Whether it is proven that this host's servers find no place, on empty hosts neither."""
        if answer is None or not answer.proven or not answer.unplaced:
            return False
        idle = self.idle()
        if not idle:
            return True
        more = self._repack(host, sorted({*idle, *np.flatnonzero(self.in_use).tolist()} - {host}))
        return more is not None and more.proven and bool(more.unplaced)

    def _repack(self, host: int, near: list[int]) -> Repacked | None:
        """All servers of this host on these others, which may change places among them."""
        work, board = self.work, self.work.board
        was_open = bool(board.open[host])
        free = [one for other in near for one in board.on[other] if work.movable(one)]
        board.close([host])
        answer = repack(
            board, near, sorted(board.on[host]), free, work_s=work.deadline.budget(REPACK_SHARE, most=REPACK_S),
            deadline=work.deadline, seed=work.seed, moves_max=work.moves_max,
        )  # fmt: skip
        if was_open:
            board.reopen([host])
        return answer

    def _take(self, host: int, answer: Repacked) -> bool:
        """Do as the answer says, if that pays."""
        board, servers = self.work.board, sorted(self.work.board.on[host])
        mark = board.mark()
        for server in answer.at:
            board.put(server, -1)
        for server, target in sorted(answer.at.items()):
            board.put(server, target)
        if not self._pays(host, mark):
            board.undo(mark)
            return False
        board.leaving.update(servers)
        self._note(host, servers, mark)
        return True

    def _neighbours(self, host: int) -> list[int]:
        """The hosts in use with the most room that some server of this host may stand on."""
        board = self.work.board
        may = np.logical_or.reduce([board.may_stand(one) for one in board.on[host]]) & self.in_use
        may[host] = False
        room = self.work.problem.weight @ np.maximum(board.free, 0)
        ranked = [one for one in np.argsort(-room, kind="stable").tolist() if may[one]]
        return sorted(ranked[:NEIGHBOURS])

"""Emptying hosts: what evacuate and recover have in common; pure.

Each server is placed by best fit; where nothing fits, room is made. What that leaves over is tried once more, all at
once, by CP-SAT on the hosts with the most room: on all hosts where the cloud is small, which is then a proof.
The sum of the costs of all who must leave is a bound on the cost of the whole; extra moves are the gap.
"""

from collections.abc import Sequence

import numpy as np

from restow.messages.plan import Outcome
from restow_planner.goals.obstacles import limit_blocker, obstacle, pinned, stranded, too_much_in_all
from restow_planner.goals.work import Verdict, Work
from restow_planner.solvers.repack import repack

REPACK_HOSTS = (12, 32)
"""How many hosts CP-SAT opens at a time where it cannot take all."""
EXACT_CELLS_MAX = 20_000
"""Servers × hosts up to which CP-SAT takes the whole cloud."""
CP_SAT_START_S = 0.5
"""With less time than this left, CP-SAT is not even loaded."""


def leave(work: Work, hosts: Sequence[int], order: Sequence[int], why: str) -> Verdict:
    """Take the servers of `order` off `hosts`, in this order of urgency; a cold move is no objection here."""
    board = work.board
    work.close(hosts)
    going: list[int] = []
    for server in order:
        if server in board.pinned:
            work.blockers.append(pinned(work, server))
            work.stay(server, board.pinned[server][1])
        elif work.stranded(server) and server not in work.dead:
            work.blockers.append(stranded(work, server))
            work.stay(server, "its host is down")
        else:
            going.append(server)
    board.leaving.update(going)
    earlier = set(board.moved)
    left = _place_each(work, going)
    proven = False
    if left:
        left, proven = _place_together(work, left)
    if left:
        total = too_much_in_all(work, left)
        for server, rule in left.items():
            blocker, sure = (limit_blocker(work, server, rule), True) if rule else obstacle(work, server)
            if total and not sure:
                blocker = blocker.model_copy(update={"why": f"{blocker.why}; {total}"})
            proven = proven or sure or total is not None
            work.blockers.append(blocker)
            work.stay(server, blocker.why)
    placed = [one for one in going if one not in left]
    work.explain(placed, why)
    extra = board.moved - earlier - set(going)
    names = ", ".join(work.host(one) for one in hosts[:3])
    work.explain(sorted(extra), f"makes room for servers that {f'leave {names}' if names else 'are started'}")
    return _verdict(work, order, placed, extra, proven=proven or len(going) < len(order))


def _verdict(work: Work, order: Sequence[int], placed: list[int], extra: set[int], *, proven: bool) -> Verdict:
    cost = work.problem.cost
    bound = float(cost[placed].sum())
    objective = bound + float(cost[sorted(extra)].sum())
    if not order:
        return Verdict(Outcome.NOTHING_TO_DO, "no server stands on these hosts", 0.0, 0.0)
    if len(placed) == len(order):
        return Verdict(Outcome.PLAN, f"all {len(order)} servers find a place", objective, bound)
    if placed:
        return Verdict(Outcome.PLAN, f"{len(placed)} of {len(order)} servers find a place", objective, bound)
    if proven:
        return Verdict(Outcome.IMPOSSIBLE, "proven: not all servers can leave, and none of them could be placed")
    return Verdict(Outcome.UNDECIDED, "no server could be placed in the time given")


def _place_each(work: Work, going: Sequence[int]) -> dict[int, str | None]:
    """Those that found no place, each with the limit that stopped it, if it was one."""
    left: dict[int, str | None] = {}
    room = work.room()
    for server in going:
        mark = work.board.mark()
        if not room.place(server):
            left[server] = None
            continue
        broken = work.limit_broken()
        if broken is not None:
            work.board.undo(mark)
            left[server] = broken
    return left


def _place_together(work: Work, left: dict[int, str | None]) -> tuple[dict[int, str | None], bool]:
    """One more try for those without a place, re-placing others as well; and whether the rest is proven hopeless."""
    board, problem = work.board, work.problem
    must = [one for one, rule in left.items() if rule is None and board.may_stand(one).any()]
    if not must or work.deadline.over(keep=CP_SAT_START_S):
        return left, False
    usable = np.flatnonzero(board.open).tolist()
    standing = sum(len(board.on[host]) for host in usable) + len(must)
    exact = standing * len(usable) <= EXACT_CELLS_MAX
    for size in (len(usable),) if exact else REPACK_HOSTS:
        chosen = usable if exact else _promising(work, must, size)
        free = [one for host in chosen for one in board.on[host] if work.movable(one) or _may_again(work, one)]
        answer = repack(
            board,
            chosen,
            must,
            free,
            work_s=work.deadline.budget(0.6, most=20.0),
            deadline=work.deadline,
            seed=work.seed,
            moves_max=work.moves_max,
        )
        if answer is None or len(answer.unplaced) == len(must):
            if answer is not None and exact and answer.proven:
                return left, not problem.ambiguous
            continue
        mark = board.mark()
        for server in answer.at:
            board.put(server, -1)
        for server, host in sorted(answer.at.items()):
            board.put(server, host)
        if not work.within_limits():
            board.undo(mark)
            continue
        left = {one: rule for one, rule in left.items() if one in answer.unplaced or one not in answer.at}
        if not left or (exact and answer.proven):
            return left, exact and answer.proven and not problem.ambiguous
        must = [one for one in must if one in left]
        if not must:
            break
    return left, False


def _may_again(work: Work, server: int) -> bool:
    """Moved to make room before: in a repacking it may go elsewhere, as its plan is made anew."""
    board = work.board
    return server in board.moved and server not in board.pinned and not work.problem.cold[server]


def _promising(work: Work, must: Sequence[int], size: int) -> list[int]:
    """The hosts with the most room, weighed, that at least one of the waiting servers may stand on."""
    board = work.board
    mask = np.logical_or.reduce([board.may_stand(one) for one in must])
    room = work.problem.weight @ np.maximum(board.free, 0)
    ranked = [host for host in np.argsort(-room, kind="stable").tolist() if mask[host]]
    return sorted(ranked[:size])

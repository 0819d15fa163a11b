"""Emptying hosts: what evacuate and recover have in common; pure.

The servers are spread over the hosts where they fit, or packed tightly if that serves better; where nothing fits, room
is made. For what that leaves over every order of moves is looked at in a small cloud; else it is tried once more, all
at once, by CP-SAT on the hosts with the most room: on all hosts where it can take them, which is then a proof.
The sum of the costs of all who must leave is a bound on the cost of the whole; extra moves are the gap.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from restow.messages.plan import Outcome
from restow_planner.deadline import Deadline
from restow_planner.goals.every_way import every_way
from restow_planner.goals.loads import real_limits
from restow_planner.goals.obstacles import limit_blocker, not_sent, obstacle, pinned, stranded, too_much_in_all
from restow_planner.goals.spreading import Spreading
from restow_planner.goals.work import Verdict, Work
from restow_planner.problem import Bools
from restow_planner.solvers.board import NOWHERE
from restow_planner.solvers.repack import repack

REPACK_HOSTS = (12, 32)
"""How many hosts CP-SAT opens at a time where it cannot take all."""
EXACT_CELLS_MAX = 20_000
"""Servers × hosts up to which CP-SAT takes the whole cloud."""
CP_SAT_START_S = 0.5
"""With less time than this left, CP-SAT is not even loaded."""
COOL_SHARE = 0.4
"""Of the time, for placing all without too much real load anywhere."""
PROVEN = "of all orders of moves none does better"
NO_PLACEMENT = "proven: however the others are placed, there is none"


def leave(work: Work, hosts: Sequence[int], order: Sequence[int], why: str) -> Verdict:
    """Take the servers of `order` off `hosts`, in this order of urgency; a cold move is no objection here."""
    board = work.board
    work.close(hosts)
    going: list[int] = []
    for server in order:
        if server in board.pinned and not _sent_back(work, server):
            work.blockers.append(pinned(work, server))
            work.stay(server, board.pinned[server][1])
        elif server in board.pinned:
            work.blockers.append(not_sent(work, server, hosts))
            work.stay(server, work.blockers[-1].why)
        elif work.stranded(server) and server not in work.dead:
            work.blockers.append(stranded(work, server))
            work.stay(server, "its host is down")
        else:
            going.append(server)
    board.leaving.update(going)
    earlier = set(board.moved)
    left, proven, most = _placed(work, going)
    if left:
        total = too_much_in_all(work, left)
        for server, rule in left.items():
            blocker, sure = (limit_blocker(work, server, rule), True) if rule else obstacle(work, server)
            if total and not sure:
                blocker = blocker.model_copy(update={"why": f"{blocker.why}; {total}"})
            elif proven and not sure:
                blocker = blocker.model_copy(update={"why": f"{blocker.why}; {PROVEN if most else NO_PLACEMENT}"})
            proven = proven or sure or total is not None
            work.blockers.append(blocker)
            work.stay(server, blocker.why)
    placed = [one for one in going if one not in left]
    work.explain(placed, why)
    extra = board.moved - earlier - set(going)
    names = ", ".join(work.host(one) for one in hosts[:3])
    work.explain(sorted(extra), f"makes room for servers that {f'leave {names}' if names else 'are started'}")
    proven = proven or len(going) < len(order)
    return _verdict(work, order, placed, extra, proven=proven, most=most, fixed=len(order) - len(going))


def _sent_back(work: Work, server: int) -> bool:
    """Who an earlier goal has sent to a host that is to be emptied now stays at home, if its place is still free."""
    board, home = work.board, int(work.problem.start[server])
    if board.pinned[server][0] != "reach" or home in (NOWHERE, board.at[server]) or not board.fits(server)[home]:
        return False
    board.put(server, home)
    return True


def _verdict(
    work: Work, order: Sequence[int], placed: list[int], extra: set[int], *, proven: bool, most: bool, fixed: int
) -> Verdict:
    """`most`: no plan serves more of them; `fixed`: so many may not be moved. `proven`: not all can be served."""
    cost = work.problem.cost
    bound = float(cost[placed].sum())
    objective = bound + float(cost[sorted(extra)].sum())
    if not order:
        return Verdict(Outcome.NOTHING_TO_DO, "no server stands on these hosts", 0.0, 0.0)
    if len(placed) == len(order):
        return Verdict(Outcome.PLAN, f"all {len(order)} servers find a place", objective, bound)
    if placed:
        words = f"{len(placed)} of {len(order)} servers find a place"
        if len(placed) + fixed == len(order):
            return Verdict(Outcome.PLAN, f"{words}, the others may not be moved", objective, bound)
        if most:
            return Verdict(Outcome.PLAN, f"{words}: proven, no plan serves more", objective, bound)
        return Verdict(Outcome.PLAN, words)  # how much better it is to serve more is no matter of costs
    if proven:
        return Verdict(Outcome.IMPOSSIBLE, "proven: not all servers can leave, and none of them could be placed")
    late = " in the time given" if work.deadline.over(keep=CP_SAT_START_S) else ""
    return Verdict(
        Outcome.UNDECIDED, f"no place was found for any of the servers{late}, nor a proof that there is none"
    )


def _placed(work: Work, going: Sequence[int]) -> tuple[dict[int, str | None], bool, bool]:
    """Those that found no place, each with the limit that stopped it, if it was one.

    And whether it is proven that there is none for them besides the others, and that no more of all can be served.
    As long as it can be avoided nobody goes where the real load would be more than there is.
    """
    board, mark, earlier = work.board, work.board.mark(), set(work.board.moved)
    limits, _ = real_limits(work.problem, 1.0)
    for limit in limits:
        board.add_limit(limit)
    left = _place_each(work, going, work.deadline.part(COOL_SHARE if limits else 1.0))
    board.drop_limits(len(limits))
    if left and limits:
        left = _place_in_turn(work, list(left), Spreading(board).best, work.deadline)
    others = board.moved.difference(earlier, going)
    if not left and work.problem.bound_to_others.isdisjoint(others):
        return left, False, False  # who makes room and is tied to nobody can always go before
    first = {one: board.at[one] for one in board.since(mark)}
    board.undo(mark)
    best = every_way(work, going)
    if best is not None and (best.proven or not best.left):
        return dict.fromkeys((one for one in going if one in best.left), None), best.proven, best.proven
    board.undo(mark)
    for one, host in first.items():
        board.put(one, host)
    return *(_place_together(work, left) if left else (left, False)), False


def _place_each(work: Work, going: Sequence[int], deadline: Deadline) -> dict[int, str | None]:
    """One after the other, spread over the hosts; packed tightly where that serves better ones or moves fewer others.

    Those that found no place, each with the limit that stopped it, if it was one.
    """
    board, mark, earlier = work.board, work.board.mark(), set(work.board.moved)
    priority = [one.priority for one in work.problem.cloud.servers]

    def price(left: Iterable[int]) -> tuple[list[int], float]:
        """Whom it leaves, the most urgent first, and what the moves of others cost."""
        others = sorted(board.moved - earlier - set(going))
        return sorted((priority[one] for one in left), reverse=True), float(work.problem.cost[others].sum())

    left = _place_in_turn(work, going, Spreading(board).best, deadline.part(0.5))
    found = price(left)
    if found == ([], 0.0):
        return left
    spread = {one: board.at[one] for one in board.since(mark)}
    board.undo(mark)
    packed = _place_in_turn(work, going, board.best, deadline)
    if price(packed) < found:
        return packed
    board.undo(mark)
    for one, host in spread.items():
        board.put(one, host)
    return left


def _place_in_turn(
    work: Work, going: Sequence[int], best: Callable[[int, Bools], int], deadline: Deadline
) -> dict[int, str | None]:
    left: dict[int, str | None] = {}
    room = replace(work.room(), best=best, late=deadline.over)
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
    board = work.board
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
                return left, not work.unordered
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
            return left, exact and answer.proven and not work.unordered
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

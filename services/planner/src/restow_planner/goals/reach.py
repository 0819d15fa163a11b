"""Reach: the operator's own target placement, all of it or none; pure.

Nothing is searched: the targets are judged by the rules. Only pairs that failed before are left out on their
own, so that the rest of an undo can go on.
"""

from restow.ids import HostName, ServerId
from restow.messages.plan import Blocker, Outcome
from restow.messages.request import ReachRequest
from restow_planner.goals.names import Names
from restow_planner.goals.obstacles import barred, pinned, stranded
from restow_planner.goals.work import Verdict, Work
from restow_planner.rules import all_violations, worse
from restow_planner.solvers.board import NOWHERE


class Reach:
    request = ReachRequest

    def check(self, request: ReachRequest, names: Names, at: str) -> None:
        names.servers(request.targets, f"{at}targets")
        names.hosts([host for host in request.targets.values() if host is not None], f"{at}targets")

    def pursue(self, work: Work, request: ReachRequest) -> Verdict:
        board, problem = work.board, work.problem
        mark, said = board.mark(), len(work.blockers)
        avoided: list[Blocker] = []
        for server_id, host_name in request.targets.items():
            server = problem.server_index[ServerId(server_id)]
            target = NOWHERE if host_name is None else problem.host_index[HostName(host_name)]
            if board.at[server] == target:
                work.stay(server, "is where it is wanted already")
                continue
            if target in board.barred.get(server, ()):
                avoided.append(barred(work, server, [target]))
                continue
            blocker = self._forbidden(work, server, target)
            if blocker is not None:
                work.blockers.append(blocker)
            board.put(server, target)
            if target == NOWHERE:
                work.shelved.add(server)
            work.why[server] = "the request wants it shelved" if target == NOWHERE else "the request wants it there"
        self._judge(work)
        broken = work.limit_broken()
        if broken is not None:
            why = f"this placement takes {len(board.moved)} changes, which exceeds {broken}"
            work.blockers.append(Blocker(server=None, rule=broken, why=why, relaxation=f"raise {broken}"))
        if len(work.blockers) > said:
            board.undo(mark)
            why = work.blockers[said].why
            work.blockers += avoided
            return Verdict(Outcome.IMPOSSIBLE, f"this placement is not allowed: {why}")
        work.blockers += avoided
        if not work.changes():
            outcome = Outcome.IMPOSSIBLE if avoided else Outcome.NOTHING_TO_DO
            return Verdict(outcome, avoided[0].why if avoided else "every server is where it is wanted")
        for server_id in request.targets:
            server = problem.server_index[ServerId(server_id)]
            board.pinned.setdefault(server, ("reach", "the request says where it stands"))
        cost = float(problem.cost[[one for one in work.changes() if board.at[one] >= 0]].sum())
        return Verdict(Outcome.PLAN, "the placement asked for is allowed", cost, cost)

    def _forbidden(self, work: Work, server: int, target: int) -> Blocker | None:
        """What stands against it besides the rules of the cloud."""
        problem, board = work.problem, work.board
        here = board.at[server]
        if server in board.pinned:
            return pinned(work, server)
        if target >= 0 and not board.open[target] and target not in problem.closed:
            why = f"{work.host(target)} takes nothing in by this request"
            return _blocker(work, server, "exclude_hosts", why, f"take {work.host(target)} off the excluded hosts")
        if here >= 0 and target >= 0 and here == problem.start[server]:
            return stranded(work, server) if work.stranded(server) else None
        return None

    def _judge(self, work: Work) -> None:
        cloud = work.problem.cloud
        start = {one.id: () if one.host is None else (one.host,) for one in cloud.servers}
        ends = {work.server(index): () if host < 0 else (work.host(host),) for index, host in enumerate(work.board.at)}
        known = {(one.server, one.rule) for one in work.blockers}
        for violation in worse(all_violations(cloud, start), all_violations(cloud, ends)):
            server = violation.subject if violation.subject in cloud.server_by_id else None
            if (server, violation.rule) not in known:
                relaxation = f"choose another target, or relax {violation.rule}"
                work.blockers.append(
                    Blocker(server=server, rule=violation.rule, why=violation.why, relaxation=relaxation)
                )


def _blocker(work: Work, server: int, rule: str, why: str, relaxation: str) -> Blocker:
    return Blocker(server=work.server(server), rule=rule, why=why, relaxation=relaxation)

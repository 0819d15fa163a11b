"""Recover: the servers of failed hosts run elsewhere, the highest priority first; pure.

The hosts are fenced before anything is rebuilt. Servers that are alive may be moved to make room, but never
lose their place to one that is not.
"""

from restow.messages.plan import Action
from restow.messages.request import RecoverRequest
from restow_planner.goals.leave import leave
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work


class Recover:
    request = RecoverRequest

    def check(self, request: RecoverRequest, names: Names, at: str) -> None:
        names.hosts(request.hosts, f"{at}hosts")

    def pursue(self, work: Work, request: RecoverRequest) -> Verdict:
        problem = work.problem
        hosts = [problem.host_index[name] for name in dict.fromkeys(request.hosts)]  # type: ignore[index]
        servers = [one for host in hosts for one in work.board.on[host]]
        priority = [one.priority for one in problem.cloud.servers]
        order = sorted(servers, key=lambda one: (-priority[one], -problem.size[one], one))
        dead = [one for one in servers if problem.start[one] in hosts]
        work.dead.update(dead)
        work.board.lose(dead)
        work.urgent += order
        verdict = leave(work, hosts, order, "its host has failed")
        if order:
            work.host_steps_first(Action.DISABLE_HOST, hosts)
            work.host_steps_first(Action.FENCE, hosts)
        return verdict

"""Evacuate: no server is left on these hosts, and they take none in; pure."""

from restow.messages.plan import Action, Outcome
from restow.messages.request import EvacuateRequest
from restow_planner.goals.leave import leave
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work


class Evacuate:
    request = EvacuateRequest

    def check(self, request: EvacuateRequest, names: Names, at: str) -> None:
        names.hosts(request.hosts, f"{at}hosts")

    def pursue(self, work: Work, request: EvacuateRequest) -> Verdict:
        hosts = [work.problem.host_index[name] for name in dict.fromkeys(request.hosts)]  # type: ignore[index]
        servers = [one for host in hosts for one in work.board.on[host]]
        size = work.problem.size
        order = sorted(servers, key=lambda one: (-size[one], one))
        verdict = leave(work, hosts, order, "its host is being emptied")
        if verdict.outcome is Outcome.PLAN and order:  # a host that keeps all its servers is not shut
            enabled = [host for host in hosts if work.problem.cloud.hosts[host].enabled]
            work.host_steps_first(Action.DISABLE_HOST, enabled)
        return verdict

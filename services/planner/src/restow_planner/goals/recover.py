"""Recover: the servers of failed hosts run elsewhere, the highest priority first; pure.

The hosts are fenced before anything is rebuilt. Named servers that run nowhere are started: nothing of them is
left to fence. Servers that are alive may be moved to make room, but never lose their place to one that is not.

A host that the cloud still calls up is no reason to refuse: the detector's evidence is often ahead of Nova's word. The
plan says so, and the fence decides. A person who asks is refused before, by the api.
"""

from collections.abc import Iterable
from dataclasses import replace

from restow.cloud.model import LOCAL_STORAGE, Host, HostState, Power
from restow.messages.plan import Action
from restow.messages.request import RecoverRequest
from restow_planner.goals.leave import leave
from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work
from restow_planner.solvers.board import NOWHERE


class Recover:
    request = RecoverRequest

    def check(self, request: RecoverRequest, names: Names, at: str) -> None:
        names.hosts(request.hosts, f"{at}hosts")
        names.servers(request.servers, f"{at}servers")

    def pursue(self, work: Work, request: RecoverRequest) -> Verdict:
        problem = work.problem
        hosts = [problem.host_index[name] for name in dict.fromkeys(request.hosts)]  # type: ignore[index]
        named = [problem.server_index[name] for name in dict.fromkeys(request.servers)]  # type: ignore[index]
        lost = [one for one in named if work.board.at[one] == NOWHERE and problem.start[one] == NOWHERE]
        for server in set(named).difference(lost):
            work.stay(server, "is shelved by this plan" if work.board.at[server] == NOWHERE else "is on a host")
        servers = [one for host in hosts for one in work.board.on[host]] + lost
        priority = [one.priority for one in problem.cloud.servers]
        order = sorted(servers, key=lambda one: (-priority[one], -problem.size[one], one))
        dead = [one for one in servers if problem.start[one] in hosts]
        work.dead.update(dead)
        work.board.lose(dead)
        if not request.empty_disks:
            _keep_disks(work, dead)
        work.urgent += order
        for server in lost:
            work.why[server] = "it runs nowhere and is to run"
        verdict = leave(work, hosts, order, "its host has failed")
        if hosts and order:
            work.host_steps_first(Action.DISABLE_HOST, hosts)
            work.host_steps_first(Action.FENCE, hosts)
        called_up = [work.host(one) for one in hosts if _is_called_up(problem.cloud.hosts[one])]
        if called_up:
            verdict = replace(verdict, why=f"{verdict.why}; {', '.join(called_up)} {STILL_UP}")
        return verdict


STILL_UP = "still up by the word of the cloud: a host that lives is not fenced, and its servers stay; use evacuate"


def _is_called_up(host: Host) -> bool:
    return host.state is HostState.UP and not host.forced_down and host.power is not Power.OFF


def _keep_disks(work: Work, dead: Iterable[int]) -> None:
    """A server whose disk was on its host would come back empty: it waits for its host, unless the request wants it."""
    for server in dead:
        if work.problem.cloud.servers[server].storage == LOCAL_STORAGE:
            why = f"its disk is on {work.host(int(work.problem.start[server]))}: rebuilt elsewhere, it would be empty"
            work.board.pinned.setdefault(server, ("storage", why))

"""The referee: judges a plan by the cloud alone, and shares no code with solvers or ordering; pure."""

from collections.abc import Iterator

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import MOVES, Action, Outcome, Plan
from restow.messages.request import EvacuateRequest, ReachRequest, RecoverRequest
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph, read_graph
from restow_planner.referee.random_replay import replay_random
from restow_planner.referee.rules import end_placement, rule_findings
from restow_planner.referee.steps import requests, step_findings

__all__ = ["Finding", "check", "replay_random"]

TOLERANCE_S = 0.01


def check(cloud: Cloud, plan: Plan) -> tuple[Finding, ...]:
    """Everything that is wrong with this plan for this cloud; empty: it is safe in every interleaving."""
    graph = read_graph(plan)
    if not isinstance(graph, Graph):
        return graph
    wrong = tuple(step_findings(cloud, plan, graph))
    if any(finding.kind == "step" for finding in wrong):
        return wrong  # the rest would be judged on servers and hosts that are not where the plan thinks
    return (*wrong, *rule_findings(cloud, graph), *_goal(cloud, plan, graph), *_numbers(plan, graph))


def _goal(cloud: Cloud, plan: Plan, graph: Graph) -> Iterator[Finding]:
    """Whether the end is what was asked for, or says of whom it is not."""
    if plan.outcome in (Outcome.IMPOSSIBLE, Outcome.NOTHING_TO_DO) and plan.steps:
        yield Finding("goal", f"outcome {plan.outcome} with {len(plan.steps)} steps")
    if plan.outcome is Outcome.IMPOSSIBLE and not plan.blockers:
        yield Finding("goal", "impossible without a blocker that says why")
    if plan.outcome not in (Outcome.PLAN, Outcome.NOTHING_TO_DO):
        return
    ends = end_placement(cloud, graph)
    excused = {blocker.server for blocker in plan.blockers}
    for request in requests(plan.request):
        match request:
            case EvacuateRequest() | RecoverRequest():
                for name in request.hosts:
                    for server in cloud.servers_on.get(HostName(name), ()):
                        if ends.get(server.id, server.host) == name and server.id not in excused:
                            yield Finding("goal", f"{server.id} is left on {name}, and no blocker says why")
                for lost in request.servers if isinstance(request, RecoverRequest) else ():
                    server_at = cloud.server_by_id.get(ServerId(lost))
                    at = ends.get(ServerId(lost), server_at.host if server_at else None)
                    if at is None and lost not in excused:
                        yield Finding("goal", f"{lost} runs nowhere at the end, and no blocker says why")
            case ReachRequest():
                for server_id, target in request.targets.items():
                    known = cloud.server_by_id.get(ServerId(server_id))
                    at = ends.get(ServerId(server_id), known.host if known else None)
                    if at != target and server_id not in excused:
                        yield Finding("goal", f"{server_id} ends on {at}, not on {target}, and no blocker says why")
            case _:
                pass


def _numbers(plan: Plan, graph: Graph) -> Iterator[Finding]:
    for step in plan.steps:
        late = [e.step for e in step.waits_for if graph.steps[graph.number[e.step]].end_s > step.start_s + TOLERANCE_S]
        if late:
            yield Finding("schedule", f"starts at {step.start_s} s, before {late[0]} has ended", step.id)
        if step.end_s < step.start_s:
            yield Finding("schedule", f"ends at {step.end_s} s, before it starts", step.id)
    last = max((step.end_s for step in plan.steps), default=0.0)
    if abs(last - plan.makespan_s) > TOLERANCE_S:
        yield Finding("schedule", f"makespan_s is {plan.makespan_s}, the last step ends at {last}")
    carried = sum(step.moved_mib for step in plan.steps if step.action in MOVES and step.action is not Action.EVACUATE)
    if carried != plan.moved_mib:
        yield Finding("format", f"moved_mib is {plan.moved_mib}, the steps carry {carried}")

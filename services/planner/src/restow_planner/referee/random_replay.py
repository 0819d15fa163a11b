"""One random legal interleaving, played out, with every rule judged at every instant; pure, seeded."""

from random import Random

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Plan
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph, read_graph
from restow_planner.referee.rules import hosts_reached
from restow_planner.rules import all_violations, worse
from restow_planner.rules.affected import affected


def replay_random(cloud: Cloud, plan: Plan, seed: int) -> tuple[Finding, ...]:
    """What went wrong in this interleaving; steps start and end in any order that `waits_for` allows."""
    graph = read_graph(plan)
    if not isinstance(graph, Graph):
        return graph
    dice = Random(seed)  # noqa: S311  (a test's dice, not a secret)
    small = affected(cloud, hosts_reached(graph))
    fenced: set[str] = set()
    where: dict[ServerId, tuple[HostName, ...]] = {
        one.id: () if one.host is None else (one.host,) for one in small.servers
    }
    # What the death of a host has broken, the plan has not.
    dying = {step.host for step in plan.steps if step.action is Action.FENCE}
    living = {one: tuple(name for name in names if name not in dying) for one, names in where.items()}
    at_start = all_violations(small, where) + all_violations(small, living)
    waiting = {index: {graph.number[edge.step] for edge in step.waits_for} for index, step in enumerate(plan.steps)}
    running: list[int] = []
    ended: set[int] = set()
    found: list[Finding] = []
    while waiting or running:
        ready = sorted(index for index, needs in waiting.items() if needs <= ended)
        choice = dice.randrange(len(ready) + len(running))
        index = ready[choice] if choice < len(ready) else running[choice - len(ready)]
        step = plan.steps[index]
        starts = choice < len(ready)
        if starts:
            del waiting[index]
            running.append(index)
        else:
            running.remove(index)
            ended.add(index)
            if step.action is Action.FENCE and step.host is not None:
                fenced.add(step.host)
        if step.server is not None and step.action is not Action.STOP:
            server = ServerId(step.server)
            if starts and step.source is not None and HostName(step.source) not in where[server]:
                found.append(Finding("step", f"{server} is not on {step.source} when it starts", step.id))
            ends = (step.source, step.target) if starts else (step.target,)
            where[server] = tuple(HostName(name) for name in ends if name is not None)
        held = {one: tuple(name for name in names if name not in fenced) for one, names in where.items()}
        found += [
            Finding("rule", f"{violation.rule}: {violation.why}", step.id)
            for violation in worse(at_start, all_violations(small, held))
        ]
    return tuple(found)

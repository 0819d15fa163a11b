"""The graph of a plan as the referee reads it: numbers, ancestors, the steps of each server; pure."""

from dataclasses import dataclass

from restow.ids import ServerId
from restow.messages.plan import Plan, Step
from restow_planner.referee.findings import Finding


@dataclass(frozen=True, slots=True)
class Graph:
    """`ancestors[n]`: bits of all steps that have ended before step n may start; `line[n]`: a valid order."""

    steps: tuple[Step, ...]
    number: dict[str, int]
    ancestors: tuple[int, ...]
    line: tuple[int, ...]
    of_server: dict[ServerId, tuple[int, ...]]

    def before(self, one: int, other: int) -> bool:
        return bool(self.ancestors[other] >> one & 1)


def read_graph(plan: Plan) -> Graph | tuple[Finding, ...]:
    """The graph, or what makes it none: ids that repeat, edges to nowhere, circles."""
    number = {step.id: index for index, step in enumerate(plan.steps)}
    wrong = []
    if len(number) != len(plan.steps):
        wrong.append(Finding("format", "two steps have the same id"))
    for step in plan.steps:
        wrong += [
            Finding("format", f"waits for {edge.step}, which is no step of this plan", step.id)
            for edge in step.waits_for
            if edge.step not in number
        ]
    if wrong:
        return tuple(wrong)
    after: list[list[int]] = [[] for _ in plan.steps]
    missing = [0] * len(plan.steps)
    for index, step in enumerate(plan.steps):
        for name in {edge.step for edge in step.waits_for}:
            after[number[name]].append(index)
            missing[index] += 1
    ancestors = [0] * len(plan.steps)
    line = [index for index, count in enumerate(missing) if count == 0]
    for index in line:
        for one in after[index]:
            ancestors[one] |= ancestors[index] | 1 << index
            missing[one] -= 1
            if missing[one] == 0:
                line.append(one)
    if len(line) != len(plan.steps):
        stuck = next(step.id for step, count in zip(plan.steps, missing, strict=True) if count)
        return (Finding("format", "waits for itself, through others: it can never start", stuck),)
    of_server: dict[ServerId, list[int]] = {}
    for index in line:
        server = plan.steps[index].server
        if server is not None:
            of_server.setdefault(ServerId(server), []).append(index)
    grouped = {server: tuple(steps) for server, steps in of_server.items()}
    return Graph(plan.steps, number, tuple(ancestors), tuple(line), grouped)

"""Every rule at every instant of every interleaving; pure.

Counters are exact by minimum cuts; groups by walking all states of their own members' steps; isolation by asking of
each two servers whether they can meet; what concerns one server alone by all the hosts that it ever holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow_planner.referee.counters import budget_findings, cell_findings, counter_findings
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph
from restow_planner.referee.groups import group_findings
from restow_planner.referee.meetings import meeting_findings
from restow_planner.rules import all_violations, worse
from restow_planner.rules.affected import affected

ALONE = frozenset(
    {
        "host state", "unmovable", "zone", "traits", "allow", "ban", "residency", "dedicate", "aggregates", "cpu",
        "storage", "devices", "services",
    }
)  # fmt: skip
"""Rules about one server and where it stands; the first word of a violation's rule tells them apart."""


def rule_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    yield from counter_findings(cloud, graph)
    yield from cell_findings(cloud, graph)
    yield from budget_findings(cloud, graph)
    yield from group_findings(cloud, graph)
    yield from meeting_findings(cloud, graph)
    yield from _alone(cloud, graph)
    yield from _end(cloud, graph)


def end_placement(cloud: Cloud, graph: Graph) -> dict[ServerId, HostName | None]:
    """Where each server that the plan touches is when all steps have ended."""
    found: dict[ServerId, HostName | None] = {}
    for server, numbers in graph.of_server.items():
        at = cloud.server_by_id[server].host
        for number in numbers:
            step = graph.steps[number]
            if step.action is not Action.STOP:
                at = None if step.target is None else HostName(step.target)
        found[server] = at
    return found


def hosts_reached(graph: Graph) -> dict[ServerId, tuple[HostName, ...]]:
    """Every host that each server comes to on its way, in the order of its steps."""
    return {
        server: tuple(HostName(target) for number in numbers if (target := graph.steps[number].target) is not None)
        for server, numbers in graph.of_server.items()
    }


# --- one server, and the end ---------------------------------------------------------------


def _alone(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    moved = [cloud.server_by_id[server] for server in graph.of_server]
    names = {one.host for one in moved} | {name for step in graph.steps for name in (step.source, step.target)}
    small = replace(
        cloud, hosts=tuple(host for host in cloud.hosts if host.name in names), servers=tuple(moved), groups=()
    )
    where = {}
    for one in moved:
        ends = [one.host, *(graph.steps[number].target for number in graph.of_server[one.id])]
        where[one.id] = tuple(dict.fromkeys(HostName(name) for name in ends if name is not None))
    home = {one.id: () if one.host is None else (one.host,) for one in moved}
    for found in worse(all_violations(small, home), all_violations(small, where)):
        if any(found.rule == kind or found.rule.startswith(kind + " ") for kind in ALONE):
            yield Finding("rule", f"{found.rule}: {found.why}")


def _end(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    """Begin against end, on the part of the cloud that the plan can have changed."""
    small = affected(cloud, hosts_reached(graph))
    home: dict[ServerId, tuple[HostName, ...]] = {
        one.id: () if one.host is None else (one.host,) for one in small.servers
    }
    ends = end_placement(cloud, graph)
    after = home | {server: () if host is None else (host,) for server, host in ends.items()}
    before = all_violations(small, home)
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    if any(not fenced.isdisjoint(hosts) for hosts in after.values()):
        # Some were not rebuilt: they run nowhere, and what their death has broken stays broken.
        before += all_violations(small, _without(home, fenced))
        after = _without(after, fenced)
    for found in worse(before, all_violations(small, after)):
        yield Finding("rule", f"at the end, {found.rule}: {found.why}")


def _without(
    where: Mapping[ServerId, tuple[HostName, ...]], fenced: set[str | None]
) -> dict[ServerId, tuple[HostName, ...]]:
    return {server: tuple(host for host in hosts if host not in fenced) for server, hosts in where.items()}

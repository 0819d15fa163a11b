"""Who may not be on a host together with whom: can any two of them meet in any interleaving? pure.

A server is on a host from the start of the step that brings it to the end of the step that takes it away. Two do not
meet where the step that takes one away has ended before the step that brings the other may start.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from restow.cloud.model import Cloud, Isolate
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph


@dataclass(frozen=True, slots=True)
class _Stay:
    """`came` None: there from the start; `goes` None: there to the end."""

    server: ServerId
    came: int | None
    goes: int | None


def meeting_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    rules = [(n, spec) for n, spec in enumerate(cloud.rules) if isinstance(spec, Isolate) and spec.soft is None]
    if not rules:
        return
    stays = _stays(cloud, graph)
    for index, spec in rules:
        mine = frozenset(spec.servers)
        for host, here in stays.items():
            for one in (stay for stay in here if stay.server in mine):
                met = next((other for other in here if other.server not in mine and _meet(graph, one, other)), None)
                if met is not None:
                    yield Finding("rule", f"isolate {index}: {one.server} and {met.server} can meet on {host}")
                    break


def _stays(cloud: Cloud, graph: Graph) -> dict[HostName, list[_Stay]]:
    """Per host that anybody comes to: everybody who is ever there."""
    reached = {HostName(step.target) for step in graph.steps if step.target is not None}
    found: dict[HostName, list[_Stay]] = {}
    for name in reached:
        found[name] = [_Stay(one.id, None, None) for one in cloud.servers_on[name] if one.id not in graph.of_server]
    for server, numbers in graph.of_server.items():
        at, came = cloud.server_by_id[server].host, None
        for number in numbers:
            step = graph.steps[number]
            if step.action is Action.STOP:
                continue
            if at in reached and at is not None:
                found[at].append(_Stay(server, came, number))
            at, came = None if step.target is None else HostName(step.target), number
        if at in reached and at is not None:
            found[at].append(_Stay(server, came, None))
    return found


def _meet(graph: Graph, one: _Stay, other: _Stay) -> bool:
    """Whether both can be there at once, and one of them comes for it: who were there together before, may."""
    if one.came is None and other.came is None:
        return False
    first = one.goes is not None and other.came is not None and graph.before(one.goes, other.came)
    second = other.goes is not None and one.came is not None and graph.before(other.goes, one.came)
    return not first and not second

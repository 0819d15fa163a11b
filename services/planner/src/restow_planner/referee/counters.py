"""What runs out, at every instant of every interleaving: exact by minimum cuts; pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from restow.cloud.model import (
    AtMostPer,
    Budget,
    Cloud,
    GroupPolicy,
    Host,
    LoadBelow,
    Reserve,
    Resource,
    Server,
    Unit,
)
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow_planner.referee.closure import highest
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph
from restow_planner.rules.load import allowed, brings, loads
from restow_planner.rules.numa import claims_in


def _one(_: Server) -> int:
    """Servers are counted."""
    return 1


@dataclass(frozen=True, slots=True)
class _Tally:
    """`members` None: everybody; `weigh`: of each server. One counter for each unit of `per`."""

    rule: str
    per: Unit
    limit: Mapping[str, int]
    resource: str | None = None
    members: frozenset[ServerId] | None = None
    weigh: Callable[[Server], int] = _one


def unit_in(host: Host, per: Unit) -> str:
    return {"host": host.name, "rack": host.rack or "(unknown)", "zone": host.zone or "(unknown)"}[per]


def _tallies(cloud: Cloud, touched: frozenset[ServerId]) -> Iterator[_Tally]:
    for resource in cloud.resources:
        limit: dict[str, int] = {host.name: host.capacity.get(resource, 0) for host in cloud.hosts}
        yield _Tally(f"capacity {resource}", "host", limit, resource, weigh=_claim(resource))
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Reserve) and spec.soft is None and spec.keep_free.get(resource, 0) > 0:
                kept: dict[str, int] = {
                    name: max(0, limit[name] - spec.keep_free[resource]) for name in spec.hosts if name in limit
                }
                yield _Tally(f"reserve {index}", "host", kept, resource, weigh=_claim(resource))
    for index, spec in enumerate(cloud.rules):
        if isinstance(spec, LoadBelow) and spec.soft is None:
            yield from _loads(cloud, index, spec)
    same: dict[int, dict[str, int]] = {}  # by the number of members a host may hold
    for index, spec in enumerate(cloud.rules):
        if isinstance(spec, AtMostPer) and spec.soft is None and not touched.isdisjoint(spec.servers):
            units = {unit_in(host, spec.per): spec.count for host in cloud.hosts}
            yield _Tally(f"at-most {index}", spec.per, units, members=frozenset(spec.servers))
    for group in cloud.groups:
        if group.policy is GroupPolicy.ANTI_AFFINITY and not touched.isdisjoint(group.members):
            if group.max_per_host not in same:
                same[group.max_per_host] = {host.name: group.max_per_host for host in cloud.hosts}
            by_host = same[group.max_per_host]
            yield _Tally(f"anti-affinity {group.id}", "host", by_host, members=frozenset(group.members))


def _loads(cloud: Cloud, index: int, spec: LoadBelow) -> Iterator[_Tally]:
    """What the servers of a host may bring, as its load at the start leaves it."""
    home: dict[ServerId, tuple[HostName, ...]] = {}
    for measure, share in spec.at_most.items():
        hosts = [host for name in spec.hosts if measure in (host := cloud.host_by_name[name]).physical]
        besides = loads(cloud, measure, home, frozenset(host.name for host in hosts))
        limit: dict[str, int] = {
            host.name: allowed(host.physical[measure], share) - besides[host.name] for host in hosts
        }
        yield _Tally(f"load {index}", "host", limit, f"thousandths of {measure}", weigh=_brought(measure))


def _claim(resource: Resource) -> Callable[[Server], int]:
    return lambda server: server.demand.get(resource, 0)


def _brought(measure: str) -> Callable[[Server], int]:
    return lambda server: brings(server, measure)


def counter_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    touched = frozenset(graph.of_server)
    hosts = cloud.host_by_name
    for tally in _tallies(cloud, touched):
        arrivals: dict[str, list[tuple[int, int]]] = {}
        departures: dict[str, list[tuple[int, int]]] = {}
        counted = touched if tally.members is None else touched & tally.members
        for number in sorted(number for one in counted for number in graph.of_server[one]):
            step = graph.steps[number]
            server = cloud.server_by_id.get(ServerId(step.server)) if step.server is not None else None
            if server is None or step.action is Action.STOP:
                continue
            amount = tally.weigh(server)
            left, reached = (
                None if name is None else unit_in(hosts[HostName(name)], tally.per)
                for name in (step.source, step.target)
            )
            if amount and left != reached:
                if reached is not None:
                    arrivals.setdefault(reached, []).append((number, amount))
                if left is not None:
                    departures.setdefault(left, []).append((number, amount))
        start = _load_at_start(cloud, tally, frozenset(arrivals))
        for unit, coming in arrivals.items():
            if unit not in tally.limit:
                continue
            most, chosen = highest(start[unit], coming, departures.get(unit, ()), graph.ancestors)
            if most > max(tally.limit[unit], start[unit]):
                what = "servers" if tally.resource is None else tally.resource
                names = ", ".join(graph.steps[number].id for number in chosen[:8])
                yield Finding(
                    "rule", f"{tally.rule}: {unit} can come to {most} {what} of {tally.limit[unit]} ({names} together)"
                )


def _load_at_start(cloud: Cloud, tally: _Tally, units: frozenset[str]) -> dict[str, int]:
    load = dict.fromkeys(units, 0)
    if tally.members is None:
        for unit in units:
            load[unit] = sum(tally.weigh(one) for one in cloud.servers_on[HostName(unit)])
        return load
    for member in tally.members:
        server = cloud.server_by_id.get(member)
        if server is not None and server.host in cloud.host_by_name and server.host is not None:
            unit = unit_in(cloud.host_by_name[server.host], tally.per)
            if unit in load:
                load[unit] += 1
    return load


def budget_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    """Who is on the way counts from the start of a step to its end: it arrives, and departs, by the same step."""
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    for index, spec in enumerate(cloud.rules):
        if not isinstance(spec, Budget) or spec.soft is not None:
            continue
        own = sorted(
            number
            for one in dict.fromkeys(spec.servers)
            for number in graph.of_server.get(one, ())
            if graph.steps[number].target is not None and graph.steps[number].source not in (None, *fenced)
        )
        moves = [(number, 1) for number in own]
        most, chosen = highest(0, moves, moves, graph.ancestors)
        if most > spec.at_once:
            names = ", ".join(graph.steps[number].id for number in chosen[:8])
            yield Finding("rule", f"budget {index}: {most} servers can be on their way of {spec.at_once} ({names})")


def cell_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    """NUMA cells: who arrives may be given any, who leaves gives back those that it surely had."""
    moved = [cloud.server_by_id[one] for one in graph.of_server if cloud.server_by_id[one].numa]
    reached = {
        HostName(target)
        for one in moved
        for number in graph.of_server[one.id]
        if (target := graph.steps[number].target) is not None
    }
    for one in moved:
        for number in graph.of_server[one.id]:
            target = graph.steps[number].target
            if target is not None and len(cloud.host_by_name[HostName(target)].numa) < len(one.numa):
                why = f"numa: {one.id} comes to {target}, which has fewer NUMA cells than it"
                yield Finding("rule", why, graph.steps[number].id)
    for name in sorted(reached):
        for place, cell in enumerate(cloud.host_by_name[name].numa):
            wanted = {resource for one in moved for part in one.numa for resource in part}
            for resource in sorted(wanted):
                start = sum(claims_in(one, name, place).get(resource, 0) for one in cloud.servers_on[name] if one.numa)
                coming, going = _through(graph, moved, name, place, resource)
                most, chosen = highest(start, coming, going, graph.ancestors)
                if coming and most > max(cell.get(resource, 0), start):
                    names = ", ".join(graph.steps[number].id for number in chosen[:8])
                    why = f"numa: cell {place} of {name} can come to {most} {resource} ({names} together)"
                    yield Finding("rule", why)


def _through(
    graph: Graph, servers: Iterable[Server], host: HostName, place: int, resource: Resource
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """What the steps of these servers bring to the cell, and what they give back."""
    coming, going = [], []
    for server in servers:
        away = max(cell.get(resource, 0) for cell in server.numa)
        first = True
        for number in graph.of_server[server.id]:
            step = graph.steps[number]
            if step.action is Action.STOP:
                continue
            if step.target == host and away:
                coming.append((number, away))
            amount = claims_in(server, host, place).get(resource, 0) if first else away
            if step.source == host and amount:
                going.append((number, amount))
            first = False
    return coming, going

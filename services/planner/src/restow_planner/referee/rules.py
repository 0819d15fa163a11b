"""Every rule at every instant of every interleaving; pure.

Counters are exact by minimum cuts; groups by walking all states of their own members' steps; what concerns
one server alone by all the hosts that it ever holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from restow.cloud.model import (
    Among,
    AtMostPer,
    Cloud,
    Group,
    GroupPolicy,
    Host,
    Reserve,
    RuleSpec,
    SpreadOver,
    TogetherIn,
    Unit,
)
from restow.ids import HostName, ServerId
from restow.messages.plan import Action
from restow_planner.referee.closure import highest
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph
from restow_planner.rules import all_violations, worse
from restow_planner.rules.affected import affected
from restow_planner.rules.base import Violation

GROUP_STATES_MAX = 20_000
ALONE = frozenset({"host state", "unmovable", "zone", "traits", "allow", "ban"})
"""Rules about one server and where it stands; the first word of a violation's rule tells them apart."""


def rule_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    yield from _counters(cloud, graph)
    yield from _groups(cloud, graph)
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


# --- counters ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tally:
    """`weigh`: what each server weighs; `members` None: everybody. One counter for each unit of `per`."""

    rule: str
    per: Unit
    limit: Mapping[str, int]
    resource: str | None = None
    members: frozenset[ServerId] | None = None


def _unit(host: Host, per: Unit) -> str:
    return {"host": host.name, "rack": host.rack or "(unknown)", "zone": host.zone or "(unknown)"}[per]


def _tallies(cloud: Cloud, touched: frozenset[ServerId]) -> Iterator[_Tally]:
    for resource in cloud.resources:
        limit: dict[str, int] = {host.name: host.capacity.get(resource, 0) for host in cloud.hosts}
        yield _Tally(f"capacity {resource}", "host", limit, resource=resource)
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Reserve) and spec.soft is None and spec.keep_free.get(resource, 0) > 0:
                kept: dict[str, int] = {
                    name: max(0, limit[name] - spec.keep_free[resource]) for name in spec.hosts if name in limit
                }
                yield _Tally(f"reserve {index}", "host", kept, resource=resource)
    same: dict[int, dict[str, int]] = {}  # by the number of members a host may hold
    for index, spec in enumerate(cloud.rules):
        if isinstance(spec, AtMostPer) and spec.soft is None and not touched.isdisjoint(spec.servers):
            units = {_unit(host, spec.per): spec.count for host in cloud.hosts}
            yield _Tally(f"at-most {index}", spec.per, units, members=frozenset(spec.servers))
    for group in cloud.groups:
        if group.policy is GroupPolicy.ANTI_AFFINITY and not touched.isdisjoint(group.members):
            if group.max_per_host not in same:
                same[group.max_per_host] = {host.name: group.max_per_host for host in cloud.hosts}
            by_host = same[group.max_per_host]
            yield _Tally(f"anti-affinity {group.id}", "host", by_host, members=frozenset(group.members))


def _counters(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
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
            amount = 1 if tally.resource is None else server.demand.get(tally.resource, 0)
            left, reached = (
                None if name is None else _unit(hosts[HostName(name)], tally.per) for name in (step.source, step.target)
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
            load[unit] = sum(one.demand.get(tally.resource or "", 0) for one in cloud.servers_on[HostName(unit)])
        return load
    for member in tally.members:
        server = cloud.server_by_id.get(member)
        if server is not None and server.host in cloud.host_by_name and server.host is not None:
            unit = _unit(cloud.host_by_name[server.host], tally.per)
            if unit in load:
                load[unit] += 1
    return load


# --- groups --------------------------------------------------------------------------------


def _groups(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    touched = frozenset(graph.of_server)
    for group in cloud.groups:
        if group.policy is GroupPolicy.AFFINITY and not touched.isdisjoint(group.members):
            yield from _walk(cloud, graph, f"affinity {group.id}", group.members, groups=(group,))
    for index, spec in enumerate(cloud.rules):
        if (
            isinstance(spec, SpreadOver | TogetherIn | Among)
            and spec.soft is None
            and not touched.isdisjoint(spec.servers)
            and not _cannot_break(cloud, graph, spec)
        ):
            kind = {SpreadOver: "spread", TogetherIn: "together", Among: "among"}[type(spec)]
            yield from _walk(cloud, graph, f"{kind} {index}", spec.servers, rules=(spec,))


def _cannot_break(cloud: Cloud, graph: Graph, spec: SpreadOver | TogetherIn | Among) -> bool:
    """Whether no state at all can break the rule: then there is no need to walk them, of which there may be millions.

    So it is where all hosts that any member ever holds are in one set, or where enough units have a member that stays.
    """
    present = [cloud.server_by_id[one] for one in dict.fromkeys(spec.servers) if one in cloud.server_by_id]
    own = [graph.steps[number] for one in present for number in graph.of_server.get(one.id, ())]
    ends = {name for step in own for name in (step.source, step.target)} | {one.host for one in present}
    held = {HostName(name) for name in ends if name is not None}
    hosts = cloud.host_by_name
    match spec:
        case Among():
            return any(held.issubset(one) for one in spec.host_sets)
        case TogetherIn():
            return len({_unit(hosts[name], spec.per) for name in held}) <= 1
        case SpreadOver():
            fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
            here = (one.host for one in present if one.id not in graph.of_server)
            staying = [host for host in here if host is not None and host not in fenced]
            return len({_unit(hosts[name], spec.over) for name in staying}) >= spec.at_least


def _walk(
    cloud: Cloud, graph: Graph, rule: str, members: Iterable[ServerId],
    *, groups: tuple[Group, ...] = (), rules: tuple[RuleSpec, ...] = (),
) -> Iterator[Finding]:  # fmt: skip
    """All states of the members' own steps: none, under way, or ended, as far as the edges allow."""
    present = [cloud.server_by_id[one] for one in dict.fromkeys(members) if one in cloud.server_by_id]
    own = [number for one in present for number in graph.of_server.get(one.id, ())]
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    names = {one.host for one in present} | {
        name for number in own for name in (graph.steps[number].source, graph.steps[number].target)
    }
    small = replace(
        cloud, hosts=tuple(host for host in cloud.hosts if host.name in names), servers=tuple(present),
        groups=groups, rules=rules,
    )  # fmt: skip
    chains = {one.id: [number for number in own if graph.steps[number].server == one.id] for one in present}
    place = {number: bit for bit, number in enumerate(own)}
    needs = [sum(1 << place[other] for other in own if graph.before(other, number)) for number in own]

    def held(started: int, ended: int) -> dict[ServerId, tuple[HostName, ...]]:
        where = {}
        for one in present:
            at: tuple[str | None, ...] = (one.host,)
            for number in chains[one.id]:
                step, bit = graph.steps[number], 1 << place[number]
                if step.action is Action.STOP:
                    continue
                if ended & bit:
                    at = (step.target,)
                elif started & bit:
                    at = (step.source, step.target)
            where[one.id] = tuple(HostName(name) for name in at if name is not None and name not in fenced)
        return where

    def rule_only(where: Mapping[ServerId, tuple[HostName, ...]]) -> tuple[Violation, ...]:
        return tuple(
            one for one in all_violations(small, where) if one.rule.split(" ")[0] == rule.split(" ", maxsplit=1)[0]
        )

    at_start = rule_only(held(0, 0))  # what the death of a host has broken, the plan has not
    seen, todo = {(0, 0)}, [(0, 0)]
    while todo:
        started, ended = todo.pop()
        found = worse(at_start, rule_only(held(started, ended)))
        if found:
            running = ", ".join(graph.steps[n].id for n in own if started >> place[n] & 1 and not ended >> place[n] & 1)
            yield Finding("rule", f"{rule}: {found[0].why} (while {running or 'nothing'} runs)")
            return
        if len(seen) > GROUP_STATES_MAX:
            yield Finding(
                "not-proven", f"{rule}: more than {GROUP_STATES_MAX} states of its servers, not all looked at"
            )
            return
        for bit in range(len(own)):
            mask = 1 << bit
            if not started & mask and needs[bit] & ended == needs[bit]:
                step_to = (started | mask, ended)
            elif started & mask and not ended & mask:
                step_to = (started, ended | mask)
            else:
                continue
            if step_to not in seen:
                seen.add(step_to)
                todo.append(step_to)


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

"""Rules about several servers, in all states that their own members' steps can be in; pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from restow.cloud.model import (
    Among,
    Cloud,
    Group,
    GroupPolicy,
    Licence,
    NearTo,
    RuleSpec,
    Server,
    SpreadOver,
    TogetherIn,
    Unit,
)
from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Step
from restow_planner.referee.counters import unit_in
from restow_planner.referee.findings import Finding
from restow_planner.referee.graph import Graph
from restow_planner.rules import all_violations, worse
from restow_planner.rules.base import Violation
from restow_planner.rules.near import NearRule

GROUP_STATES_MAX = 20_000
Tied = SpreadOver | TogetherIn | Among | Licence | NearTo
"""The rules that say how their servers stand to each other, where no counter tells it."""
KINDS: dict[type[Tied], str] = {
    SpreadOver: "spread", TogetherIn: "together", Among: "among", Licence: "licence", NearTo: "near",
}  # fmt: skip


def group_findings(cloud: Cloud, graph: Graph) -> Iterator[Finding]:
    touched = frozenset(graph.of_server)
    for group in cloud.groups:
        if group.policy is GroupPolicy.AFFINITY and not touched.isdisjoint(group.members):
            yield from _walk(cloud, graph, f"affinity {group.id}", group.members, groups=(group,))
    for index, spec in enumerate(cloud.rules):
        if not isinstance(spec, Tied) or spec.soft is not None or touched.isdisjoint(_members(spec)):
            continue
        for part in _parts(cloud, graph, spec):
            if not _cannot_break(cloud, graph, part):
                yield from _walk(
                    cloud, graph, f"{KINDS[type(spec)]} {index}", _members(part), rules=(part,), per=_per(part)
                )


def _members(spec: Tied) -> tuple[ServerId, ...]:
    return tuple(dict.fromkeys((*spec.servers, *spec.to))) if isinstance(spec, NearTo) else spec.servers


def _per(spec: Tied) -> Unit:
    match spec:
        case Licence() | NearTo():
            return spec.per
        case SpreadOver():
            return spec.over
        case TogetherIn() | Among():
            return "host"


def _parts(cloud: Cloud, graph: Graph, spec: Tied) -> Iterator[Tied]:
    """The rule, or rules that say the same together and have fewer states each.

    Where all servers are near the others at the start, each may be judged by itself, and of those that stay one for
    each unit.
    """
    if not isinstance(spec, NearTo):
        yield spec
        return
    home = {one.id: () if one.host is None else (one.host,) for one in cloud.servers if one.id in set(_members(spec))}
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    living = {one: tuple(host for host in hosts if host not in fenced) for one, hosts in home.items()}
    if tuple(NearRule().violations(replace(cloud, rules=(spec,)), living)):
        yield spec
        return
    kept: dict[str, ServerId] = {}
    for one in spec.servers:
        if one in graph.of_server:
            yield replace(spec, servers=(one,))
        else:
            for host in living.get(one, ()):
                kept.setdefault(unit_in(cloud.host_by_name[host], spec.per), one)
    for one in kept.values():
        yield replace(spec, servers=(one,))


def _cannot_break(cloud: Cloud, graph: Graph, spec: Tied) -> bool:
    """Whether no state at all can break the rule: then there is no need to walk them, of which there may be millions.

    So it is where all hosts that any member ever holds are in one set, or need no more licences than there are, or
    where enough units have a member that stays.
    """
    present = [cloud.server_by_id[one] for one in dict.fromkeys(spec.servers) if one in cloud.server_by_id]
    held = _ever_held(graph, present)
    hosts = cloud.host_by_name
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    match spec:
        case Among():
            return any(held.issubset(one) for one in spec.host_sets)
        case TogetherIn():
            return len({unit_in(hosts[name], spec.per) for name in held}) <= 1
        case Licence():
            return len({unit_in(hosts[name], spec.per) for name in held}) <= spec.count
        case SpreadOver():
            return len(_settled(cloud, graph, spec.servers, spec.over, fenced)) >= spec.at_least
        case NearTo():
            company = _settled(cloud, graph, spec.to, spec.per, fenced)
            return company.issuperset(unit_in(hosts[name], spec.per) for name in held)


def _ever_held(graph: Graph, servers: Iterable[Server]) -> set[HostName]:
    own = [(one.host, [graph.steps[number] for number in graph.of_server.get(one.id, ())]) for one in servers]
    ends = {name for _, steps in own for step in steps for name in (step.source, step.target)}
    return {HostName(name) for name in ends | {host for host, _ in own} if name is not None}


def _settled(cloud: Cloud, graph: Graph, members: Iterable[ServerId], per: Unit, fenced: set[str | None]) -> set[str]:
    """The units of those that stay where they are throughout."""
    staying = (
        cloud.server_by_id[one].host for one in members if one in cloud.server_by_id and one not in graph.of_server
    )
    return {unit_in(cloud.host_by_name[host], per) for host in staying if host is not None and host not in fenced}


def _walk(
    cloud: Cloud, graph: Graph, rule: str, members: Iterable[ServerId],
    *, groups: tuple[Group, ...] = (), rules: tuple[RuleSpec, ...] = (), per: Unit = "host",
) -> Iterator[Finding]:  # fmt: skip
    """All states of the members' own steps: none, under way, or ended, as far as the edges allow.

    A move within a unit of `per` changes nothing, but for one off a fenced host, where nothing runs.
    """
    present = [cloud.server_by_id[one] for one in dict.fromkeys(members) if one in cloud.server_by_id]
    fenced = {step.host for step in graph.steps if step.action is Action.FENCE}
    own = [
        n
        for one in present
        for n in graph.of_server.get(one.id, ())
        if graph.steps[n].source in fenced or _crosses(cloud, graph.steps[n], per)
    ]
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


def _crosses(cloud: Cloud, step: Step, per: Unit) -> bool:
    if step.source is None or step.target is None:
        return True
    ends = (cloud.host_by_name[HostName(name)] for name in (step.source, step.target))
    return len({unit_in(host, per) for host in ends}) > 1

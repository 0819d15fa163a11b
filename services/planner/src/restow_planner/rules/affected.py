"""The part of a cloud in which some moves can break a rule: small, so that judging it is quick; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from restow.cloud.model import Among, AtMostPer, Budget, Cloud, Licence, NearTo, SpreadOver, TogetherIn
from restow.ids import HostName, ServerId

COMPANY = SpreadOver | TogetherIn | Among | AtMostPer | Licence | NearTo | Budget
"""The rules that say how their servers stand to each other, and nothing else."""


def affected(cloud: Cloud, moved: Mapping[ServerId, Iterable[HostName]]) -> Cloud:
    """The servers that move, all who share a host or a rule with them, and the hosts of all these.

    `moved`: the hosts that each of them comes to on its way. A rule about others says nothing any more, but keeps its
    place, by which it is called.
    """
    names = {name for ends in moved.values() for name in ends}
    names |= {host for one in moved if (host := cloud.server_by_id[one].host) is not None}
    keep = set(moved) | {one.id for name in names for one in cloud.servers_on[name]}
    groups = tuple(group for group in cloud.groups if not moved.keys().isdisjoint(group.members))
    rules = tuple(
        replace(spec, servers=()) if isinstance(spec, COMPANY) and moved.keys().isdisjoint(_members(spec)) else spec
        for spec in cloud.rules
    )
    for members in (
        *(group.members for group in groups),
        *(_members(spec) for spec in rules if isinstance(spec, COMPANY) and spec.servers),
    ):
        keep |= set(members)
    servers = tuple(one for one in cloud.servers if one.id in keep)
    names |= {one.host for one in servers if one.host is not None}
    hosts = tuple(host for host in cloud.hosts if host.name in names)
    return replace(cloud, hosts=hosts, servers=servers, groups=groups, rules=rules)


def _members(spec: COMPANY) -> tuple[ServerId, ...]:
    return spec.servers + spec.to if isinstance(spec, NearTo) else spec.servers

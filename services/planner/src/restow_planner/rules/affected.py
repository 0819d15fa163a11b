"""The part of a cloud in which some moves can break a rule: small, so that judging it is quick; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from restow.cloud.model import Among, AtMostPer, Cloud, SpreadOver, TogetherIn
from restow.ids import HostName, ServerId


def affected(cloud: Cloud, moved: Mapping[ServerId, Iterable[HostName]]) -> Cloud:
    """The servers that move, all who share a host or a rule with them, and the hosts of all these.

    `moved`: the hosts that each of them comes to on its way.
    """
    names = {name for ends in moved.values() for name in ends}
    names |= {host for one in moved if (host := cloud.server_by_id[one].host) is not None}
    keep = set(moved) | {one.id for name in names for one in cloud.servers_on[name]}
    for members in (
        *(group.members for group in cloud.groups),
        *(spec.servers for spec in cloud.rules if isinstance(spec, SpreadOver | TogetherIn | Among | AtMostPer)),
    ):
        if not moved.keys().isdisjoint(members):
            keep |= set(members)
    servers = tuple(one for one in cloud.servers if one.id in keep)
    names |= {one.host for one in servers if one.host is not None}
    return replace(cloud, hosts=tuple(host for host in cloud.hosts if host.name in names), servers=servers)

"""Capacity: what the servers of a host claim stays within what the host offers; pure."""

from collections.abc import Iterable, Mapping

from restow.cloud.model import Cloud, Resource
from restow.ids import HostName
from restow_planner.primitives import Capacity, Primitive
from restow_planner.rules.base import Occupancy, Violation


class CapacityRule:
    """Every resource that the cloud lists, on every host."""

    name = "capacity"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for resource in cloud.resources:
            yield Capacity(
                f"capacity {resource}", resource, {host.name: host.capacity.get(resource, 0) for host in cloud.hosts}
            )

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        used = claims(cloud, where)
        for host in cloud.hosts:
            for resource, claimed in used.get(host.name, {}).items():
                over = claimed - host.capacity.get(resource, 0)
                if over > 0:
                    yield Violation(
                        f"capacity {resource}",
                        host.name,
                        over,
                        f"{host.name} carries {claimed} {resource}, {over} more than it has",
                    )


def claims(cloud: Cloud, where: Occupancy) -> Mapping[HostName, Mapping[Resource, int]]:
    """What is claimed of each resource on each host; a server on its way counts at both ends."""
    used: dict[HostName, dict[Resource, int]] = {}
    known = set(cloud.resources)
    for server in cloud.servers:
        for host in where.get(server.id, ()):
            on_host = used.setdefault(host, dict.fromkeys(cloud.resources, 0))
            for resource, amount in server.demand.items():
                if resource in known:
                    on_host[resource] += amount
    return used

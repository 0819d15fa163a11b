"""Residency: these servers, and all of these projects, stand in these zones; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Residency
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class ResidencyRule:
    """A host whose zone is not known is in none of them."""

    name = "residency"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Residency):
                servers = set(spec.servers)
                mine = tuple(one.id for one in cloud.servers if one.id in servers or one.project in spec.projects)
                inside = frozenset(host.name for host in cloud.hosts if host.zone in spec.zones)
                yield Allowed(f"residency {index}", mine, inside, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Residency) or spec.soft is not None:
                continue
            named, projects, zones = set(spec.servers), set(spec.projects), set(spec.zones)
            for server in cloud.servers:
                if server.id not in named and server.project not in projects:
                    continue
                for name in where.get(server.id, ()):
                    host = cloud.host_by_name.get(name)
                    if host is None or host.zone not in zones:
                        why = f"{server.id} is on {name}, which is in none of the zones {', '.join(spec.zones)}"
                        yield Violation(f"residency {index}", server.id, 1, why)

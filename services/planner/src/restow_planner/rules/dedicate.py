"""Dedicate: hosts for the servers of some projects only, which may have to stand nowhere else; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Dedicate
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class DedicateRule:
    name = "dedicate"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Dedicate):
                continue
            inside = frozenset(spec.hosts)
            outside = frozenset(host.name for host in cloud.hosts if host.name not in inside)
            projects = frozenset(spec.projects)
            strangers = tuple(one.id for one in cloud.servers if one.project not in projects)
            yield Allowed(f"dedicate {index}", strangers, outside, soft=spec.soft)
            if spec.exclusive:
                own = tuple(one.id for one in cloud.servers if one.project in projects)
                yield Allowed(f"dedicate {index}", own, inside, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Dedicate) or spec.soft is not None:
                continue
            for server in cloud.servers:
                mine = server.project in spec.projects
                for host in where.get(server.id, ()):
                    if host in spec.hosts and not mine:
                        why = f"{server.id} is on {host}, which is for {', '.join(spec.projects)} only"
                        yield Violation(f"dedicate {index}", server.id, 1, why)
                    elif mine and spec.exclusive and host not in spec.hosts:
                        why = f"{server.id} is on {host}, which is none of the hosts of {server.project}"
                        yield Violation(f"dedicate {index}", server.id, 1, why)

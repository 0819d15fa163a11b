"""Isolate: these servers share their hosts with each other only; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Isolate
from restow.ids import HostName
from restow_planner.primitives import Isolated, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known


class IsolateRule:
    """Where both kinds stand already, nobody comes."""

    name = "isolate"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Isolate) and (servers := known(cloud, spec.servers)):
                yield Isolated(f"isolate {index}", servers, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Isolate) or spec.soft is not None:
                continue
            mine = set(spec.servers)
            found: dict[HostName, list[int]] = {host: [0, 0] for one in spec.servers for host in where.get(one, ())}
            for server in cloud.servers:
                for host in where.get(server.id, ()):
                    if host in found:
                        found[host][server.id in mine] += 1
            for host, (strangers, members) in found.items():
                if strangers and members:
                    why = f"{host} carries {strangers} servers that may not be there together with {members} others"
                    yield Violation(f"isolate {index}", host, strangers + members, why)

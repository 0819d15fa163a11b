"""Allow: these servers stand on these hosts only; pure."""

from collections.abc import Iterable

from restow.cloud.model import Allow, Cloud
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class AllowRule:
    name = "allow"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Allow):
                yield Allowed(f"allow {index}", spec.servers, frozenset(spec.hosts), soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Allow) or spec.soft is not None:
                continue
            for server in dict.fromkeys(spec.servers):
                outside = [host for host in where.get(server, ()) if host not in spec.hosts]
                if outside:
                    why = f"{server} is on {outside[0]}, which it is not allowed"
                    yield Violation(f"allow {index}", server, 1, why)

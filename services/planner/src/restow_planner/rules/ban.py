"""Ban: these servers do not stand on these hosts; pure."""

from collections.abc import Iterable

from restow.cloud.model import Ban, Cloud
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class BanRule:
    name = "ban"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        everywhere = frozenset(host.name for host in cloud.hosts)
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Ban):
                yield Allowed(f"ban {index}", spec.servers, everywhere.difference(spec.hosts), soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Ban) or spec.soft is not None:
                continue
            for server in dict.fromkeys(spec.servers):
                on_banned = [host for host in where.get(server, ()) if host in spec.hosts]
                if on_banned:
                    yield Violation(f"ban {index}", server, 1, f"{server} is on {on_banned[0]}, which is banned for it")

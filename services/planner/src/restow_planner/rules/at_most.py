"""At most so many of these servers in one host, rack or zone; pure."""

from collections import Counter
from collections.abc import Iterable

from restow.cloud.model import AtMostPer, Cloud
from restow_planner.primitives import AtMost, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known, unit_of


class AtMostRule:
    name = "at-most"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, AtMostPer):
                yield AtMost(f"at-most {index}", known(cloud, spec.servers), spec.per, spec.count, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, AtMostPer) or spec.soft is not None:
                continue
            found: Counter[str] = Counter()
            for server in known(cloud, spec.servers):
                found.update({unit_of(hosts[host], spec.per) for host in where.get(server, ()) if host in hosts})
            for unit, count in found.items():
                if count > spec.count:
                    why = f"{count} of the servers in {spec.per} {unit}, at most {spec.count} may be"
                    yield Violation(f"at-most {index}", unit, count - spec.count, why)

"""Near: each of these servers stands in a host, rack or zone in which at least one of others stands; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, NearTo
from restow_planner.primitives import Near, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known, unit_of


class NearRule:
    """One of the others that is on its way to another unit is company to nobody until it has arrived."""

    name = "near"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, NearTo):
                yield Near(f"near {index}", known(cloud, spec.servers), known(cloud, spec.to), spec.per, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, NearTo) or spec.soft is not None:
                continue
            company: set[str] = set()
            for one in known(cloud, spec.to):
                units = {unit_of(hosts[host], spec.per) for host in where.get(one, ()) if host in hosts}
                if len(units) == 1:
                    company |= units
            alone = []
            for one in known(cloud, spec.servers):
                units = {unit_of(hosts[host], spec.per) for host in where.get(one, ()) if host in hosts}
                if one not in spec.to and not units <= company:
                    alone.append(one)
            if alone:
                why = f"{len(alone)} of the servers ({alone[0]}) are in a {spec.per} where none of the others stands"
                yield Violation(f"near {index}", f"near {index}", len(alone), why)

"""Together: these servers stand in one host, rack or zone; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, TogetherIn
from restow_planner.primitives import Primitive, Together
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import hosts_by_unit, known, outside_best_set, unit_of


class TogetherRule:
    name = "together"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            members = known(cloud, spec.servers) if isinstance(spec, TogetherIn) else ()
            if isinstance(spec, TogetherIn) and len(members) > 1:
                sets = tuple(hosts_by_unit(cloud, spec.per).values())
                yield Together(f"together {index}", members, sets, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, TogetherIn) or spec.soft is not None:
                continue
            members = known(cloud, spec.servers)
            if len(members) < 2:
                continue
            at = {unit_of(hosts[host], spec.per) for one in members for host in where.get(one, ()) if host in hosts}
            sets = [frozenset(host.name for host in cloud.hosts if unit_of(host, spec.per) == unit) for unit in at]
            apart = outside_best_set(where, members, sets)
            if apart:
                why = f"{apart} of the servers are in another {spec.per} than the others"
                yield Violation(f"together {index}", f"together {index}", apart, why)

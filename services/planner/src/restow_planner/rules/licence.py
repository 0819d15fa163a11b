"""Licence: these servers stand on at most so many hosts, racks or zones; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Licence, Unit
from restow.ids import ServerId
from restow_planner.primitives import AtMostUnits, Primitive, Together
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import hosts_by_unit, known, unit_of


class LicenceRule:
    """Both ends of a move need a licence."""

    name = "licence"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Licence):
                members = known(cloud, spec.servers)
                yield AtMostUnits(f"licence {index}", members, spec.per, spec.count, soft=spec.soft)
                if spec.count == 1 and spec.soft is None and _units_held(cloud, members, spec.per) <= 1:
                    # on its way a server would need a second one
                    yield Together(f"licence {index}", members, tuple(hosts_by_unit(cloud, spec.per).values()))

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Licence) or spec.soft is not None:
                continue
            held = {
                unit_of(hosts[host], spec.per)
                for server in known(cloud, spec.servers)
                for host in where.get(server, ())
                if host in hosts
            }
            if len(held) > spec.count:
                why = f"the servers stand on {len(held)} {spec.per}s, there are licences for {spec.count}"
                yield Violation(f"licence {index}", f"licence {index}", len(held) - spec.count, why)


def _units_held(cloud: Cloud, servers: Iterable[ServerId], per: Unit) -> int:
    homes = (cloud.server_by_id[one].host for one in servers)
    return len({unit_of(host, per) for home in homes if home and (host := cloud.host_by_name.get(home))})

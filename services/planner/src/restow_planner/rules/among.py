"""Among: these servers stand, all of them, within one of these sets of hosts; pure."""

from collections.abc import Iterable

from restow.cloud.model import Among, Cloud
from restow.ids import HostName
from restow_planner.primitives import Primitive, Together
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known


class AmongRule:
    name = "among"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        same: dict[tuple[HostName, ...], frozenset[HostName]] = {}  # many rules name the same sets
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Among):
                sets = tuple(same.get(hosts) or same.setdefault(hosts, frozenset(hosts)) for hosts in spec.host_sets)
                yield Together(f"among {index}", known(cloud, spec.servers), sets, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, Among) or spec.soft is not None:
                continue
            ends = [set(where.get(server, ())) for server in known(cloud, spec.servers)]
            placed = [one for one in ends if one]
            here = set[HostName]().union(*placed)
            inside = (here.intersection(hosts) for hosts in spec.host_sets) if here else ()
            best = max((sum(one <= hosts for one in placed) for hosts in inside), default=0)
            if best < len(placed):
                apart = len(placed) - best
                why = f"{apart} of the servers are outside the set of hosts that holds the others"
                yield Violation(f"among {index}", f"among {index}", apart, why)

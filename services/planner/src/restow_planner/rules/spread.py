"""Spread: these servers stand in at least so many hosts, racks or zones; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, SpreadOver
from restow_planner.primitives import Primitive, Spread
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known, unit_of


class SpreadRule:
    """Servers that run nowhere do not count: fewer servers than units need only be in as many units as they are."""

    name = "spread"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, SpreadOver):
                yield Spread(f"spread {index}", known(cloud, spec.servers), spec.over, spec.at_least, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, SpreadOver) or spec.soft is not None:
                continue
            ends = [
                frozenset(unit_of(hosts[host], spec.over) for host in where.get(server, ()) if host in hosts)
                for server in known(cloud, spec.servers)
            ]
            placed = [one for one in ends if one]
            wanted = min(spec.at_least, len(placed))
            found = fewest_units(placed, enough=wanted)
            if found < wanted:
                why = f"the servers stand in {found} {spec.over}s, {wanted} are needed"
                yield Violation(f"spread {index}", f"spread {index}", wanted - found, why)


def fewest_units(ends: list[frozenset[str]], *, enough: int) -> int:
    """In how many units the servers stand at least, whichever end of each move counts; exact below `enough`.

    A smallest hitting set by bounded search: its depth is at most `enough`, its branching two.
    """
    left = [one for one in ends if len(one) > 1]
    settled = {unit for one in ends if len(one) == 1 for unit in one}
    return _search(settled, left, enough)


def _search(settled: set[str], left: list[frozenset[str]], enough: int) -> int:
    open_ends = [one for one in left if not one & settled]
    if len(settled) >= enough or not open_ends:
        return len(settled)
    return min(_search(settled | {unit}, open_ends, enough) for unit in sorted(open_ends[0]))

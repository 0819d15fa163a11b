"""Load: on each of these hosts what is measured stays within a share of what is physically there; pure.

A server brings what is measured of it, or else what it claims. What a host carries besides its servers stays there.
All in thousandths, rounded so that doubt counts as load. A host whose physical amount is not known is not limited.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import ceil, floor

from restow.cloud.model import Cloud, LoadBelow, Server
from restow.ids import HostName, ServerId
from restow_planner.primitives import Capacity, Primitive
from restow_planner.rules.base import Occupancy, Violation

MILLI = 1000
MOST = 10**12
"""In thousandths; more than this is as good as endless."""
CLAIMED_AS = {"cpu_cores": "vcpu"}
"""The claim that stands in for a load that nobody measures; else the resource of the same name."""


class LoadRule:
    name = "load"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        specs = [(index, spec) for index, spec in enumerate(cloud.rules) if isinstance(spec, LoadBelow)]
        for measure in dict.fromkeys(name for _, spec in specs for name in spec.at_most):
            claim = CLAIMED_AS.get(measure, measure)
            part = {
                one.id: _up(one.load[measure] if measure in one.load else one.demand.get(claim, 0))
                for one in cloud.servers
            }
            for index, spec in specs:
                if measure in spec.at_most:
                    room = _rooms(cloud, spec, measure, part)
                    yield Capacity(f"load {index}", f"load_{measure}_milli", room, soft=spec.soft, demand=part)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if not isinstance(spec, LoadBelow) or spec.soft is not None:
                continue
            for measure, share in spec.at_most.items():
                limited = [host for name in spec.hosts if (host := cloud.host_by_name.get(name)) is not None]
                carried = loads(cloud, measure, where, frozenset(host.name for host in limited))
                for host in limited:
                    if measure not in host.physical:
                        continue
                    over = carried[host.name] - allowed(host.physical[measure], share)
                    if over > 0:
                        why = f"{host.name} carries {over / MILLI:g} {measure} more than {share:.0%} of what it has"
                        yield Violation(f"load {index}", f"{host.name} {measure}", over, why)


def _rooms(cloud: Cloud, spec: LoadBelow, measure: str, part: Mapping[ServerId, int]) -> dict[HostName, int]:
    """What the servers of each host may bring: below zero where it carries too much without any."""
    rooms = dict.fromkeys((host.name for host in cloud.hosts), MOST)
    for name in spec.hosts:
        host = cloud.host_by_name.get(name)
        if host is not None and measure in host.physical:
            most = min(MOST, floor(Decimal(str(host.physical[measure])) * Decimal(str(spec.at_most[measure])) * MILLI))
            rest = _up(host.load.get(measure, 0.0)) - sum(part[one.id] for one in cloud.servers_on[name])
            rooms[name] = most - max(0, rest)
    return rooms


def _up(amount: float) -> int:
    return min(MOST, ceil(Decimal(str(amount)) * MILLI))


# --- the judgement ---------------------------------------------------------------------------


def allowed(physical: float, share: float) -> int:
    """The most that a host may carry, in thousandths."""
    return min(MOST, floor(Decimal(str(physical)) * Decimal(str(share)) * 1000))


def brings(server: Server, measure: str) -> int:
    """What a server adds to the load of the host where it runs, in thousandths."""
    measured = server.load.get(measure)
    if measured is None:
        measured = server.demand.get({"cpu_cores": "vcpu"}.get(measure, measure), 0)
    return min(MOST, ceil(Decimal(str(measured)) * 1000))


def loads(cloud: Cloud, measure: str, where: Occupancy, hosts: frozenset[HostName]) -> dict[HostName, int]:
    """What each of these hosts carries when the servers stand so, in thousandths; at both ends of a move."""
    carried = {}
    for name in hosts:
        reported = min(MOST, ceil(Decimal(str(cloud.host_by_name[name].load.get(measure, 0.0))) * 1000))
        carried[name] = max(0, reported - sum(brings(one, measure) for one in cloud.servers_on[name]))
    for server in cloud.servers:
        for name in where.get(server.id, ()):
            if name in hosts:
                carried[name] += brings(server, measure)
    return carried

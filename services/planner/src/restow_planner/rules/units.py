"""The unit (host, rack or zone) that a host belongs to; pure.

Hosts whose rack or zone is not known count as one unit of their own: nothing is assumed about them
that would make a rule look kept.
"""

from collections.abc import Iterable, Mapping

from restow.cloud.model import Cloud, Host, HostState, Power, Unit
from restow.ids import HostName, ServerId
from restow_planner.rules.base import Occupancy

UNKNOWN = "(unknown)"


def unit_of(host: Host, per: Unit) -> str:
    match per:
        case "host":
            return host.name
        case "rack":
            return UNKNOWN if host.rack is None else host.rack
        case "zone":
            return UNKNOWN if host.zone is None else host.zone


def hosts_by_unit(cloud: Cloud, per: Unit) -> Mapping[str, frozenset[HostName]]:
    found: dict[str, set[HostName]] = {}
    for host in cloud.hosts:
        found.setdefault(unit_of(host, per), set()).add(host.name)
    return {unit: frozenset(hosts) for unit, hosts in found.items()}


def runs(cloud: Cloud, name: HostName) -> bool:
    """Whether anything can run on this host, as far as the cloud says."""
    host = cloud.host_by_name.get(name)
    return host is not None and host.state is HostState.UP and not host.forced_down and host.power is not Power.OFF


def known(cloud: Cloud, servers: Iterable[ServerId]) -> tuple[ServerId, ...]:
    """Those of these servers that this cloud has, each once."""
    return tuple(server for server in dict.fromkeys(servers) if server in cloud.server_by_id)


def outside_best_set(where: Occupancy, servers: Iterable[ServerId], sets: Iterable[frozenset[HostName]]) -> int:
    """How many of the servers that stand somewhere are not wholly within the set that holds most of them."""
    placed = [frozenset(where[server]) for server in servers if where.get(server)]
    return len(placed) - max((sum(ends <= one for ends in placed) for one in sets), default=0) if placed else 0

"""Host state: nothing arrives on a host that is down, disabled, in maintenance, forced down or off; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Host, HostState, Power
from restow_planner.primitives import Closed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class HostStateRule:
    """Servers that stand on such a host may stay."""

    name = "host state"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        why = {host.name: reason for host in cloud.hosts if (reason := _why_closed(host)) is not None}
        if why:
            yield Closed("host state", why)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for server in cloud.servers:
            for name in where.get(server.id, ()):
                host = hosts.get(name)
                if name != server.host and (host is None or not host.takes_servers):
                    yield Violation(
                        "host state", server.id, 1, f"{server.id} arrives on {name}, which takes nothing in"
                    )


def _why_closed(host: Host) -> str | None:
    if host.state is HostState.DOWN:
        return "down"
    if host.forced_down:
        return "forced down"
    if host.power is Power.OFF:
        return "powered off"
    if host.maintenance:
        return "in maintenance"
    if not host.enabled:
        return "disabled"
    return "not offered by placement yet" if host.withheld else None

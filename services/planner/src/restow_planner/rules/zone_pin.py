"""Zone pin: a server that is pinned to a zone stands in it; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class ZonePinRule:
    name = "zone"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        pinned: dict[str, list[ServerId]] = {}
        for server in cloud.servers:
            if server.zone is not None:
                pinned.setdefault(server.zone, []).append(server.id)
        for zone, servers in pinned.items():
            hosts = frozenset(host.name for host in cloud.hosts if host.zone == zone)
            yield Allowed(f"zone {zone}", tuple(servers), hosts)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        zone_of = {host.name: host.zone for host in cloud.hosts}
        for server in cloud.servers:
            if server.zone is not None and any(zone_of.get(host) != server.zone for host in where.get(server.id, ())):
                yield Violation(f"zone {server.zone}", server.id, 1, f"{server.id} is outside its zone {server.zone}")

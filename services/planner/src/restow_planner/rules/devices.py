"""Devices: a running server with a device of its host passed through to it is not moved live; pure.

Its memory could be carried over, the state of the device not. It may be moved cold where its owner allows that
(`move: cold`), when it is stopped, or be rebuilt when its host has died.
"""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Server
from restow_planner.primitives import Fixed, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import runs

DEVICES = ("pci_", "sriov_", "vgpu", "pgpu", "custom_pci_")
"""How the names of resources begin that are devices."""


class DeviceRule:
    name = "devices"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        devices = [resource for resource in cloud.resources if resource.lower().startswith(DEVICES)]
        if not devices:
            return
        why = {}
        for server in cloud.servers:
            held = [resource for resource in devices if server.demand.get(resource, 0) > 0]
            if held and server.moves_live and server.host is not None and runs(cloud, server.host):
                why[server.id] = f"has {held[0]} of its host, with which it cannot be moved live"
        if why:
            yield Fixed("devices", why)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for server in cloud.servers:
            at = where.get(server.id, ())
            if server.host is None or at == (server.host,) or not server.moves_live or not runs(cloud, server.host):
                continue
            if any(_is_device(cloud, resource, server) for resource in server.demand):
                why = f"{server.id} leaves {server.host} with a device that cannot be moved live"
                yield Violation("devices", server.id, 1, why)


def _is_device(cloud: Cloud, resource: str, server: Server) -> bool:
    return resource in cloud.resources and server.demand[resource] > 0 and resource.lower().startswith(DEVICES)

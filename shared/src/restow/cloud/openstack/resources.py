"""What a flavor claims and what placement calls it, in the names of the cloud model; pure."""

from collections.abc import Mapping
from typing import Any

from restow.cloud.model import Resource

VCPU, PCPU, MEMORY, DISK = "vcpu", "pcpu", "memory_mib", "disk_gib"
_NAMES = {"VCPU": VCPU, "PCPU": PCPU, "MEMORY_MB": MEMORY, "DISK_GB": DISK}
_CLASSES = {name: known for known, name in _NAMES.items()}


def resource_of(resource_class: str) -> Resource:
    """VGPU is vgpu, CUSTOM_FPGA is custom_fpga; the four that everybody has bear their units."""
    return _NAMES.get(resource_class) or resource_class.lower()


def class_of(resource: Resource) -> str:
    return _CLASSES.get(resource) or resource.upper()


def amounts(resources: Mapping[str, int]) -> dict[Resource, int]:
    return {resource_of(name): int(amount) for name, amount in resources.items()}


def demand_of(flavor: Mapping[str, Any], *, from_volume: bool, image: Mapping[str, Any]) -> dict[Resource, int]:
    """What Nova claims in placement for a server of this flavor; `image`: the properties of its image.

    `resources:CLASS=N` of the flavor wins over its own numbers, as in nova.scheduler.utils; 0 claims none.
    """
    specs: Mapping[str, str] = flavor.get("extra_specs") or {}
    swap_gib = -(-int(flavor.get("swap") or 0) // 1024)
    disk = (0 if from_volume else int(flavor["disk"])) + int(flavor.get("ephemeral") or 0) + swap_gib
    dedicated = "dedicated" in (specs.get("hw:cpu_policy"), image.get("hw_cpu_policy"))
    found = {PCPU if dedicated else VCPU: int(flavor["vcpus"]), MEMORY: int(flavor["ram"]), DISK: disk}
    for key, value in specs.items():
        kind, _, resource_class = key.partition(":")
        # Numbered groups (resources1:VGPU) may be claimed from other providers of the same host.
        if resource_class and kind.rstrip("0123456789") == "resources" and str(value).isdecimal():
            found[resource_of(resource_class)] = int(value)
    return {resource: amount for resource, amount in found.items() if amount > 0}


def sum_of(several: Mapping[Any, Mapping[Resource, int]]) -> dict[Resource, int]:
    total: dict[Resource, int] = {}
    for one in several.values():
        for resource, amount in one.items():
            total[resource] = total.get(resource, 0) + amount
    return total

"""From the documents of Nova and placement to Hosts: services, hypervisors, aggregates, inventories; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from restow.cloud.model import Host, HostState, Power, Resource
from restow.cloud.openstack.resources import resource_of
from restow.ids import HostName

MAINTENANCE = "maintenance"  # in the reason for which a host was disabled
DISABLED = "COMPUTE_STATUS_DISABLED"
BAREMETAL = frozenset({"ironic"})


@dataclass(slots=True)
class Provider:
    """What placement has of one host, its nested providers included. Capacity: ratio multiplied in, reserve off."""

    capacity: dict[Resource, int] = field(default_factory=dict)
    used: dict[Resource, int] = field(default_factory=dict)
    traits: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Node:
    """A hypervisor of Nova: the provider's uuid, the host that its service has, what the machine has."""

    uuid: str
    host: HostName
    address: str
    physical: Mapping[str, float]
    cpu_model: str = ""


def nodes_of(hypervisors: Iterable[Mapping[str, Any]]) -> tuple[Node, ...]:
    """Hosts with bare-metal nodes are no hosts for servers that move."""
    return tuple(_node(one) for one in hypervisors if one.get("hypervisor_type") not in BAREMETAL)


def _node(document: Mapping[str, Any]) -> Node:
    machine = {"cpu_cores": float(document["vcpus"]), "memory_mib": float(document["memory_mb"])}
    cpu = document.get("cpu_info")
    return Node(
        uuid=str(document["id"]),
        host=HostName(document["service"]["host"]),
        address=document.get("host_ip") or "",
        physical=machine if document["vcpus"] else {},
        cpu_model=str(cpu.get("model") or "") if isinstance(cpu, Mapping) else "",
    )


def providers_of(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, Provider]:
    """By the root's uuid, from the provider_summaries of allocation candidates."""
    found: dict[str, Provider] = {}
    for uuid, summary in summaries.items():
        root = str(summary.get("root_provider_uuid") or uuid)
        provider = found.setdefault(root, Provider())
        provider.traits.update(summary["traits"] if uuid == root else ())
        for resource_class, amount in summary["resources"].items():
            resource = resource_of(resource_class)
            provider.capacity[resource] = provider.capacity.get(resource, 0) + int(amount["capacity"])
            provider.used[resource] = provider.used.get(resource, 0) + int(amount["used"])
    return found


def provider_of(
    inventories: Mapping[str, Mapping[str, Any]], usages: Mapping[str, int], traits: Sequence[str]
) -> Provider:
    """One provider by its own three documents."""
    capacity = {
        resource_of(name): int((one["total"] - one["reserved"]) * one["allocation_ratio"])
        for name, one in inventories.items()
    }
    return Provider(capacity, {resource_of(name): int(amount) for name, amount in usages.items()}, set(traits))


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Which aggregates each host is in, and what they say of themselves."""

    names: Mapping[str, tuple[str, ...]]
    metadata: Mapping[str, tuple[Mapping[str, str], ...]]

    @classmethod
    def of(cls, documents: Iterable[Mapping[str, Any]]) -> "Aggregates":
        names: dict[str, list[str]] = {}
        metadata: dict[str, list[Mapping[str, str]]] = {}
        for one in sorted(documents, key=lambda one: str(one["name"])):
            for host in one.get("hosts") or ():
                names.setdefault(host, []).append(str(one["name"]))
                metadata.setdefault(host, []).append(one.get("metadata") or {})
        return cls(
            {host: tuple(found) for host, found in names.items()},
            {host: tuple(all_) for host, all_ in metadata.items()},
        )

    def value(self, host: str, key: str) -> str | None:
        return next((one[key] for one in self.metadata.get(host, ()) if key in one), None)


def host_of(
    service: Mapping[str, Any], node: Node | None, provider: Provider, aggregates: Aggregates, *, rack_key: str
) -> Host:
    """The host of a compute service. A host that reports has power; of any other only its controller knows."""
    name, up = service["host"], service["state"] == "up"
    enabled = service["status"] == "enabled"
    reason = service.get("disabled_reason") or ""
    forced_down = bool(service.get("forced_down"))
    return Host(
        name=HostName(name),
        state=HostState.UP if up and not forced_down else HostState.DOWN,
        enabled=enabled,
        maintenance=not enabled and MAINTENANCE in reason.lower(),
        zone=service.get("zone"),
        rack=aggregates.value(name, rack_key),
        aggregates=aggregates.names.get(name, ()),
        traits=frozenset(provider.traits),
        capacity=provider.capacity,
        physical={} if node is None else node.physical,
        power=Power.ON if up and not forced_down else Power.UNKNOWN,
        forced_down=forced_down,
        # Placement learns of it from the host itself: one enabled while it was down stays closed there for a minute.
        withheld=enabled and DISABLED in provider.traits,
    )


def common_resources(hosts: Sequence[Host], demanded: Iterable[Resource]) -> tuple[Resource, ...]:
    """The resources that count. One that some hosts lack counts only if it is a device.

    Where a host has no disk of its own, its servers' disks are on shared storage, and no host can be full of them.
    """
    every = frozenset({"vcpu", "memory_mib", "disk_gib"})
    offered = {resource for host in hosts for resource in host.capacity}
    kept = [
        resource for resource in offered if resource not in every or all(resource in host.capacity for host in hosts)
    ]
    wanted = every | set(demanded)
    order = {"vcpu": 0, "memory_mib": 1, "disk_gib": 2}
    return tuple(sorted((one for one in kept if one in wanted), key=lambda one: (order.get(one, 3), one)))


def with_resources(host: Host, resources: Sequence[Resource], held: Mapping[Resource, int] | None = None) -> Host:
    """Its capacity told for each of these resources, less what is held there by no server of its own."""
    taken = held or {}
    return replace(host, capacity={one: max(0, host.capacity.get(one, 0) - taken.get(one, 0)) for one in resources})

"""From Nova's document of a server to a Server; flavors, traits and states as the planner knows them; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from restow.cloud.model import LOCAL_STORAGE, Move, Resource, Server, ServerState
from restow.cloud.openstack.resources import DISK, demand_of
from restow.cloud.openstack.rules import specs_of
from restow.cloud.port import VERIFY
from restow.errors import CredentialError, TransientError
from restow.ids import HostName, ServerId

HOST, TASK = "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:task_state"
NOWHERE = frozenset({"SHELVED_OFFLOADED"})
PRIORITY_MAX = 1_000_000
DEVICES = ("pci_passthrough:alias", "accel:device_profile", "hw:mem_encryption", "resources:VGPU")

_STATES = {
    "ACTIVE": ServerState.ACTIVE, "PASSWORD": ServerState.ACTIVE, "REBOOT": ServerState.ACTIVE,
    "HARD_REBOOT": ServerState.ACTIVE, "MIGRATING": ServerState.ACTIVE, "RESIZE": ServerState.ACTIVE,
    "REBUILD": ServerState.ACTIVE, "BUILD": ServerState.ACTIVE, "RESCUE": ServerState.ACTIVE,
    "REVERT_RESIZE": ServerState.ACTIVE, "PAUSED": ServerState.PAUSED, "SUSPENDED": ServerState.PAUSED,
    "SHUTOFF": ServerState.STOPPED, "SHELVED": ServerState.STOPPED, "SHELVED_OFFLOADED": ServerState.STOPPED,
    "SOFT_DELETED": ServerState.STOPPED, "ERROR": ServerState.ERROR,
}  # fmt: skip
# Nova itself refuses to move these.
_STAY = frozenset({"SUSPENDED", "RESCUE", "SHELVED", "SOFT_DELETED"})
_SHUT_DOWN = 4  # power_state of a guest that does not run


@dataclass(slots=True)
class Flavors:
    """What many servers have in common is worked out once: equal demands and sets of traits share one object.

    Several threads may use it at once.
    """

    demands: dict[Any, dict[Resource, int]] = field(default_factory=dict)
    sets: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    specs: dict[Any, dict[str, str]] = field(default_factory=dict)

    def extra_specs(self, document: Mapping[str, Any]) -> dict[str, str]:
        flavor = document["flavor"]
        key = tuple((flavor.get("extra_specs") or {}).items())
        if key not in self.specs:
            self.specs[key] = specs_of(flavor)
        return self.specs[key]

    def demand(self, document: Mapping[str, Any]) -> dict[Resource, int]:
        flavor, image = document["flavor"], document.get("image")
        properties = image.get("properties") or {} if image else {}
        specs = flavor.get("extra_specs") or {}
        key = (
            flavor["vcpus"], flavor["ram"], flavor["disk"], flavor.get("ephemeral"), flavor.get("swap"),
            tuple(specs.items()), not image, properties.get("hw_cpu_policy"),
        )  # fmt: skip
        if key not in self.demands:
            found = demand_of(flavor, from_volume=not image, image=properties)
            self.demands[key] = next((one for one in list(self.demands.values()) if one == found), found)
        return self.demands[key]

    def set(self, names: frozenset[str]) -> frozenset[str]:
        return self.sets.setdefault(names, names)


def server_of(
    document: Mapping[str, Any], flavors: Flavors, *, priority_key: str, disks: str = LOCAL_STORAGE
) -> Server:
    """`disks`: "local" where they die with their host.

    Raises TransientError if the server's cell is down, CredentialError if we may not see where it is.
    """
    status = document["status"]
    if status == "UNKNOWN" or "flavor" not in document:
        raise TransientError(f"the cell of server {document['id']} does not answer: the cloud cannot be told whole")
    if HOST not in document:
        raise CredentialError("Nova does not tell the hosts of servers: the user needs the role admin")
    metadata: Mapping[str, str] = document.get("metadata") or {}
    requires, forbids = traits_of(document)
    demand = flavors.demand(document)
    host = document[HOST]
    return Server(
        id=ServerId(document["id"]),
        name=document.get("name") or "",
        host=HostName(host) if host and status not in NOWHERE else None,
        project=document.get("tenant_id") or "",
        state=state_of(document),
        demand=demand,
        zone=zone_of(document),
        requires=flavors.set(requires),
        forbids=flavors.set(forbids),
        move=move_of(document),
        priority=_priority(metadata.get(priority_key)),
        metadata=metadata,
        locked=bool(document.get("locked")),
        storage=LOCAL_STORAGE if disks == LOCAL_STORAGE and _has_disk(document, demand) else None,
        extra_specs=flavors.extra_specs(document),
        task=document.get(TASK) or (VERIFY if status == "VERIFY_RESIZE" else None),
    )


def _has_disk(document: Mapping[str, Any], demand: Mapping[Resource, int]) -> bool:
    """Whether some disk of it is no volume. A root disk of an image is one even where its flavor claims none (0)."""
    flavor = document["flavor"]
    return bool(document.get("image") or flavor.get("ephemeral") or flavor.get("swap") or demand.get(DISK))


def state_of(document: Mapping[str, Any]) -> ServerState:
    status = document["status"]
    if status == "VERIFY_RESIZE":
        stopped = document.get("OS-EXT-STS:power_state") == _SHUT_DOWN
        return ServerState.STOPPED if stopped else ServerState.ACTIVE
    return _STATES.get(status, ServerState.ERROR)


def zone_of(document: Mapping[str, Any]) -> str | None:
    """The zone that it is pinned to. A Nova that does not tell (before 2.96): the one it is in, to be safe."""
    if "pinned_availability_zone" in document:
        pinned: str | None = document["pinned_availability_zone"]
        return pinned
    return document.get("OS-EXT-AZ:availability_zone") or None


def move_of(document: Mapping[str, Any]) -> Move:
    if document["status"] in _STAY:
        return Move.NONE
    specs = document["flavor"].get("extra_specs") or {}
    return Move.COLD if any(key in specs for key in DEVICES) else Move.LIVE


def traits_of(document: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Required and forbidden traits, of the flavor and of the image (which can only require)."""
    required: set[str] = set()
    forbidden: set[str] = set()
    for key, value in (document["flavor"].get("extra_specs") or {}).items():
        kind, _, trait = key.partition(":")
        if trait and kind.rstrip("0123456789") == "trait":
            (required if value == "required" else forbidden if value == "forbidden" else set()).add(trait)
    properties = (document.get("image") or {}).get("properties") or {}
    required.update(
        key.removeprefix("trait:")
        for key, value in properties.items()
        if key.startswith("trait:") and value == "required"
    )
    return frozenset(required), frozenset(forbidden)


def _priority(text: str | None) -> int:
    try:
        return 0 if text is None else max(-PRIORITY_MAX, min(PRIORITY_MAX, int(text)))
    except ValueError:
        return 0

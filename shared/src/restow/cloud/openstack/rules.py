"""Server groups, and what aggregates and flavors say of each other, as the model has them; pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from restow.cloud.model import Group, GroupPolicy
from restow.ids import ServerId

_SCOPE = "aggregate_instance_extra_specs:"
ZONE = "availability_zone"  # the metadata that makes an aggregate a zone: told as the zone of its hosts


def groups_of(documents: Iterable[Mapping[str, Any]], known: frozenset[ServerId]) -> tuple[Group, ...]:
    """Groups with members among the known servers; the others say nothing about this domain."""
    found = []
    for one in documents:
        members = tuple(ServerId(member) for member in one["members"] if member in known)
        policy = one.get("policy") or next(iter(one.get("policies") or ()), "")
        if members and policy in set(GroupPolicy):
            limit = int((one.get("rules") or {}).get("max_server_per_host", 1))
            found.append(Group(one["id"], GroupPolicy(policy), members, limit))
    return tuple(sorted(found, key=lambda group: group.id))


def specs_of(flavor: Mapping[str, Any]) -> dict[str, str]:
    """The extra specs that can be about aggregates: of their scope, or of none."""
    specs = flavor.get("extra_specs") or {}
    return {key: str(value) for key, value in specs.items() if key.startswith(_SCOPE) or ":" not in key}


def metadata_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The metadata of aggregates that have any beside their zone."""
    kept = {
        str(one["name"]): {key: str(value) for key, value in (one.get("metadata") or {}).items() if key != ZONE}
        for one in documents
    }
    return {name: metadata for name, metadata in sorted(kept.items()) if metadata}

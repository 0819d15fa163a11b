"""Server groups, hints, the operator's rules, and what aggregates and flavors say of each other, as the model has them.

Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from restow.cloud.documents import AmongDocument, Part, ResidencyDocument
from restow.cloud.model import Allow, AtMostPer, Group, GroupPolicy, Host, RuleSpec, Server, TogetherIn
from restow.cloud.snapshot import rule_of
from restow.ids import HostName, ServerId

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


# --- what people asked for when they made a server ---------------------------------------------------------------


def hints_of(document: Mapping[str, Any]) -> dict[str, tuple[ServerId, ...]]:
    """The servers that a server is to stand apart from, and with; Nova tells from 2.100 on."""
    hints = document.get("scheduler_hints") or {}
    given = {name: hints.get(name) or () for name in ("different_host", "same_host")}
    return {name: tuple(map(ServerId, [one] if isinstance(one, str) else one)) for name, one in given.items() if one}


def rules_of_hints(
    hints: Mapping[ServerId, Mapping[str, Sequence[ServerId]]], at: Mapping[ServerId, HostName | None]
) -> tuple[RuleSpec, ...]:
    """Both ways, though Nova asks only when the server that bears the hint moves; `at`: the known servers.

    `same_host` names several of which one is enough: those that it stands with.
    """
    apart, together = set(), set()
    for server in hints.keys() & at.keys():
        for other in hints[server].get("different_host", ()):
            if other in at and other != server:
                apart.add(tuple(sorted((server, other))))
        for other in hints[server].get("same_host", ()):
            if other in at and other != server and at[other] is not None and at[other] == at[server]:
                together.add(tuple(sorted((server, other))))
    return (
        *(AtMostPer(pair, "host", 1) for pair in sorted(apart)),
        *(TogetherIn(pair, "host") for pair in sorted(together)),
    )


# --- the operator's own ------------------------------------------------------------------------------------------


def chosen_rules(
    documents: Iterable[Part], hosts: Sequence[Host], servers: Sequence[Server]
) -> tuple[tuple[RuleSpec, ...], tuple[int, ...]]:
    """The rules of the settings as they are about this domain; and, by index, those that name nobody here.

    Hosts by name with * and ?, servers by id or by KEY=VALUE of their metadata. Servers that are confined to hosts of
    which there are none here may not move.
    """
    found: list[RuleSpec] = []
    idle = []
    for index, document in enumerate(documents):
        about = _about(document, hosts, servers)
        if about is None:
            idle.append(index)
        else:
            found.append(about)
    return tuple(found), tuple(idle)


def _about(document: Part, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec | None:
    given = {name: getattr(document, name) for name in type(document).model_fields}
    named: dict[str, Any] = {}
    if "servers" in given:
        named["servers"] = _servers_named(given["servers"], servers)
    if "to" in given:  # a choice by metadata may take in the servers themselves: nobody is his own company
        named["to"] = tuple(one for one in _servers_named(given["to"], servers) if one not in named["servers"])
    if "hosts" in given:
        named["hosts"] = _hosts_named(given["hosts"], hosts)
    if isinstance(document, AmongDocument):
        named["host_sets"] = tuple(_hosts_named(one, hosts) for one in document.host_sets)
    if isinstance(document, ResidencyDocument):
        there = {host.zone for host in hosts}
        named["zones"] = tuple(zone for zone in dict.fromkeys(document.zones) if zone in there)
        chosen = frozenset(named["servers"])
        confined = tuple(one.id for one in servers if one.id in chosen or one.project in document.projects)
        if not confined:
            return None
        if not named["zones"]:
            return Allow(confined, (), document.soft)
    elif not named.get("servers", named.get("hosts", True)) or named.get("to") == ():
        return None
    return rule_of(document.model_copy(update=named))


def _hosts_named(patterns: Iterable[str], hosts: Sequence[Host]) -> tuple[HostName, ...]:
    wanted = tuple(patterns)
    return tuple(host.name for host in hosts if any(fnmatchcase(host.name, one) for one in wanted))


def _servers_named(names: Iterable[str], servers: Sequence[Server]) -> tuple[ServerId, ...]:
    ids = frozenset(name for name in names if "=" not in name)
    pairs = [tuple(name.split("=", 1)) for name in names if "=" in name]
    return tuple(
        one.id for one in servers if one.id in ids or any(one.metadata.get(key) == value for key, value in pairs)
    )

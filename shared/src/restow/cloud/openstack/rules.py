"""Server groups, and what aggregates say about flavors, as groups and rules of the model; pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restow.cloud.model import Allow, Group, GroupPolicy, RuleSpec
from restow.cloud.openstack.hosts import Aggregates
from restow.ids import HostName, ServerId

_SCOPE = "aggregate_instance_extra_specs:"
Specs = tuple[tuple[str, str], ...]


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


def specs_of(document: Mapping[str, Any]) -> Specs:
    """What this server's flavor asks of the aggregates of its host."""
    specs = document["flavor"].get("extra_specs") or {}
    return tuple(
        sorted((key.removeprefix(_SCOPE), str(value)) for key, value in specs.items() if key.startswith(_SCOPE))
    )


def allow_rules(
    wanted: Mapping[Specs, Sequence[ServerId]], hosts: Sequence[HostName], aggregates: Aggregates
) -> tuple[RuleSpec, ...]:
    """Servers whose flavor names metadata of aggregates: they may stand on the hosts that have it."""
    return tuple(
        Allow(tuple(servers), tuple(host for host in hosts if _fits(specs, aggregates.metadata.get(host, ()))))
        for specs, servers in sorted(wanted.items())
        if specs
    )


def _fits(specs: Specs, metadata: Iterable[Mapping[str, str]]) -> bool:
    """As AggregateInstanceExtraSpecsFilter reads a host: the values of all its aggregates together."""
    values: dict[str, set[str]] = {}
    for one in metadata:
        for key, value in one.items():
            values.setdefault(key, set()).update(part.strip() for part in str(value).split(","))
    return all(_satisfies(wanted, values.get(key)) for key, wanted in specs)


def _satisfies(wanted: str, values: set[str] | None) -> bool:
    """Operators that compare are left to Nova's scheduler: to allow too much is mended by its refusal."""
    words = wanted.split()
    match words:
        case ["!" | "<or>" | "<in>" | "=" | "==" | "s==" | "s!=" | "<" | "<=" | ">" | ">=", *_] if words[0] != "<or>":
            return values is not None
        case ["<or>", *_]:
            return values is not None and bool(values & set(words[1::2]))
        case _:
            return values is not None and wanted in values

"""The cloud snapshot `restow.cloud/1`: read strictly, with every wrong field named, and written canonically; pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import UTC
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from restow.cloud.coherence import coherence, lacking
from restow.cloud.documents import FORMAT, AmongDocument, CloudDocument, HostDocument, Part, ServerDocument
from restow.cloud.model import (
    Allow,
    Among,
    AtMostPer,
    Ban,
    Budget,
    Cloud,
    Dedicate,
    Group,
    Host,
    Isolate,
    Licence,
    LoadBelow,
    NearTo,
    Reserve,
    Residency,
    RuleSpec,
    Server,
    SpreadOver,
    Survive,
    TogetherIn,
)
from restow.errors import BadInputError, FieldError
from restow.ids import DomainName, HostName, ServerId
from restow.messages.base import ERRORS_MAX, field_errors

P = TypeVar("P", bound=Part)

RULE_KINDS: Mapping[str, type[RuleSpec]] = {
    "allow": Allow,
    "ban": Ban,
    "spread": SpreadOver,
    "at-most": AtMostPer,
    "together": TogetherIn,
    "among": Among,
    "reserve": Reserve,
    "survive": Survive,
    "load": LoadBelow,
    "dedicate": Dedicate,
    "isolate": Isolate,
    "licence": Licence,
    "residency": Residency,
    "near": NearTo,
    "budget": Budget,
}
_KIND_OF: Mapping[type[RuleSpec], str] = {spec: kind for kind, spec in RULE_KINDS.items()}


def read_cloud(body: bytes | str, *, what: str = "snapshot") -> Cloud:
    """Read a `restow.cloud/1`.

    Raises BadInputError with at most ERRORS_MAX wrong fields, each by its path ("servers.3.host").
    """
    try:
        document = CloudDocument.model_validate_json(body)
    except ValidationError as error:
        raise BadInputError(what, tuple(_readable(one) for one in field_errors(error))) from error
    try:
        taken_at = document.taken_at.astimezone(UTC)
    except OverflowError as error:
        raise BadInputError(
            what, (FieldError("taken_at", str(document.taken_at), "a time that UTC can tell"),)
        ) from error
    wrong = tuple(islice(coherence(document), ERRORS_MAX))
    if wrong:
        raise BadInputError(what, wrong)
    same = _Shared()
    return Cloud(
        taken_at=taken_at,
        domain=DomainName(document.domain),
        resources=document.resources,
        hosts=tuple(_host(host) for host in document.hosts),
        servers=tuple(_server(server, same) for server in document.servers),
        groups=tuple(
            Group(group.id, group.policy, _ids(group.members), group.max_per_host) for group in document.groups
        ),
        rules=tuple(rule_of(rule, same) for rule in document.rules),
        aggregates=document.aggregates,
    )


def read_host(document: Mapping[str, Any], *, resources: Iterable[str] = (), what: str = "host") -> Host:
    """Read one host as it stands in a `restow.cloud/1`; it must tell its capacity of all of `resources`."""
    read = _part(HostDocument, document, what=what)
    if wrong := tuple(lacking(read, tuple(resources), path="")):
        raise BadInputError(what, wrong)
    return _host(read)


def read_server(document: Mapping[str, Any], *, what: str = "server") -> Server:
    """Read one server as it stands in a `restow.cloud/1`."""
    return _server(_part(ServerDocument, document, what=what), _Shared())


def _part(kind: type[P], document: Mapping[str, Any], *, what: str) -> P:
    try:
        return kind.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise BadInputError(what, field_errors(error)) from error
    except (TypeError, ValueError) as error:
        raise BadInputError(what, (FieldError("(document)", type(document).__name__, "a JSON object"),)) from error


def dump_cloud(cloud: Cloud) -> bytes:
    """The canonical text: sorted keys, no blanks, UTF-8. Reading it gives an equal cloud.

    A cloud is a value, so its text is made once and kept with it: a large one takes a while.
    """
    kept: bytes | None = cloud.__dict__.get("_dumped")
    if kept is None:
        kept = cloud.__dict__["_dumped"] = _dump(cloud)
    return kept


def _dump(cloud: Cloud) -> bytes:
    document: dict[str, Any] = {
        "format": FORMAT,
        "taken_at": cloud.taken_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "domain": cloud.domain,
        "resources": cloud.resources,
        "hosts": cloud.hosts,
        "servers": cloud.servers,
        "groups": cloud.groups,
        "rules": [_rule_document(rule) for rule in cloud.rules],
    }
    if cloud.aggregates:
        document["aggregates"] = cloud.aggregates
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS, default=_as_json)


def host_document(host: Host) -> dict[str, Any]:
    """The host as it stands in the format."""
    return _plain(host)


def server_document(server: Server) -> dict[str, Any]:
    """The server as it stands in the format."""
    return _plain(server)


def cloud_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `restow.cloud/1`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **CloudDocument.model_json_schema(),
        "title": FORMAT,
    }


def _readable(error: FieldError) -> FieldError:
    """Pydantic puts a rule's kind into its path, and the whole text into a syntax error: neither helps a reader."""
    if error.field == "(document)" and isinstance(error.value, bytes | str):
        return FieldError("(document)", error.value[:40], f"JSON ({error.expected})")
    parts = error.field.split(".")
    if parts[0] != "rules" or len(parts) < 2:
        return error
    if len(parts) == 2 and "tag" in error.expected:
        given = error.value.get("kind", "(absent)") if isinstance(error.value, dict) else error.value
        return FieldError(f"{error.field}.kind", given, "one of " + ", ".join(RULE_KINDS))
    if len(parts) > 2 and parts[2] in RULE_KINDS:
        del parts[2]
    return FieldError(".".join(parts), error.value, error.expected)


class _Shared:
    """Flavors repeat thousands of times, and so do the sets of hosts of rules: equal values share one object."""

    def __init__(self) -> None:
        self._mappings: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}
        self._host_sets: dict[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]] = {}

    def mapping(self, given: dict[str, int]) -> dict[str, int]:
        return self._mappings.setdefault(tuple(given.items()), given)

    def set(self, given: tuple[str, ...]) -> frozenset[str]:
        found = self._sets.get(given)
        if found is None:
            found = self._sets[given] = frozenset(given)
        return found

    def host_sets(self, given: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        return self._host_sets.setdefault(given, given)


def _host(document: HostDocument) -> Host:
    return Host(
        name=HostName(document.name),
        state=document.state,
        enabled=document.enabled,
        maintenance=document.maintenance,
        zone=document.zone,
        rack=document.rack,
        aggregates=document.aggregates,
        traits=frozenset(document.traits),
        capacity=document.capacity,
        load=document.load,
        physical=document.physical,
        link_mbps=document.link_mbps,
        power=document.power,
        forced_down=document.forced_down,
        withheld=document.withheld,
        cpu=frozenset(document.cpu),
        storage=frozenset(document.storage),
        numa=document.numa,
    )


def _server(document: ServerDocument, same: _Shared) -> Server:
    return Server(
        id=ServerId(document.id),
        name=document.name,
        host=None if document.host is None else HostName(document.host),
        project=document.project,
        state=document.state,
        demand=same.mapping(document.demand),
        load=document.load,
        dirty_mib_s=document.dirty_mib_s,
        zone=document.zone,
        requires=same.set(document.requires),
        forbids=same.set(document.forbids),
        move=document.move,
        priority=document.priority,
        metadata={key: _text(value) for key, value in document.metadata.items()},
        locked=document.locked,
        task=document.task,
        cpu=same.set(document.cpu),
        storage=document.storage,
        extra_specs=document.extra_specs,
        image=document.image,
        numa=document.numa,
        numa_at=document.numa_at,
        cool_down_s=document.cool_down_s,
    )


def _text(value: Any) -> str:
    """Metadata is text in the model; whatever else stands there is kept as its JSON text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _ids(names: tuple[str, ...]) -> tuple[ServerId, ...]:
    return tuple(ServerId(name) for name in names)


def rule_of(document: Part, same: _Shared | None = None) -> RuleSpec:
    """A rule's document and its spec have the same fields, but for the kind."""
    given = {name: getattr(document, name) for name in type(document).model_fields}
    if isinstance(document, AmongDocument) and same is not None:
        given["host_sets"] = same.host_sets(document.host_sets)
    return RULE_KINDS[given.pop("kind")](**given)


def _rule_document(rule: RuleSpec) -> dict[str, Any]:
    given = {name: value for name, value in _plain(rule).items() if name != "soft" or value is not None}
    return {"kind": _KIND_OF[type(rule)], **given}


_WHERE_GIVEN = ("withheld", "cpu", "storage", "extra_specs", "image", "numa", "numa_at", "cool_down_s")
"""Few hosts and servers have these: a snapshot does not repeat a hundred thousand times that there are none.

A field that a version adds belongs here: the version before refuses a snapshot with fields that it does not know.
"""


class _Plain:
    """The fields of one kind as they stand in the format."""

    def __init__(self, kind: type) -> None:
        names = [one.name for one in fields(kind)]
        self.names = tuple(name for name in names if name not in _WHERE_GIVEN)
        self.rare = tuple(name for name in names if name in _WHERE_GIVEN)
        self._values = attrgetter(*self.names)
        self._rare_values = attrgetter(*self.rare, "__class__") if self.rare else None

    def __call__(self, value: Any) -> dict[str, Any]:
        found = dict(zip(self.names, self._values(value), strict=True))
        if self._rare_values is not None:
            rare = zip(self.rare, self._rare_values(value), strict=False)
            found |= {name: one for name, one in rare if one or (one == 0 and one is not False)}
        return found


_PLAIN: dict[type, _Plain] = {kind: _Plain(kind) for kind in (Host, Server, Group, *RULE_KINDS.values())}


def _plain(value: Any) -> dict[str, Any]:
    return {
        name: one if isinstance(one, str | int | float | bool | None | dict | tuple) else _as_json(one)
        for name, one in _PLAIN[type(value)](value).items()
    }


def _as_json(value: Any) -> Any:
    """What JSON does not know."""
    match value:
        case Host() | Server() | Group():
            return _PLAIN[type(value)](value)
        case frozenset():
            return sorted(value)
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in {FORMAT}")

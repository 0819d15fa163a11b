"""What no single field of a snapshot shows: names given twice or borne by nothing, rules that say nothing; pure."""

from collections.abc import Iterable, Iterator, Sequence

from restow.cloud.documents import (
    AmongDocument,
    CloudDocument,
    HostDocument,
    LoadDocument,
    NearDocument,
    Part,
    ResidencyDocument,
    ServerDocument,
)
from restow.cloud.model import GroupPolicy
from restow.errors import FieldError

A_HOST = "the name of one of the hosts"
A_SERVER = "the id of one of the servers"


def coherence(document: CloudDocument) -> Iterator[FieldError]:
    """Every field that does not agree with the others."""
    hosts = {host.name: host for host in document.hosts}
    servers = {server.id for server in document.servers}
    yield from _repeated("resources", document.resources)
    yield from _repeated("hosts", (host.name for host in document.hosts), leaf=".name")
    yield from _repeated("servers", (server.id for server in document.servers), leaf=".id")
    yield from _repeated("groups", (group.id for group in document.groups), leaf=".id")
    for index, host in enumerate(document.hosts):
        yield from lacking(host, document.resources, path=f"hosts.{index}.")
    for index, server in enumerate(document.servers):
        if server.host is not None and server.host not in hosts:
            yield FieldError(f"servers.{index}.host", server.host, f"{A_HOST}, or null")
        elif server.numa_at:
            cells = 0 if server.host is None else len(hosts[server.host].numa)
            yield from _cells(server, cells, path=f"servers.{index}.numa_at")
    for index, group in enumerate(document.groups):
        yield from _named(f"groups.{index}.members", group.members, servers, A_SERVER)
        if group.max_per_host != 1 and group.policy is not GroupPolicy.ANTI_AFFINITY:
            expected = f"1: more goes with anti-affinity only, not with {group.policy}"
            yield FieldError(f"groups.{index}.max_per_host", group.max_per_host, expected)
    names = set(hosts)
    zones = {host.zone for host in document.hosts if host.zone is not None}
    for index, rule in enumerate(document.rules):
        yield from _rule(rule, f"rules.{index}", servers, names, zones)


def _rule(rule: Part, path: str, servers: set[str], hosts: set[str], zones: set[str]) -> Iterator[FieldError]:
    yield from _named(f"{path}.servers", getattr(rule, "servers", ()), servers, A_SERVER)
    yield from _named(f"{path}.hosts", getattr(rule, "hosts", ()), hosts, A_HOST)
    match rule:
        case AmongDocument():
            for number, one in enumerate(rule.host_sets):
                yield from _named(f"{path}.host_sets.{number}", one, hosts, A_HOST)
        case NearDocument():
            yield from _named(f"{path}.to", rule.to, servers, A_SERVER)
            for number in [n for n, one in enumerate(rule.to) if one in set(rule.servers)]:
                yield FieldError(f"{path}.to.{number}", rule.to[number], "a server that is not among `servers` as well")
        case ResidencyDocument():
            yield from _named(f"{path}.zones", rule.zones, zones, "the zone of one of the hosts")
            if not rule.servers and not rule.projects:
                yield FieldError(f"{path}.servers", "(absent)", "at least one server, or one of `projects`")
        case LoadDocument() if not rule.hosts:
            yield FieldError(f"{path}.hosts", "[]", "at least one host")
        case _:
            pass


def _cells(server: ServerDocument, cells: int, *, path: str) -> Iterator[FieldError]:
    """Where a server's cells are: one place for each, in a cell that its host has, and none twice."""
    if len(server.numa_at) != len(server.numa):
        yield FieldError(path, _told(server.numa_at), f"one cell for each of its {len(server.numa)}, or none at all")
        return
    for index, at in enumerate(server.numa_at):
        if at >= cells:
            yield FieldError(f"{path}.{index}", at, f"a cell of its host, which has {cells} (the first is 0)")
    if len(set(server.numa_at)) != len(server.numa_at):
        yield FieldError(path, _told(server.numa_at), "another cell of its host for each")


def _told(numbers: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, numbers)) + "]"


def _repeated(path: str, names: Iterable[str], *, leaf: str = "") -> Iterator[FieldError]:
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if first.setdefault(name, index) != index:
            yield FieldError(f"{path}.{index}{leaf}", name, f"a name of its own: {path}.{first[name]} has this one")


def _named(path: str, names: tuple[str, ...], known: set[str], expected: str) -> Iterator[FieldError]:
    if known.issuperset(names) and len(set(names)) == len(names):
        return
    for index, name in enumerate(names):
        if name not in known:
            yield FieldError(f"{path}.{index}", name, expected)
    yield from _repeated(path, names)


def lacking(host: HostDocument, resources: tuple[str, ...], *, path: str) -> Iterator[FieldError]:
    """The resources that count and of which this host does not tell its capacity."""
    for resource in resources:
        if resource not in host.capacity:
            expected = f"a whole number, 0 or more: host {host.name} must tell its capacity of every resource"
            yield FieldError(f"{path}capacity.{resource}", "(absent)", expected)

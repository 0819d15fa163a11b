"""Small clouds in one line; state only what the test is about, the rest has sane defaults."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from restow.cloud.model import Cloud, Group, GroupPolicy, Host, Power, RuleSpec, Server
from restow.ids import DomainName, HostName, ServerId

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def a_host(
    name: str,
    *,
    vcpu: int = 16,
    memory_mib: int = 32_768,
    capacity: Mapping[str, int] | None = None,
    **other: Any,
) -> Host:
    """A host that is up, with 16 vcpu and 32 GiB; `capacity` adds resources or replaces those two."""
    defaults: dict[str, Any] = {
        "zone": "az1",
        "rack": "r1",
        "physical": {"cpu_cores": 8.0, "memory_mib": 32_768.0},
        "link_mbps": 10_000,
        "power": Power.ON,
    }
    amounts = {"vcpu": vcpu, "memory_mib": memory_mib, **(capacity or {})}
    return Host(name=HostName(name), capacity=amounts, **(defaults | other))


def a_server(
    id: str,
    *,
    on: str | None = None,
    vcpu: int = 1,
    memory_mib: int = 1024,
    demand: Mapping[str, int] | None = None,
    **other: Any,
) -> Server:
    """An active server of 1 vcpu and 1 GiB on host `on`; None: it runs nowhere yet."""
    defaults: dict[str, Any] = {
        "name": id,
        "project": "p1",
        "load": {"cpu_cores": 0.25, "memory_mib": 512.0},
        "dirty_mib_s": 10.0,
    }
    claims = {"vcpu": vcpu, "memory_mib": memory_mib, **(demand or {})}
    host = None if on is None else HostName(on)
    return Server(id=ServerId(id), host=host, demand=claims, **(defaults | other))


def a_group(id: str, policy: GroupPolicy | str, members: Iterable[str], *, max_per_host: int = 1) -> Group:
    return Group(id, GroupPolicy(policy), tuple(ServerId(member) for member in members), max_per_host)


def a_cloud(
    hosts: Iterable[Host],
    servers: Iterable[Server] = (),
    *,
    groups: Iterable[Group] = (),
    rules: Iterable[RuleSpec] = (),
    aggregates: Mapping[str, Mapping[str, str]] | None = None,
    resources: Iterable[str] | None = None,
    domain: str = "region-one",
    taken_at: datetime = NOON,
) -> Cloud:
    """A cloud at noon; its resources are those that the hosts have, in the order they are first met."""
    hosts = tuple(hosts)
    if resources is None:
        resources = dict.fromkeys(resource for host in hosts for resource in host.capacity)
    return Cloud(
        taken_at=taken_at,
        domain=DomainName(domain),
        resources=tuple(resources),
        hosts=hosts,
        servers=tuple(servers),
        groups=tuple(groups),
        rules=tuple(rules),
        aggregates=aggregates or {},
    )

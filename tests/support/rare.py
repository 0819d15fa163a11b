"""What few hosts and servers of a random cloud have: CPU features, pools, devices, aggregates, healers; legal."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from restow.cloud.model import LOCAL_STORAGE, Host, Server
from restow.ids import HostName

OF_AN_AGGREGATE = "aggregate_instance_extra_specs:disk"


def rare_hosts(random: Random, hosts: Sequence[Host]) -> list[Host]:
    """Some with a newer CPU, some that reach a second pool, some with two devices."""
    return [
        replace(
            host,
            cpu=frozenset({"sse4", "avx512"} if random.random() < 0.6 else {"sse4"}),
            storage=frozenset({"ceph", "nfs"} if random.random() < 0.6 else {"ceph"}),
            capacity={**host.capacity, "pci_gpu": 2 if random.random() < 0.4 else 0},
            numa=(_half(host), _half(host)) if random.random() < 0.5 else (),
        )
        for host in hosts
    ]


def rare_servers(random: Random, hosts: Sequence[Host], servers: Sequence[Server]) -> list[Server]:
    by_name = {host.name: host for host in hosts}
    devices: dict[HostName | None, int] = {host.name: host.capacity["pci_gpu"] for host in hosts}
    cells: dict[HostName | None, list[dict[str, int]]] = {
        host.name: [dict(cell) for cell in host.numa] for host in hosts
    }
    found = []
    for server in servers:
        assert server.host is not None
        host, given = by_name[server.host], dict[str, Any]()
        if random.random() < 0.15:
            given["cpu"] = host.cpu
        if random.random() < 0.15:
            given["storage"] = random.choice((*sorted(host.storage), LOCAL_STORAGE))
        if random.random() < 0.06 and devices[host.name]:
            devices[host.name] -= 1
            given["demand"] = {**server.demand, "pci_gpu": 1}
        if random.random() < 0.08 and "ssd" in host.aggregates:
            given["extra_specs"] = {OF_AN_AGGREGATE: random.choice(("ssd", "<or> nvme <or> ssd"))}
        if random.random() < 0.1:
            given["image"] = {"os": "windows" if "ssd" not in host.aggregates else "linux"}
        if random.random() < 0.02:
            given["metadata"] = {"cluster_node_id": server.id}
        if random.random() < 0.5 and host.numa:
            given |= _in_cells(random, server, cells[host.name])
        found.append(replace(server, **given))
    return found


def _half(host: Host) -> dict[str, int]:
    return {name: host.capacity[name] // 2 for name in ("vcpu", "memory_mib")}


def _in_cells(random: Random, server: Server, free: list[dict[str, int]]) -> dict[str, Any]:
    """The server in one cell of its host or, half in each, in two; nothing where it does not fit."""
    parts = random.choice((1, 1, 2))
    own = {name: -(-server.demand[name] // parts) for name in ("vcpu", "memory_mib")}
    fitting = [place for place, cell in enumerate(free) if all(cell[name] >= own[name] for name in own)]
    if len(fitting) < parts:
        return {}
    chosen = random.sample(fitting, parts)
    for place in chosen:
        for name, amount in own.items():
            free[place][name] -= amount
    return {"numa": (own,) * parts, "numa_at": tuple(chosen)}


def metadata(random: Random, hosts: Sequence[Host], servers: Sequence[Server]) -> dict[str, dict[str, str]]:
    """Of the one aggregate: what it is, and now and then for whom; nobody who is there is left out."""
    inside = {host.name for host in hosts if "ssd" in host.aggregates}
    if not inside:
        return {}
    found = {"disk": "ssd", "os": "linux"}
    if random.random() < 0.2:
        found["filter_tenant_id"] = ",".join(sorted({one.project for one in servers if one.host in inside} | {"none"}))
    return {"ssd": found}

"""What-if: the cloud as it would be with hosts added, taken out or lost, other head-room, bigger servers; pure."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from restow.cloud.model import Cloud, Host, HostState, Server
from restow.cloud.snapshot import read_host
from restow.errors import BadInputError, FieldError, close_names
from restow.ids import HostName
from restow.messages.base import ERRORS_MAX
from restow.messages.request import Changes


def changed(cloud: Cloud, changes: Changes | None) -> Cloud:
    """The cloud as the changes make it; lost hosts are down with their servers still on them.

    Raises BadInputError that names every field at fault (at most ERRORS_MAX).
    """
    if changes is None:
        return cloud
    wrong = tuple(_wrong(cloud, changes))
    if wrong:
        raise BadInputError("changes", wrong[:ERRORS_MAX])
    hosts = [host for host in cloud.hosts if host.name not in set(changes.remove_hosts)]
    hosts += [read_host(document, resources=cloud.resources) for document in changes.add_hosts]
    hosts += [copy for one in changes.copy_hosts for copy in _copies(cloud, one.like, one.count)]
    hosts = [_with_head_room(_lost(host, changes), changes.head_room) for host in hosts]
    servers = tuple(_grown(server, changes) for server in cloud.servers)
    return replace(cloud, hosts=tuple(hosts), servers=servers)


def _copies(cloud: Cloud, like: str, count: int) -> Iterator[Host]:
    """Empty hosts of the same kind in the same place, under new names."""
    model = cloud.host_by_name[HostName(like)]
    for number in range(1, count + 1):
        yield replace(
            model, name=HostName(f"{like}-copy-{number}"), state=HostState.UP, enabled=True, forced_down=False,
            maintenance=False, load={},
        )  # fmt: skip


def _lost(host: Host, changes: Changes) -> Host:
    lost = host.name in changes.lose_hosts or (host.rack is not None and host.rack in changes.lose_racks)
    return replace(host, state=HostState.DOWN) if lost else host


def _with_head_room(host: Host, head_room: float | None) -> Host:
    if not head_room:
        return host
    return replace(host, capacity={name: int(amount * (1.0 - head_room)) for name, amount in host.capacity.items()})


def _grown(server: Server, changes: Changes) -> Server:
    for growth in changes.grow:
        if not growth.servers or server.id in growth.servers:
            factors = growth.factor
            demand = {name: ceil(amount * factors.get(name, 1.0)) for name, amount in server.demand.items()}
            server = replace(server, demand=demand)
    return server


def _wrong(cloud: Cloud, changes: Changes) -> Iterator[FieldError]:
    yield from _wrong_new_hosts(cloud, changes)
    for field in ("remove_hosts", "lose_hosts"):
        for index, name in enumerate(getattr(changes, field)):
            if name not in cloud.host_by_name:
                yield _unknown_host(cloud, f"changes.{field}.{index}", name)
    for index, name in enumerate(changes.remove_hosts):
        if cloud.servers_on.get(HostName(name)):
            expected = "a host without servers (one that is lost with its servers: lose_hosts)"
            yield FieldError(f"changes.remove_hosts.{index}", name, expected)
    racks = {host.rack for host in cloud.hosts if host.rack is not None}
    for index, rack in enumerate(changes.lose_racks):
        if rack not in racks:
            expected = "the name of a rack of this domain" + close_names(rack, racks)
            yield FieldError(f"changes.lose_racks.{index}", rack, expected)
    for index, growth in enumerate(changes.grow):
        for place, server in enumerate(growth.servers):
            if server not in cloud.server_by_id:
                field = f"changes.grow.{index}.servers.{place}"
                expected = "the id of a server of this domain" + close_names(server, cloud.server_by_id)
                yield FieldError(field, server, expected)
        for resource in growth.factor:
            if resource not in cloud.resources:
                expected = "one of " + ", ".join(cloud.resources)
                yield FieldError(f"changes.grow.{index}.factor.{resource}", resource, expected)


def _wrong_new_hosts(cloud: Cloud, changes: Changes) -> Iterator[FieldError]:
    taken = set(cloud.host_by_name)
    for index, document in enumerate(changes.add_hosts):
        try:
            host = read_host(document, resources=cloud.resources)
        except BadInputError as error:
            for one in error.errors:
                yield FieldError(f"changes.add_hosts.{index}.{one.field}", one.value, one.expected)
            continue
        if host.name in taken:
            yield FieldError(f"changes.add_hosts.{index}.name", host.name, "a name that no host has")
        taken.add(host.name)
    for index, copies in enumerate(changes.copy_hosts):
        if copies.like not in cloud.host_by_name:
            yield _unknown_host(cloud, f"changes.copy_hosts.{index}.like", copies.like)
            continue
        names = {copy.name for copy in _copies(cloud, copies.like, copies.count)}
        if names & taken:
            expected = "a host that is copied once, and whose copies' names are free"
            yield FieldError(f"changes.copy_hosts.{index}.like", copies.like, expected)
        taken |= names


def _unknown_host(cloud: Cloud, field: str, name: str) -> FieldError:
    return FieldError(field, name, "the name of a host of this domain" + close_names(name, cloud.host_by_name))

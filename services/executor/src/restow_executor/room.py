"""Whether a host has room for one more server, told from what was read just now; pure but for the claims it keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from restow.cloud.model import Cloud, GroupPolicy, Host, Power, Resource, Server
from restow.ids import HostName, ServerId

Allocations = Mapping[ServerId, Mapping[HostName, Mapping[Resource, int]]]


@dataclass(slots=True)
class Claims:
    """What this executor's own moves are about to take on their targets: asked for, but not yet to be read."""

    held: dict[str, tuple[HostName, Server]] = field(default_factory=dict)  # by step
    seen_ended: dict[str, datetime] = field(default_factory=dict)  # when a step's end was first seen, not yet proven

    def hold(self, step: str, host: HostName, server: Server) -> None:
        self.held[step] = (host, server)

    def drop(self, step: str) -> None:
        self.held.pop(step, None)
        self.seen_ended.pop(step, None)


def why_closed(host: Host) -> str | None:
    """Why the scheduler would place nothing here; None if it would."""
    if host.takes_servers:
        return None
    if host.maintenance:
        return f"{host.name} is in maintenance"
    if host.forced_down or host.state != "up":
        return f"{host.name} is down"
    if host.power is Power.OFF:
        return f"{host.name} is powered off"
    return f"{host.name} is disabled"


def lacks(cloud: Cloud, host: Host, server: Server, *, claims: Claims, step: str, in_flight: Allocations) -> str | None:
    """What `host` lacks to take `server` as well; None if nothing.

    There count the servers that are on it, those on their way to it (by placement, or by a claim of our own
    that placement does not show yet), and those still leaving it: a server holds both ends of its move.
    """
    taken = cloud.used(host.name)
    counted = {there.id for there in cloud.servers_on.get(host.name, ())}
    for arriving, ends in sorted(in_flight.items()):
        if arriving not in counted and arriving != server.id and host.name in ends:
            counted.add(arriving)
            for resource in cloud.resources:
                taken[resource] += ends[host.name].get(resource, 0)
    for other_step, (target, claimed) in sorted(claims.held.items()):
        if other_step != step and target == host.name and claimed.id not in counted and claimed.id != server.id:
            counted.add(claimed.id)
            for resource in cloud.resources:
                taken[resource] += claimed.demand.get(resource, 0)
    short = [
        f"{taken[resource] + need - host.capacity.get(resource, 0)} {resource}"
        for resource in cloud.resources
        if (need := server.demand.get(resource, 0)) > 0 and taken[resource] + need > host.capacity.get(resource, 0)
    ]
    return f"{host.name} lacks {', '.join(short)} for {server.id}" if short else None


def group_forbids(cloud: Cloud, host: Host, server: Server, *, claims: Claims, step: str) -> str | None:
    """The hard anti-affinity group that has too many members on `host` already; None if there is none."""
    coming = {claimed.id for other, (target, claimed) in claims.held.items() if other != step and target == host.name}
    there = {other.id for other in cloud.servers_on.get(host.name, ())} | coming
    for group in cloud.groups:
        if group.policy is not GroupPolicy.ANTI_AFFINITY or server.id not in group.members:
            continue
        others = sum(1 for member in group.members if member in there and member != server.id)
        if others >= group.max_per_host:
            return f"{host.name} already has {others} of group {group.id}, which is kept apart"
    return None

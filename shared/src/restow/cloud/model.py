"""The cloud as Restow sees it: hosts, servers, groups and rules as frozen values; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Literal

from restow.ids import DomainName, HostName, ServerId

LOCAL_STORAGE = "local"
"""Of a server whose disk is on its own host: it is lost with the host, and copied in a move."""

Resource = str  # "vcpu", "memory_mib", "disk_gib", "pcpu", "vgpu", … any name


class HostState(StrEnum):
    UP = "up"
    DOWN = "down"


class Power(StrEnum):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class ServerState(StrEnum):
    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    ERROR = "error"


class Move(StrEnum):
    """How a server may be moved."""

    LIVE = "live"
    COLD = "cold"
    NONE = "none"


class GroupPolicy(StrEnum):
    AFFINITY = "affinity"
    ANTI_AFFINITY = "anti-affinity"
    SOFT_AFFINITY = "soft-affinity"
    SOFT_ANTI_AFFINITY = "soft-anti-affinity"


@dataclass(frozen=True, slots=True)
class Host:
    """A hypervisor. `capacity` is what may be claimed: overcommit multiplied in, reserve taken off.

    `state` is what the compute service reports; `enabled` is the operator's switch for new
    servers, and where it is on, `withheld` says that placement does not offer the host yet all the same;
    `forced_down` says that somebody declared the host dead in Nova. `cpu`: the models and
    features that a guest may find here; `storage`: the pools it reaches; `numa`: what each of its cells has.
    """

    name: HostName
    state: HostState = HostState.UP
    enabled: bool = True
    maintenance: bool = False
    zone: str | None = None
    rack: str | None = None
    aggregates: tuple[str, ...] = ()
    traits: frozenset[str] = frozenset()
    capacity: Mapping[Resource, int] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    physical: Mapping[str, float] = field(default_factory=dict)
    link_mbps: int | None = None
    power: Power = Power.UNKNOWN
    forced_down: bool = False
    withheld: bool = False
    cpu: frozenset[str] = frozenset()
    storage: frozenset[str] = frozenset()
    numa: tuple[Mapping[Resource, int], ...] = ()

    @property
    def takes_servers(self) -> bool:
        """Whether the scheduler would place anything here at all."""
        return (
            self.state is HostState.UP
            and self.enabled
            and not self.maintenance
            and not self.forced_down
            and not self.withheld
            and self.power is not Power.OFF
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A virtual server. `demand` is what its flavor claims; `host` None: it runs nowhere yet.

    `task` is Nova's task_state: None when nothing is under way. `zone` is the zone it is pinned to. `cpu`: what
    it was started with, and needs where it comes to running. `storage`: the pool of its disks, LOCAL_STORAGE, or
    None where nobody knows. `extra_specs` (of its flavor) and `image` (properties) are matched with the metadata of
    aggregates. `numa`: what each of its cells claims; `numa_at`: in which cells of its host they are.
    """

    id: ServerId
    name: str = ""
    host: HostName | None = None
    project: str = ""
    state: ServerState = ServerState.ACTIVE
    demand: Mapping[Resource, int] = field(default_factory=dict)
    load: Mapping[str, float] = field(default_factory=dict)
    dirty_mib_s: float | None = None
    zone: str | None = None
    requires: frozenset[str] = frozenset()
    forbids: frozenset[str] = frozenset()
    move: Move = Move.LIVE
    priority: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    task: str | None = None
    cpu: frozenset[str] = frozenset()
    storage: str | None = None
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    numa: tuple[Mapping[Resource, int], ...] = ()
    numa_at: tuple[int, ...] = ()
    cool_down_s: float | None = None

    @property
    def moves_live(self) -> bool:
        """Whether a move carries a running guest, with its memory and its state."""
        return self.move is Move.LIVE and self.state in (ServerState.ACTIVE, ServerState.PAUSED)


@dataclass(frozen=True, slots=True)
class Group:
    """A server group of Nova. `max_per_host` goes with anti-affinity only."""

    id: str
    policy: GroupPolicy
    members: tuple[ServerId, ...] = ()
    max_per_host: int = 1


Unit = Literal["host", "rack", "zone"]


@dataclass(frozen=True, slots=True)
class Allow:
    """These servers may stand on these hosts only."""

    servers: tuple[ServerId, ...]
    hosts: tuple[HostName, ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Ban:
    """These servers may not stand on these hosts."""

    servers: tuple[ServerId, ...]
    hosts: tuple[HostName, ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class SpreadOver:
    """These servers stand in at least so many hosts, racks or zones."""

    servers: tuple[ServerId, ...]
    over: Unit
    at_least: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class AtMostPer:
    """At most `count` of these servers in one host, rack or zone."""

    servers: tuple[ServerId, ...]
    per: Unit
    count: int
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class TogetherIn:
    """These servers stand in one host, rack or zone."""

    servers: tuple[ServerId, ...]
    per: Unit
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Among:
    """These servers stand, all of them, within one of these sets of hosts."""

    servers: tuple[ServerId, ...]
    host_sets: tuple[tuple[HostName, ...], ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Reserve:
    """So much stays free on each of these hosts."""

    hosts: tuple[HostName, ...]
    keep_free: Mapping[Resource, int]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Survive:
    """The loss of any so many hosts (racks, zones) must still leave room for all."""

    failures: int
    of: Unit
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class LoadBelow:
    """On each of these hosts what is measured stays within this share of what is physically there."""

    hosts: tuple[HostName, ...]
    at_most: Mapping[str, float]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Dedicate:
    """These hosts are for the servers of these projects only; `exclusive`: and those stand nowhere else."""

    hosts: tuple[HostName, ...]
    projects: tuple[str, ...]
    exclusive: bool = False
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Isolate:
    """These servers share their hosts with each other only."""

    servers: tuple[ServerId, ...]
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Licence:
    """These servers stand on at most `count` hosts (racks, zones)."""

    servers: tuple[ServerId, ...]
    count: int
    per: Unit = "host"
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Residency:
    """These servers, and all of these projects, stand in these zones."""

    zones: tuple[str, ...]
    servers: tuple[ServerId, ...] = ()
    projects: tuple[str, ...] = ()
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class NearTo:
    """Each of these servers stands in a host, rack or zone in which at least one of `to` stands."""

    servers: tuple[ServerId, ...]
    to: tuple[ServerId, ...]
    per: Unit
    soft: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many of these servers are on their way at the same time."""

    servers: tuple[ServerId, ...]
    at_once: int
    soft: float | None = None


RuleSpec = (
    Allow
    | Ban
    | SpreadOver
    | AtMostPer
    | TogetherIn
    | Among
    | Reserve
    | Survive
    | LoadBelow
    | Dedicate
    | Isolate
    | Licence
    | Residency
    | NearTo
    | Budget
)


@dataclass(frozen=True)
class Cloud:
    """One domain at one moment. Hosts and servers keep the order in which they were given.

    `aggregates`: the metadata of those that have any.
    """

    taken_at: datetime
    domain: DomainName
    resources: tuple[Resource, ...]
    hosts: tuple[Host, ...]
    servers: tuple[Server, ...] = ()
    groups: tuple[Group, ...] = ()
    rules: tuple[RuleSpec, ...] = ()
    aggregates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def host_by_name(self) -> Mapping[HostName, Host]:
        return {host.name: host for host in self.hosts}

    @cached_property
    def server_by_id(self) -> Mapping[ServerId, Server]:
        return {server.id: server for server in self.servers}

    @cached_property
    def servers_on(self) -> Mapping[HostName, tuple[Server, ...]]:
        """The servers of each host; every host is a key."""
        found: dict[HostName, list[Server]] = {host.name: [] for host in self.hosts}
        for server in self.servers:
            if server.host is not None:
                found.setdefault(server.host, []).append(server)
        return {name: tuple(servers) for name, servers in found.items()}

    def used(self, host: HostName) -> dict[Resource, int]:
        """What the servers of this host claim, per resource."""
        total = dict.fromkeys(self.resources, 0)
        for server in self.servers_on.get(host, ()):
            for resource in self.resources:
                total[resource] += server.demand.get(resource, 0)
        return total

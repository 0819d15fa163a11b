"""The state of a simulated domain: hosts, servers, attempts to move them, and time; pure.

`moves`, `servers`, `hosts` and `faults` say what can be done to it; `view` shows it as a reader of Nova sees it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from restow.cloud.model import Cloud, Group, Host, HostState, Power, Resource, Server, ServerState
from restow.cloud.port import Migration, MigrationStatus
from restow.cloud.simulated.engine import MIB_PER_S_OF_MBPS, Copy, Engine
from restow.cloud.simulated.ledger import Ledger
from restow.cloud.simulated.loads import LoadCurve
from restow.cloud.simulated.options import SimulationOptions, chance
from restow.errors import NotFoundError
from restow.ids import HostName, ServerId

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CRASH, HANG, NETWORK_LOSS, AGENT_DOWN, HOT = "host-crash", "host-hang", "network-loss", "agent-down", "hot-host"
FREEZES_COPIES = frozenset({CRASH, HANG, NETWORK_LOSS})


def seconds_of(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()


def moment_of(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


@dataclass(slots=True, eq=False)
class HostNow:
    """A host as it truly is. `reported` is what the compute service shows, some time later."""

    base: Host
    enabled: bool
    forced_down: bool
    powered: bool
    booted: bool
    reported: HostState
    faults: set[str] = field(default_factory=set)
    reporting: bool = True
    silent_since: float = 0.0
    power_wanted: bool = True
    power_changes: int = 0  # a later order overtakes an earlier one

    @property
    def name(self) -> HostName:
        return self.base.name

    @property
    def runs(self) -> bool:
        """Its guests have cpu time, or would have, if it is hung only."""
        return self.powered and self.booted and CRASH not in self.faults

    @property
    def agent_reports(self) -> bool:
        return self.runs and not self.faults & {HANG, NETWORK_LOSS, AGENT_DOWN}

    @property
    def answers_pings(self) -> bool:
        return self.runs and not self.faults & {HANG, NETWORK_LOSS}

    @property
    def writes_storage(self) -> bool:
        return self.runs and HANG not in self.faults

    @property
    def copies(self) -> bool:
        """Whether a copy to or from it goes on."""
        return self.runs and not self.faults & FREEZES_COPIES

    @property
    def usable(self) -> bool:
        """What Nova believes: its service is up and not forced down."""
        return self.reported is HostState.UP and not self.forced_down

    @property
    def takes_servers(self) -> bool:
        return self.usable and self.enabled and not self.base.maintenance

    @property
    def power(self) -> Power:
        return Power.ON if self.powered else Power.OFF


@dataclass(slots=True, eq=False)
class ServerNow:
    base: Server
    host: HostName | None
    state: ServerState
    curve: LoadCurve
    task: str | None = None
    corrupt: bool = False  # evacuated twice at once

    @property
    def id(self) -> ServerId:
        return self.base.id


@dataclass(slots=True, eq=False)
class Attempt:
    """One migration, from the request on."""

    id: str
    server: ServerId
    kind: str
    source: HostName
    target: HostName
    request_id: str
    started_at: float
    status: MigrationStatus = MigrationStatus.QUEUED
    copy: Copy | None = None
    progress: float = 0.0
    reason: str = ""
    decided: bool = False
    stranded: bool = False  # its source died: nothing comes of it, and nobody says so
    resume_as: ServerState = ServerState.ACTIVE

    @property
    def under_way(self) -> bool:
        return not self.status.ended

    def shown(self) -> Migration:
        return Migration(
            id=self.id,
            server=self.server,
            kind=self.kind,
            source=self.source,
            target=self.target,
            status=self.status,
            request_id=self.request_id,
            started_at=moment_of(self.started_at),
            progress=self.copy.progress if self.copy is not None and self.under_way else self.progress,
            reason=self.reason,
        )


class World:
    """One domain. Every function that changes it works at `engine.now`."""

    def __init__(self, cloud: Cloud, *, seed: int, options: SimulationOptions) -> None:
        self.cloud = cloud
        self.seed = seed
        self.options = options
        self.resources: tuple[Resource, ...] = cloud.resources
        self.engine = Engine(self._link_mib_s)
        self.hosts: dict[HostName, HostNow] = {host.name: _host_now(host) for host in cloud.hosts}
        self.servers: dict[ServerId, ServerNow] = {}
        self.ledger = Ledger(cloud.resources, {host.name: host.capacity for host in cloud.hosts})
        self.attempts: dict[ServerId, list[Attempt]] = {}
        self.active: dict[ServerId, list[Attempt]] = {}
        self.queues: dict[HostName, list[Attempt]] = {}
        self.groups_of: dict[ServerId, list[Group]] = {}
        self.stubborn: set[ServerId] = set()  # their copying never converges
        self.doomed: dict[ServerId, tuple[str, bool]] = {}  # reason, and whether the server ends in error
        self.hot_cores: dict[HostName, float] = {}  # what a hot host burns beside its servers
        self.heat: dict[ServerId, float] = {}  # the share of its idle cores that a server of a hot host burns
        self.heated: dict[HostName, tuple[ServerId, ...]] = {}
        self.changed_servers: set[ServerId] = set()
        self.changed_hosts: set[HostName] = set()
        self.version = 0  # grows with every change that a reader can see
        self._attempts_made = 0
        for group in cloud.groups:
            for member in group.members:
                self.groups_of.setdefault(member, []).append(group)
        for server in cloud.servers:
            self._add(server)
        claims = [(one.id, one.host, one.demand) for one in cloud.servers if one.host is not None]
        self.ledger.begins(claims, now=0.0)

    # --- time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.engine.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.engine.after(seconds, action)

    def chance(self, *names: object) -> float:
        return chance(self.seed, *names)

    # --- looking up ---------------------------------------------------------------------------------------------

    def host(self, name: HostName) -> HostNow:
        if name not in self.hosts:
            raise NotFoundError(f"there is no host {name} in domain {self.cloud.domain}")
        return self.hosts[name]

    def server(self, server: ServerId) -> ServerNow:
        if server not in self.servers:
            raise NotFoundError(f"there is no server {server} in domain {self.cloud.domain}")
        return self.servers[server]

    def under_way(self, server: ServerId, *, kind: str | None = None) -> Attempt | None:
        """The newest attempt that has not ended."""
        for attempt in reversed(self.active.get(server, ())):
            if kind is None or attempt.kind == kind:
                return attempt
        return None

    def all_under_way(self) -> list[Attempt]:
        return [attempt for attempts in self.active.values() for attempt in attempts]

    def records_on(self, host: HostName) -> list[ServerNow]:
        return [server for server in self.servers.values() if server.host == host]

    # --- changing -----------------------------------------------------------------------------------------------

    def touch(self, server: ServerNow, *hosts: HostName) -> None:
        """A reader can see this server, and these hosts' loads, differently from now on."""
        self.version += 1
        self.changed_servers.add(server.id)
        if server.host is not None:
            self.changed_hosts.add(server.host)
        self.changed_hosts.update(hosts)

    def touch_host(self, host: HostNow) -> None:
        self.version += 1
        self.changed_hosts.add(host.name)

    def settle_records(self, server: ServerNow, *, host: HostName | None, state: ServerState) -> None:
        """The record says from now on that the server is there, in this state, with nothing under way."""
        old = server.host
        server.host, server.state, server.task = host, state, None
        self.touch(server, *(() if old is None else (old,)))

    def begin(self, server: ServerNow, *, kind: str, target: HostName, request_id: str) -> Attempt:
        assert server.host is not None
        self._attempts_made += 1
        attempt = Attempt(
            id=f"{self.cloud.domain}-migration-{self._attempts_made}",
            server=server.id,
            kind=kind,
            source=server.host,
            target=target,
            request_id=request_id,
            started_at=self.now,
            resume_as=server.state,
        )
        self.attempts.setdefault(server.id, []).append(attempt)
        self.active.setdefault(server.id, []).append(attempt)
        return attempt

    def end(self, attempt: Attempt, status: MigrationStatus, reason: str = "") -> None:
        """The attempt is over; what it means for server and claims is the caller's."""
        assert status.ended
        assert attempt.under_way
        if attempt.copy is not None:
            self.engine.give_up(attempt.copy)
            attempt.progress = attempt.copy.progress
            attempt.copy = None
        attempt.status, attempt.reason = status, reason
        if status is MigrationStatus.COMPLETED:
            attempt.progress = 1.0
        left = [one for one in self.active[attempt.server] if one is not attempt]
        if left:
            self.active[attempt.server] = left
        else:
            del self.active[attempt.server]

    def add(self, server: Server) -> None:
        """A user booted a server; it runs at once."""
        self._add(server)
        if server.host is not None:
            self.ledger.claim(server.id, server.host, server.demand, now=self.now)
        self.touch(self.servers[server.id])

    def remove(self, server: ServerId) -> None:
        """A user deleted a server."""
        gone = self.server(server)
        for attempt in tuple(self.active.get(server, ())):
            self.end(attempt, MigrationStatus.FAILED, "the server was deleted")
        self.ledger.forget(server, now=self.now)
        self.touch(gone)
        del self.servers[server]

    def _add(self, server: Server) -> None:
        assert server.id not in self.servers, server.id
        assert server.host is None or server.host in self.hosts, server.host
        curve = LoadCurve(server, seed=self.seed, options=self.options)
        self.servers[server.id] = ServerNow(server, server.host, server.state, curve, task=server.task)
        self.ledger.claims.setdefault(server.id, {})
        alive = server.host is not None and self.hosts[server.host].runs
        if alive and server.host is not None and server.state in (ServerState.ACTIVE, ServerState.PAUSED):
            self.ledger.runs(server.id, server.host, now=self.now)

    def _link_mib_s(self, host: HostName) -> float:
        return (self.hosts[host].base.link_mbps or self.options.link_mbps) * MIB_PER_S_OF_MBPS


def _host_now(host: Host) -> HostNow:
    """A host that the snapshot shows as down is taken to have crashed, unless its power is off."""
    powered = host.power is not Power.OFF
    crashed = powered and host.state is HostState.DOWN and not host.forced_down
    up = powered and not crashed
    return HostNow(
        base=host,
        enabled=host.enabled,
        forced_down=host.forced_down,
        powered=powered,
        booted=powered,
        reported=HostState.UP if up else HostState.DOWN,
        faults={CRASH} if crashed else set(),
        reporting=up,
        power_wanted=powered,
    )

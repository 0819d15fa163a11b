"""The port to a cloud: what Restow reads of one domain and what it does to it.

Both adapters (simulated, OpenStack) keep to this text and pass the same contract tests.
Errors are `restow.errors`: TransientError, LostAnswerError, PermanentError, NotFoundError, CredentialError.
Every action asks for permission (`permission.py`) just before it is sent, and returns as soon as the cloud has taken
the request; its end is seen by reading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from restow.cloud.model import Cloud, Host, Power, Resource, Server
from restow.ids import DomainName, HostName, ServerId


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One source's word about one host. A source that says nothing about a host sends none."""

    source: str  # "compute-service", "management-network", "storage", "tenant-network", "power"
    host: HostName
    alive: bool
    at: datetime


VERIFY = "verify_resize"  # the task of a server whose cold migration waits to be confirmed


class MigrationStatus(StrEnum):
    """Nova's statuses, reduced to what a reader must tell apart."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"  # failed and error
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (MigrationStatus.QUEUED, MigrationStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Migration:
    """One attempt to move a server.

    `request_id` is the one that the caller chose; empty where the cloud cannot tell whose request it was.
    """

    id: str
    server: ServerId
    kind: str  # "live-migrate", "cold-migrate", "evacuate", "resize" (its user's, never ours)
    source: HostName
    target: HostName
    status: MigrationStatus
    request_id: str
    started_at: datetime
    progress: float = 0.0  # share of memory copied, 0 to 1
    reason: str = ""  # why it failed


class CloudReader(Protocol):
    async def read(self) -> Cloud:
        """The whole domain, in bulk."""

    async def host(self, name: HostName) -> Host: ...

    async def server(self, server: ServerId) -> Server: ...

    async def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        """What placement holds for this server on each host, a move's other end included."""

    async def migrations(self, server: ServerId) -> Sequence[Migration]:
        """All known attempts to move this server, oldest first."""

    async def heartbeats(self) -> Sequence[Heartbeat]:
        """The latest word of every independent source about every host of the domain."""


class CloudWriter(Protocol):
    """`request_id` is chosen by the caller and recognised in `migrations` afterwards, as far as the cloud can."""

    async def live_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None: ...

    async def cold_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        """Ends on the target with the task VERIFY, both ends claimed, until it is confirmed."""

    async def confirm_cold_migration(self, server: ServerId) -> None:
        """Give the source's end back. Only for a move of our own: a resize is its user's to confirm."""

    async def clear_error(self, server: ServerId) -> None:
        """Declare a server in error active again. Refused unless its guest is known to run, with nothing under way."""

    async def evacuate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        """Rebuild elsewhere; refused unless the host is down. Never ask twice: look first."""

    async def abort_migration(self, server: ServerId, *, migration: str) -> None:
        """End this live migration, queued or running: the server stays where it was."""

    async def force_complete(self, server: ServerId, *, migration: str) -> None:
        """Bring this running live migration to its end at once: the guest is paused, or fetches its memory later."""

    async def start(self, server: ServerId, *, on: HostName | None, request_id: str) -> None:
        """Start a stopped server, or one that runs nowhere yet (then `on` names its host)."""

    async def stop(self, server: ServerId, *, request_id: str) -> None: ...

    async def shelve(self, server: ServerId, *, request_id: str) -> None:
        """Shelve and offload: the server leaves its host and gives its claim back."""

    async def disable(self, host: HostName, *, reason: str) -> None: ...

    async def enable(self, host: HostName) -> None: ...

    async def force_down(self, host: HostName, *, down: bool) -> None: ...

    async def power(self, host: HostName, *, on: bool) -> None:
        """Ask the board controller; `power_state` tells whether it happened."""

    async def power_state(self, host: HostName) -> Power:
        """Asked of the board controller now, not remembered."""


class CloudPort(CloudReader, CloudWriter, Protocol):
    """One domain of one cloud."""

    @property
    def domain(self) -> DomainName: ...

    async def close(self) -> None: ...


class Clouds(Protocol):
    """The domains that this installation looks after."""

    def domains(self) -> tuple[DomainName, ...]: ...

    def port(self, domain: DomainName) -> CloudPort:
        """NotFoundError if the domain is not one of ours."""

    async def close(self) -> None: ...


FAULTS = ("host-crash", "host-hang", "network-loss", "agent-down", "hot-host")


@runtime_checkable
class FaultInjection(Protocol):
    """Trouble on purpose; only the simulated cloud has it."""

    async def inject(self, kind: str, host: HostName) -> None:
        """`kind` is one of FAULTS."""

    async def clear_faults(self, host: HostName | None = None) -> None:
        """End the faults of this host, or all of them; a crashed host boots again."""

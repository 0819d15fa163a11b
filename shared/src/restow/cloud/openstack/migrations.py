"""From Nova's migrations to ours: kinds, statuses, and which of them a request of ours led to; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from restow.cloud.port import Migration, MigrationStatus
from restow.ids import HostName, ServerId

KINDS = {
    "live-migration": "live-migrate", "migration": "cold-migrate", "resize": "resize", "evacuation": "evacuate",
}  # fmt: skip
ACTIONS = {
    "live-migrate": "live-migration",
    "cold-migrate": "migrate",
    "resize": "resize",
    "evacuate": "evacuate",
}  # of os-instance-actions
_STATUSES = {
    "queued": MigrationStatus.QUEUED, "completed": MigrationStatus.COMPLETED, "confirmed": MigrationStatus.COMPLETED,
    "done": MigrationStatus.COMPLETED, "failed": MigrationStatus.FAILED, "error": MigrationStatus.FAILED,
    "cancelled": MigrationStatus.CANCELLED, "reverted": MigrationStatus.CANCELLED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A move that this process asked for. `after`: the id of the server's newest migration just before.

    `nova_request`: the id that Nova gave this request; empty while its answer is not known.
    """

    request_id: str
    kind: str
    target: HostName
    after: int
    nova_request: str = ""


@dataclass(slots=True)
class Requests:
    """What this process has asked for, by server: Nova has no place for an id that the caller chose."""

    servers_max: int = 10_000
    asked: dict[ServerId, list[Asked]] = field(default_factory=dict)

    def note(self, server: ServerId, asked: Asked) -> None:
        known = self.asked.pop(server, [])
        self.asked[server] = [*known[-9:], asked]
        while len(self.asked) > self.servers_max:
            del self.asked[next(iter(self.asked))]

    def drop(self, server: ServerId, request_id: str) -> None:
        """It was refused: no migration can come of it."""
        self.asked[server] = [one for one in self.asked.get(server, ()) if one.request_id != request_id]

    def taken(self, server: ServerId, request_id: str, nova_request: str) -> None:
        """Nova answered it, and calls it so."""
        self.asked[server] = [
            replace(one, nova_request=nova_request) if one.request_id == request_id else one
            for one in self.asked.get(server, ())
        ]

    def owners(self, server: ServerId, documents: Sequence[Mapping[str, Any]]) -> dict[int, Asked]:
        """Our requests by migration id: each takes the first fitting migration that came after it."""
        found: dict[int, Asked] = {}
        for asked in self.asked.get(server, ()):
            for one in documents:
                number = int(one["id"])
                fits = KINDS.get(one["migration_type"]) == asked.kind and one.get("dest_compute") in (
                    asked.target,
                    None,
                )
                if number > asked.after and number not in found and fits:
                    found[number] = asked
                    break
        return found


def status_of(status: str) -> MigrationStatus:
    """What Nova may call it tomorrow is something that still runs: hands off."""
    return _STATUSES.get(status, MigrationStatus.RUNNING)


def in_order(documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(documents, key=lambda one: int(one["id"]))


def migration_of(
    document: Mapping[str, Any], *, server: ServerId, request_id: str, progress: float, reason: str
) -> Migration:
    status = status_of(document["status"])
    return Migration(
        id=str(document["id"]),
        server=server,
        kind=KINDS.get(document["migration_type"], document["migration_type"]),
        source=HostName(document.get("source_compute") or ""),
        target=HostName(document.get("dest_compute") or ""),
        status=status,
        request_id=request_id,
        started_at=time_of(document["created_at"]),
        progress=1.0 if status is MigrationStatus.COMPLETED else progress,
        reason=reason,
    )


def progress_of(document: Mapping[str, Any]) -> float:
    """The share of memory copied, of a migration in progress."""
    total, left = document.get("memory_total_bytes") or 0, document.get("memory_remaining_bytes") or 0
    return 0.0 if total <= 0 else max(0.0, min(1.0, 1 - left / total))


def time_of(text: str) -> datetime:
    """Nova writes UTC, with or without saying so."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)

"""The guard that stops all healing when too much fails at once; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from restow.policy import BlastRadius
from restow_detector.memory import Health, HostHealth, OpenIncident

GUARD = "blast-radius"


def hosts_failing(
    health: Mapping[str, HostHealth], held: Iterable[OpenIncident], *, now: datetime, window: timedelta
) -> tuple[str, ...]:
    """Hosts that failed within the window, or are about to, or failed in an event that is still unresolved."""
    unresolved = {host for incident in held for host in incident.hosts}
    found = []
    for host, known in health.items():
        match known.health:
            case Health.FAILED if known.failed_at is not None:
                counts = known.failed_at >= now - window or host in unresolved
            case Health.SUSPECT:
                counts = known.agreed_since is not None
            case _:
                counts = False
        if counts:
            found.append(host)
    return tuple(sorted(found))


def allowed(limit: BlastRadius, *, hosts: int) -> int:
    """How many may fail at once and be healed: in a small domain at least one."""
    return max(1, min(limit.hosts, int(limit.share * hosts)))


def refusal(
    failing: tuple[str, ...], limit: BlastRadius, *, hosts: int, health: Mapping[str, HostHealth], now: datetime
) -> str | None:
    """Why nobody heals, or None. The span told is the one in which the failing hosts fell silent."""
    if len(failing) <= allowed(limit, hosts=hosts):
        return None
    first = min((health[host].first_evidence_at or now) for host in failing)
    last = max((health[host].failed_at or now) for host in failing)
    span_s = max(1, round((last - first).total_seconds()))
    return (
        f"{len(failing)} of {hosts} hosts failed within {span_s} s: this looks like the network or us; "
        f"at most {allowed(limit, hosts=hosts)} may fail at once before a person must look"
    )

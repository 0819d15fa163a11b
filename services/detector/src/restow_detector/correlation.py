"""One cause, one incident: which open incident accounts for what is seen now; pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from restow.messages.events import Signal
from restow_detector.memory import OpenIncident
from restow_detector.sources.signals import HOST_DOWN

# A failed host's servers start elsewhere: for this long, load that shifts is its doing.
EXPLAINS_S = 1800.0
_LOAD = frozenset({"hot-host", "imbalance"})


def cause_of(
    symptom: str, hosts: tuple[str, ...], incidents: Iterable[OpenIncident], *, now: datetime
) -> OpenIncident | None:
    """The open incident that explains this symptom, or None: it stands for itself."""
    named = frozenset(hosts)
    for incident in incidents:
        recent = now - incident.opened_at <= timedelta(seconds=EXPLAINS_S)
        match incident.symptom:
            case "failed-host" if symptom in _LOAD and (recent or named & frozenset(incident.hosts)):
                return incident
            case "hot-host" if symptom == "imbalance" and named & frozenset(incident.hosts):
                return incident
            case _:
                pass
    return None


def explained_by(failed: OpenIncident, incidents: Iterable[OpenIncident]) -> tuple[OpenIncident, ...]:
    """Open incidents about the load of hosts that turn out to have failed."""
    named = frozenset(failed.hosts)
    return tuple(
        one for one in incidents if one.symptom in ("hot-host", "imbalance", "returned-host") and named & {*one.hosts}
    )


def incident_of(signal: Signal, incidents: Mapping[str, OpenIncident]) -> OpenIncident | None:
    """The open incident under which this signal belongs."""
    found = None
    for incident in incidents.values():
        if signal.host in incident.hosts or (signal.server is not None and signal.server in incident.servers):
            if _is_evidence(signal, incident) or incident.symptom == "failed-host":
                return incident
            found = found or incident
    return found


def field_for(signal: Signal, incident: OpenIncident) -> str:
    """Where a signal is listed: as evidence of the same symptom, or as something that this explains."""
    return "evidence" if _is_evidence(signal, incident) else "explains"


def _is_evidence(signal: Signal, incident: OpenIncident) -> bool:
    if incident.symptom == "failed-host":
        return signal.kind == HOST_DOWN and signal.host in incident.hosts
    return signal.kind == incident.symptom and signal.host in incident.hosts

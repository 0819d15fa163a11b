"""A host that has failed and of which no incident tells yet; pure."""

from restow.policy import Symptom as SymptomName
from restow_detector.health import NOTHING_HEARD
from restow_detector.memory import Health
from restow_detector.symptoms.base import FaultClass, Happened, RemediationClass, View


class FailedHost:
    name: SymptomName = "failed-host"
    fault_class: FaultClass = "hardware"
    remediation_class: RemediationClass = "reactive"

    def happened(self, view: View) -> Happened | None:
        """Hosts that are seen to have failed at one look are one incident: likely one cause, surely one plan."""
        new = sorted(
            host
            for host, known in view.health.items()
            if known.health is Health.FAILED and known.incident is None and host not in view.silenced
        )
        if not new:
            return None
        first = min(view.health[host].first_evidence_at or view.now for host in new)
        return Happened(
            hosts=tuple(new),
            first_evidence_at=first,
            evidence=tuple(f"{host}: {text}" for host in new for text in view.evidence.get(host, NOTHING_HEARD).text()),
        )

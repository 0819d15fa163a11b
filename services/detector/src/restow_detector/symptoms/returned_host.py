"""A host that had failed and is well again; pure."""

from restow.policy import Symptom as SymptomName
from restow_detector.health import NOTHING_HEARD
from restow_detector.memory import Health
from restow_detector.symptoms.base import FaultClass, Happened, RemediationClass, View


class ReturnedHost:
    name: SymptomName = "returned-host"
    fault_class: FaultClass = "hardware"
    remediation_class: RemediationClass = "proactive"

    def happened(self, view: View) -> Happened | None:
        back = sorted(
            host
            for host, known in view.before.items()
            if known.health is Health.RETURNING and host in view.cloud.host_by_name and host not in view.health
        )
        if not back:
            return None
        return Happened(
            hosts=tuple(back),
            first_evidence_at=min(view.before[host].since for host in back),
            evidence=tuple(
                f"{host}: {text}" for host in back for text in view.evidence.get(host, NOTHING_HEARD).text()
            ),
        )

"""The detector's metrics, in Prometheus form."""

from collections.abc import Iterable
from datetime import datetime
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from restow.messages.events import IncidentOutcome
from restow_detector.memory import Verdict
from restow_detector.symptoms import SYMPTOMS

OPENED = Counter("restow_incidents_opened_total", "Incidents opened.", ["domain", "symptom"])
CLOSED = Counter("restow_incidents_closed_total", "Incidents closed.", ["domain", "symptom", "outcome"])
NOTICED = Histogram(
    "restow_incident_notice_seconds", "From the first evidence to the incident.", ["symptom"],
    buckets=(1, 5, 10, 15, 30, 45, 60, 90, 120, 300, 600, 1800),
)  # fmt: skip
BLIND = Gauge("restow_cloud_unreachable", "1 while the cloud of this domain does not answer.", ["domain"])
LOOKED_AT = Gauge("restow_looked_at_timestamp_seconds", "When this domain was last looked at and judged.", ["domain"])


def start_at_zero(domains: Iterable[str]) -> None:
    """What is counted is there before it happens: a first occurrence is then seen to be one."""
    for symptom in SYMPTOMS:
        NOTICED.labels(symptom.name)
        for domain in domains:
            OPENED.labels(domain, symptom.name)
            for outcome in get_args(IncidentOutcome):
                CLOSED.labels(domain, symptom.name, outcome)


def looked(domain: str, *, at: datetime, blind: bool) -> None:
    """After a look that was judged, also one that the cloud did not answer."""
    BLIND.labels(domain).set(blind)
    LOOKED_AT.labels(domain).set(at.timestamp())


def let_go(domain: str) -> None:
    """Another process looks at it now, or none: the last word of this one would stay for ever."""
    for gauge in (BLIND, LOOKED_AT):
        gauge.remove(domain)


def count(domain: str, verdict: Verdict) -> None:
    """After the commit: what did not happen is not counted."""
    for event in verdict.events:
        if event.type == "restow.incident.opened":
            OPENED.labels(domain, str(event.data["symptom"])).inc()
            incident = verdict.memory.incidents.get(event.subject)
            if incident is not None:
                waited = incident.opened_at - incident.first_evidence_at
                NOTICED.labels(incident.symptom).observe(waited.total_seconds())
    for closed in verdict.closed:
        CLOSED.labels(domain, closed.incident.symptom, closed.outcome).inc()

"""The detector's metrics, in Prometheus form."""

from prometheus_client import Counter, Gauge, Histogram

from restow_detector.memory import Verdict

OPENED = Counter("restow_incidents_opened_total", "Incidents opened.", ["domain", "symptom"])
CLOSED = Counter("restow_incidents_closed_total", "Incidents closed.", ["domain", "symptom", "outcome"])
NOTICED = Histogram(
    "restow_incident_notice_seconds", "From the first evidence to the incident.", ["symptom"],
    buckets=(1, 5, 10, 15, 30, 45, 60, 90, 120, 300, 600, 1800),
)  # fmt: skip
BLIND = Gauge("restow_cloud_unreachable", "1 while the cloud of this domain does not answer.", ["domain"])


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

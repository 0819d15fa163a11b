"""Telemetry in: what other systems say of hosts, kept as `restow.signal`."""

from datetime import UTC

from fastapi import APIRouter, Request, Response

from restow.cloud.model import Cloud
from restow.ids import id_of_effect
from restow.messages.events import Signal
from restow_api.access import Door, GuardedRoute
from restow_api.http import answer, problems, read_body
from restow_api.models import Alert, Alerts, SignalEvent, SignalsRead
from restow_api.openapi import body
from restow_api.routes.common import asked

router = APIRouter(route_class=GuardedRoute, tags=["signals"])

HOST_LABELS = ("host", "hypervisor", "instance", "hostname")
CLOUD_EVENT = "application/cloudevents+json"


@router.post(
    "/v1/signals/alertmanager", status_code=202, response_model=SignalsRead, responses=problems(422),
    openapi_extra=body("Alerts"),
)  # fmt: skip
async def alertmanager(request: Request, front: Door) -> Response:
    """Alertmanager's webhook, version 4. The host is in the label host, hypervisor, instance or hostname."""
    alerts = await read_body(request, Alerts, what="alerts")
    clouds = await front.clouds.read_all()
    found, ignored = [], []
    for index, alert in enumerate(alerts.alerts):
        domain, host = host_of_labels(alert.labels, clouds)
        if domain is None:
            tried = ", ".join(f"{label}={alert.labels[label]!r}" for label in HOST_LABELS if label in alert.labels)
            ignored.append(f"alerts.{index}: no host of ours in its labels ({tried or 'none of ' + str(HOST_LABELS)})")
            continue
        found.append((signal_id(alert), domain, signal_of(alert, host)))
    accepted, duplicates = await front.signals(asked(request), found)
    return answer({"accepted": accepted, "duplicates": duplicates, "ignored": ignored}, status=202)


@router.post(
    "/v1/signals/cloudevents", status_code=202, response_model=SignalsRead, responses=problems(422),
    openapi_extra=body("SignalEvent", CLOUD_EVENT, "application/json"),
)  # fmt: skip
async def cloudevents(request: Request, front: Door) -> Response:
    """A CloudEvent in structured mode whose data is a signal."""
    event = await read_body(request, SignalEvent, what="event", types=(CLOUD_EVENT, "application/json"))
    data, clouds = event.data, await front.clouds.read_all()
    named = data.host or (None if data.server else event.subject)
    domain, host = host_of_labels({"host": named} if named else {}, clouds)
    if domain is None and data.server is not None:
        domain = next((cloud.domain for cloud in clouds if data.server in cloud.server_by_id), None)
    if domain is None:
        why = f"neither host {named!r} nor server {data.server!r} is ours"
        return answer({"accepted": 0, "duplicates": 0, "ignored": [why]}, status=202)
    observed_at = data.observed_at or event.time or front.clock.now()
    signal = Signal(
        source=data.source or event.source, kind=data.kind or event.type, host=host, server=data.server,
        firing=data.firing, severity=data.severity, text=data.text,
        observed_at=observed_at if observed_at.tzinfo else observed_at.replace(tzinfo=UTC), labels=data.labels,
    )  # fmt: skip
    found = [(id_of_effect(f"{event.source}/{event.id}", "cloudevent"), domain, signal)]
    accepted, duplicates = await front.signals(asked(request), found)
    return answer({"accepted": accepted, "duplicates": duplicates, "ignored": []}, status=202)


def signal_id(alert: Alert) -> str:
    """The same alert in the same state is one signal, however often it is sent."""
    cause = alert.fingerprint or repr(sorted(alert.labels.items()))
    return id_of_effect(f"{cause}/{alert.starts_at.isoformat()}/{alert.status}", "alertmanager")


def signal_of(alert: Alert, host: str | None) -> Signal:
    firing = alert.status == "firing"
    at = alert.starts_at if firing or alert.ends_at is None else alert.ends_at
    return Signal(
        source="alertmanager",
        kind=alert.labels.get("restow_kind") or alert.labels.get("alertname") or "alert",
        host=host,
        firing=firing,
        severity=alert.labels.get("severity", "warning"),
        text=alert.annotations.get("summary") or alert.annotations.get("description") or "",
        observed_at=at if at.tzinfo else at.replace(tzinfo=UTC),
        labels=alert.labels,
    )


def host_of_labels(labels: dict[str, str], clouds: tuple[Cloud, ...]) -> tuple[str | None, str | None]:
    """Domain and host that the labels name: exactly, or by the part before the first dot if that is unique."""
    for label in HOST_LABELS:
        if not labels.get(label):
            continue
        name = _without_port(labels[label]) if label == "instance" else labels[label]
        for cloud in clouds:
            if name in cloud.host_by_name:
                return cloud.domain, name
        short = name.partition(".")[0]
        alike = [(cloud.domain, host.name) for cloud in clouds for host in cloud.hosts if _short(host.name) == short]
        if len(alike) == 1:
            return alike[0]
    return None, None


def _short(name: str) -> str:
    return name.partition(".")[0]


def _without_port(instance: str) -> str:
    if instance.startswith("["):
        return instance[1:].partition("]")[0]
    host, colon, port = instance.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else instance

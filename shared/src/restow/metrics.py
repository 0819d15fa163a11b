"""The metrics that every service has, in Prometheus form. Units are in the names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import REGISTRY

HANDLED = Counter(
    "restow_events_handled_total", "Events that a consumer group has dealt with.", ["group", "type", "result"]
)
DEAD_LETTERS = Counter("restow_dead_letters_total", "Events set aside; each wants a person.", ["group"])
RETRIES = Counter("restow_event_retries_total", "Failed attempts that are tried again.", ["group"])
HANDLER_SECONDS = Histogram(
    "restow_handler_seconds", "From delivery of an event to its effect, retries included.", ["group", "type"],
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)  # fmt: skip
LAG = Gauge("restow_consumer_lag_events", "Events in the log that a consumer group has not dealt with.",
            ["group", "topic"])  # fmt: skip
SERVICE = Gauge("restow_service_info", "1 for each service that this process runs.", ["service", "version"])
BROKER_AWAY = Gauge("restow_broker_away_seconds", "For how long the broker has not answered this process.")
RELAYED = Counter("restow_relayed_events_total", "Events that the broker has acknowledged.", ["topic"])
TEXT = "text/plain; version=0.0.4; charset=utf-8"


def start_at_zero(group: str) -> None:
    """What is counted for a consumer group is there before it happens: a first occurrence is then seen to be one."""
    for counter in (DEAD_LETTERS, RETRIES):
        counter.labels(group)


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """All metrics of this process in Prometheus' text format; its media type is TEXT."""
    return generate_latest(registry)

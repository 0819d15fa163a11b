"""The metrics that every service has, in Prometheus form. Units are in the names."""

from prometheus_client import Counter

HANDLED = Counter(
    "restow_events_handled_total", "Events that a consumer group has dealt with.", ["group", "type", "result"]
)
DEAD_LETTERS = Counter("restow_dead_letters_total", "Events set aside; each wants a person.", ["group"])

"""What the detector tells Prometheus: counters from the start, gauges of the domains it looks after and no others."""

from datetime import UTC, datetime

from prometheus_client import REGISTRY

from restow.clock import SystemClock
from restow.database.engine import Database
from restow.runtime.blocking import InPlaceBlocking
from restow.runtime.service import Context
from restow_detector import metrics
from restow_detector.service import build
from support.front_door import StillClouds, StillPort, small_cloud

DOMAIN = "of-the-metrics"


def value(name, **labels):
    return REGISTRY.get_sample_value(name, {"domain": DOMAIN, **labels})


def test_incidents_are_counted_from_zero(tmp_path):
    clouds = StillClouds((StillPort(small_cloud(DOMAIN)),))
    build(
        Context(SystemClock(), Database(f"sqlite:///{tmp_path}/t.db"), clouds, InPlaceBlocking(), "here", lambda: "id")
    )
    assert value("restow_incidents_opened_total", symptom="failed-host") == 0
    assert value("restow_incidents_closed_total", symptom="failed-host", outcome="needs-a-person") == 0


def test_a_domain_that_is_let_go_is_told_of_no_more():
    metrics.looked(DOMAIN, at=datetime(2026, 1, 1, tzinfo=UTC), blind=True)
    assert value("restow_cloud_unreachable") == 1
    assert value("restow_looked_at_timestamp_seconds") == 1767225600
    metrics.let_go(DOMAIN)
    metrics.let_go(DOMAIN)
    assert value("restow_cloud_unreachable") is None
    assert value("restow_looked_at_timestamp_seconds") is None

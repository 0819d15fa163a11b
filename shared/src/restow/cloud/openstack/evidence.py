"""Words about hosts: Nova's services, the operator's probes, board controllers of hosts that look dead."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog

from restow.cloud.model import Power
from restow.cloud.openstack.controllers import Word
from restow.cloud.openstack.migrations import time_of
from restow.cloud.openstack.power import PowerDriver
from restow.cloud.openstack.power.base import run
from restow.cloud.openstack.settings import ProbeSettings
from restow.cloud.port import Heartbeat
from restow.errors import RestowError
from restow.ids import HostName

COMPUTE_SERVICE, POWER = "compute-service", "power"
REPORTED_WITHIN = timedelta(seconds=30)  # three reports of Nova's default

log = structlog.get_logger(__name__)


def service_words(services: Sequence[Mapping[str, Any]], *, now: datetime) -> list[Heartbeat]:
    """The compute service's word about every host, pure.

    Ages are counted from the newest report of all, which Nova's own clock wrote: ours may differ. A service that
    was forced down counts as down in Nova whatever it does; here it lives if it reports like the others.
    """
    reported = {one["host"]: time_of(one["updated_at"]) for one in services if one.get("updated_at")}
    newest = max(reported.values(), default=now)
    words = []
    for one in services:
        host, at = HostName(one["host"]), reported.get(one["host"])
        age = None if at is None else newest - at
        reports = age is not None and age <= REPORTED_WITHIN
        alive = reports if one.get("forced_down") else one["state"] == "up"
        words.append(Heartbeat(COMPUTE_SERVICE, host, alive, now - age if alive and age is not None else now))
    return words


def power_words(words: Mapping[HostName, Word]) -> list[Heartbeat]:
    return [Heartbeat(POWER, host, word.power is Power.ON, word.at) for host, word in words.items()]


def state_of(driver: PowerDriver, host: HostName) -> Power:
    try:
        return driver.state(host)
    except RestowError as error:
        log.warning("a board controller tells nothing", host=host, error=str(error))
        return Power.UNKNOWN


def probe_words(probe: ProbeSettings, hosts: frozenset[HostName], *, now: datetime) -> list[Heartbeat]:
    """A probe that fails says nothing about anybody: silence is evidence about the source."""
    try:
        told = orjson.loads(run(probe.command, timeout_s=probe.timeout_s, what=f"probe {probe.source}"))
    except (RestowError, orjson.JSONDecodeError) as error:
        log.warning("a probe tells nothing", source=probe.source, error=str(error))
        return []
    if not isinstance(told, dict):
        log.warning("a probe tells nothing", source=probe.source, error="it printed no JSON object")
        return []
    return [
        Heartbeat(probe.source, HostName(host), alive, now)
        for host, alive in sorted(told.items())
        if host in hosts and isinstance(alive, bool)
    ]

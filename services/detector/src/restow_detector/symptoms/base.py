"""What a symptom is: what it sees of the cloud, and what it says; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from restow.cloud.model import Cloud, Host
from restow.messages.events import Signal
from restow.policy import Policy
from restow.policy import Symptom as SymptomName
from restow_detector.health import Evidence
from restow_detector.memory import Health, HostHealth
from restow_detector.tracking import Level

FaultClass = Literal["hardware", "software", "performance", "network"]
RemediationClass = Literal["reactive", "proactive", "predictive"]


@dataclass(frozen=True, slots=True)
class View:
    """All that a symptom may look at. `before` is the health at the last look, `health` the one now.

    `silenced`: hosts that maintenance explains. `evidence`: the fresh words about each host.
    """

    cloud: Cloud
    policy: Policy
    now: datetime
    before: Mapping[str, HostHealth]
    health: Mapping[str, HostHealth]
    evidence: Mapping[str, Evidence]
    signals: Mapping[str, Signal]
    silenced: Mapping[str, str]

    def is_well(self, host: Host) -> bool:
        """Whether its load may be judged at all."""
        known = self.health.get(host.name)
        return (known is None or known.health is Health.HEALTHY) and host.name not in self.silenced


@dataclass(frozen=True, slots=True)
class Sight:
    """What a measured symptom shows now. `key` tells apart several of one symptom: a host, or the domain.

    `hold_s`, `clear` are in the level already; `hold_s` says how long OVER must last before it is an incident.
    """

    key: str
    level: Level
    hold_s: float
    hosts: tuple[str, ...]
    evidence: str


@dataclass(frozen=True, slots=True)
class NoData:
    """Hosts that this symptom cannot judge, and what is missing."""

    hosts: tuple[str, ...]
    missing: str


class Measured(Protocol):
    """A symptom that a value shows: it counts after a time, and has hysteresis."""

    name: SymptomName
    fault_class: FaultClass
    remediation_class: RemediationClass

    def sights(self, view: View) -> Iterable[Sight | NoData]: ...


@dataclass(frozen=True, slots=True)
class Happened:
    """A change of a host's health that is told as it is; its duration has been waited for already."""

    hosts: tuple[str, ...]
    first_evidence_at: datetime
    evidence: tuple[str, ...]


class Change(Protocol):
    """A symptom that a change of health shows."""

    name: SymptomName
    fault_class: FaultClass
    remediation_class: RemediationClass

    def happened(self, view: View) -> Happened | None: ...


def cpu_share(host: Host) -> float | None:
    """Used share of the physical cores; None where either number is missing."""
    used, cores = host.load.get("cpu_cores"), host.physical.get("cpu_cores")
    return None if used is None or not cores else used / cores

"""A domain under watch without any shell: a cloud, words of its sources, and the detector's memory between looks."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from restow.cloud.model import Cloud
from restow.cloud.port import Heartbeat
from restow.messages.events import CATALOGUE, Event, Signal, decode, first_event
from restow.policy import Policy, PolicyRule, Thresholds
from restow_detector.judge import Seen, judge
from restow_detector.memory import ClosedIncident, Memory, OpenIncident, Verdict
from restow_detector.reactions import react
from restow_detector.sources.heartbeats import NoAnswer
from support.builders import NOON

SOURCES = ("compute-service", "management-network", "storage")
DOMAIN = "region-one"


# Small clouds of tests are nearly empty: that is not what most tests are about.
FULL_ENOUGH = Thresholds(underused=0.0001, underused_clear=0.0001)


def auto(incident: str, goal: str, **other) -> PolicyRule:
    return PolicyRule.model_validate_json(
        PolicyRule(incident=incident, goal=goal, mode="auto", **({"cool_down_s": 0.0} | other)).model_dump_json()
    )


@dataclass
class Watch:
    cloud: Cloud
    policy: Policy = field(
        default_factory=lambda: Policy(rules=(auto("failed-host", "recover"),), thresholds=FULL_ENOUGH)
    )
    now: datetime = NOON
    memory: Memory = field(default_factory=Memory)
    dead: dict[str, set[str]] = field(default_factory=dict)  # host: the sources that call it dead
    silent: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    closed: list[ClosedIncident] = field(default_factory=list)
    writes: int = 0
    _number: int = 0

    def crash(self, *hosts: str) -> None:
        for host in hosts:
            self.dead[host] = set(SOURCES)

    def boot(self, *hosts: str) -> None:
        for host in hosts:
            self.dead.pop(host, None)

    def heartbeats(self) -> list[Heartbeat]:
        return [
            Heartbeat(source, host.name, source not in self.dead.get(host.name, ()), self.now)
            for source in SOURCES
            if source not in self.silent
            for host in self.cloud.hosts
        ]

    def look(self, seconds: float = 0.0, *, every_s: float = 5.0) -> None:
        """Look now, then every `every_s` until so many seconds are over."""
        self._keep(judge(self.memory, Seen(self.cloud, self.heartbeats()), self.policy, domain=DOMAIN, now=self.now))
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=every_s))
            seen = Seen(self.cloud, self.heartbeats())
            self._keep(judge(self.memory, seen, self.policy, domain=DOMAIN, now=self.now))

    def blind(self, seconds: float = 0.0, *, every_s: float = 5.0) -> None:
        end = self.now + timedelta(seconds=seconds)
        while True:
            self._keep(judge(self.memory, NoAnswer("timeout"), self.policy, domain=DOMAIN, now=self.now))
            if self.now >= end:
                return
            self.now += timedelta(seconds=every_s)

    def load(self, **cores: float) -> None:
        self.set_hosts(**{name: {"load": {"cpu_cores": used}} for name, used in cores.items()})

    def set_hosts(self, **changes: dict) -> None:
        hosts = tuple(replace(host, **changes.get(host.name, {})) for host in self.cloud.hosts)
        self.cloud = replace(self.cloud, hosts=hosts, taken_at=self.now)

    def signal(self, kind: str, *, host: str | None = None, server: str | None = None, source: str = "alertmanager",
               firing: bool = True) -> None:  # fmt: skip
        said = Signal(source=source, kind=kind, host=host, server=server, firing=firing, observed_at=self.now)
        self.hear("restow.signal", said)

    def hear(self, event_type: str, message, *, correlation: str | None = None) -> None:
        self._number += 1
        event = first_event(
            event_type, message, id=f"e{self._number}", source="test", domain=DOMAIN, subject="x", time=self.now,
            correlation=correlation or f"e{self._number}",
        )  # fmt: skip
        self._keep(react(self.memory, event, decode(event), domain=DOMAIN, now=self.now))

    def _keep(self, verdict: Verdict) -> None:
        self.writes += verdict.memory is not self.memory
        self.memory = verdict.memory
        for event in verdict.events:
            assert event.type in CATALOGUE
            decode(event)
        self.events += verdict.events
        self.closed += verdict.closed

    def of(self, event_type: str) -> list[dict]:
        return [dict(event.data) for event in self.events if event.type == event_type]

    @property
    def opened(self) -> list[dict]:
        return self.of("restow.incident.opened")

    @property
    def ended(self) -> list[dict]:
        return self.of("restow.incident.closed")

    @property
    def requests(self) -> list[dict]:
        return self.of("restow.command.plan.request")

    def refused(self, guard: str) -> list[dict]:
        return [one for one in self.of("restow.refusal") if one["guard"] == guard]

    @property
    def incident(self) -> OpenIncident:
        (only,) = self.memory.incidents.values()
        return only


__all__ = ["DOMAIN", "FULL_ENOUGH", "SOURCES", "Watch", "auto"]

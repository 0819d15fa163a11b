"""A host whose processors are nearly used up, or of which an outside source says so; pure."""

from collections.abc import Iterable

from restow.policy import Symptom as SymptomName
from restow_detector.symptoms.base import FaultClass, NoData, RemediationClass, Sight, View, cpu_share
from restow_detector.tracking import Level


class HotHost:
    name: SymptomName = "hot-host"
    fault_class: FaultClass = "performance"
    remediation_class: RemediationClass = "proactive"

    def sights(self, view: View) -> Iterable[Sight | NoData]:
        limits = view.policy.thresholds
        reported = {
            signal.host: signal.source for signal in view.signals.values() if signal.kind == self.name and signal.host
        }
        unknown = []
        for host in view.cloud.hosts:
            if host.name in view.silenced:
                continue
            if not view.is_well(host):  # what its load is says little now
                yield Sight(host.name, Level.UNKNOWN, limits.hot_for_s, (host.name,), "")
                continue
            if host.name in reported:  # the source has waited for as long as it thinks right
                said = f"{reported[host.name]} says {host.name} is hot"
                yield Sight(host.name, Level.OVER, 0.0, (host.name,), said)
                continue
            share = cpu_share(host)
            if share is None:
                unknown.append(host.name)
                level, said = Level.UNKNOWN, ""
            elif share >= limits.hot:
                level, said = Level.OVER, f"{host.name} uses {share:.0%} of its cores (limit {limits.hot:.0%})"
            elif share >= limits.hot_clear:
                level, said = Level.BETWEEN, ""
            else:
                level, said = Level.QUIET, ""
            yield Sight(host.name, level, limits.hot_for_s, (host.name,), said)
        yield NoData(tuple(unknown), "cpu_cores of load or physical")

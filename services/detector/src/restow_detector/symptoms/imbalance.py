"""Hosts of one domain that are unevenly loaded; pure."""

from collections.abc import Iterable

from restow.policy import Symptom as SymptomName
from restow_detector.symptoms.base import FaultClass, NoData, RemediationClass, Sight, View, cpu_share
from restow_detector.tracking import Level


class Imbalance:
    name: SymptomName = "imbalance"
    fault_class: FaultClass = "performance"
    remediation_class: RemediationClass = "proactive"

    def sights(self, view: View) -> Iterable[Sight | NoData]:
        limits = view.policy.thresholds
        shares = [
            (share, host.name)
            for host in view.cloud.hosts
            if host.takes_servers and view.is_well(host) and (share := cpu_share(host)) is not None
        ]
        if len(shares) < 2:
            yield Sight("domain", Level.UNKNOWN, limits.imbalance_for_s, (), "")
            return
        (high, busiest), (low, idlest) = max(shares), min(shares)
        apart = high - low
        if apart >= limits.imbalance:
            level = Level.OVER
        else:
            level = Level.BETWEEN if apart >= limits.imbalance_clear else Level.QUIET
        said = f"{busiest} uses {high:.0%} of its cores and {idlest} {low:.0%} (limit {limits.imbalance:.0%} apart)"
        yield Sight("domain", level, limits.imbalance_for_s, (busiest,), said)

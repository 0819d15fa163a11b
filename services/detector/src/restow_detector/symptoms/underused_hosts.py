"""More hosts in use than the servers' claims need; pure."""

from collections.abc import Iterable

from restow.policy import Symptom as SymptomName
from restow_detector.symptoms.base import FaultClass, NoData, RemediationClass, Sight, View
from restow_detector.tracking import Level


class UnderusedHosts:
    name: SymptomName = "underused-hosts"
    fault_class: FaultClass = "performance"
    remediation_class: RemediationClass = "proactive"

    def sights(self, view: View) -> Iterable[Sight | NoData]:
        """The scarcest resource decides: hosts full of memory are not underused because their cores idle."""
        limits, cloud = view.policy.thresholds, view.cloud
        hosts = [host for host in cloud.hosts if host.takes_servers and view.is_well(host)]
        names = frozenset(host.name for host in hosts)
        placed = [server.demand for server in cloud.servers if server.host in names]
        shares = {}
        for resource in cloud.resources:
            there_is = sum(host.capacity.get(resource, 0) for host in hosts)
            if there_is > 0:
                shares[resource] = sum(demand.get(resource, 0) for demand in placed) / there_is
        if len(hosts) < 2 or not shares:
            yield Sight("domain", Level.UNKNOWN, limits.underused_for_s, (), "")
            return
        resource = max(shares, key=lambda one: (shares[one], one))
        share = shares[resource]
        if share <= limits.underused and placed:
            level = Level.OVER
        else:
            level = Level.BETWEEN if share <= limits.underused_clear and placed else Level.QUIET
        said = f"{share:.0%} of the {resource} of {len(hosts)} hosts is claimed (limit {limits.underused:.0%})"
        yield Sight("domain", level, limits.underused_for_s, (), said)

"""From an incident and the policy to a plan request, or to the reason why there is none; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from restow.messages.request import AnyRequest
from restow.policy import Policy, PolicyRule
from restow_detector import blast_radius
from restow_detector.memory import Health, HostHealth, OpenIncident


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the planner for this. `rule` names the policy rule, for its cool-down."""

    request: AnyRequest
    rule: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not now, and why. `key`: told once as long as it stays the same."""

    guard: str
    why: str
    key: str


def rule_for(incident: OpenIncident, policy: Policy, *, domain: str) -> PolicyRule | None:
    """The first rule of the policy that is about this symptom here."""
    for rule in policy.rules:
        scope = rule.scope
        if (
            rule.incident == incident.symptom
            and (not scope.domains or domain in scope.domains)
            and (not scope.zones or (incident.zones and set(incident.zones) <= set(scope.zones)))
            and (not scope.hosts or (incident.hosts and set(incident.hosts) <= set(scope.hosts)))
        ):
            return rule
    return None


def key_of(rule: PolicyRule) -> str:
    scope = (",".join(part) for part in (rule.scope.domains, rule.scope.zones, rule.scope.hosts))
    return "/".join((rule.incident, rule.goal or "-", *scope))


def decide(
    incident: OpenIncident,
    policy: Policy,
    *,
    domain: str,
    health: Mapping[str, HostHealth],
    others: Iterable[OpenIncident],
    requested_at: Mapping[str, datetime],
    now: datetime,
) -> Ask | Refuse | None:
    """None: no goal is called for, a plan is under way, or a guard that spoke already keeps it held."""
    if incident.held or incident.plan is not None:
        return None
    rule = rule_for(incident, policy, domain=domain)
    if rule is None:
        return Refuse("no-rule", f"no rule of the policy is about {incident.symptom} here", "no-rule")
    if rule.goal is None:
        return None
    hosts = incident.hosts if incident.symptom != "imbalance" else ()
    if incident.symptom == "failed-host":
        hosts = tuple(host for host in hosts if host in health and health[host].health is Health.FAILED)
        if not hosts:
            return None  # it is coming back: wait and see
    request = rule.request(hosts=hosts, domain=domain, reason=incident.why)
    named = f"{rule.goal}{' of ' + ', '.join(hosts) if hosts else ''}"
    if rule.mode == "observe":
        key = f"observe/{key_of(rule)}"
        return Refuse("observe", f"would have requested {named}: the policy only observes", key)
    others = tuple(other for other in others if other.id != incident.id)
    if any(other.held == blast_radius.GUARD for other in others):
        return Refuse(blast_radius.GUARD, f"{named} waits: too much has failed at once in this domain", "blast-radius")
    if rule.goal != "recover" and any(other.symptom == "failed-host" and other.plan for other in others):
        return Refuse("recovery-first", f"{named} waits until the failed host's servers run again", "recovery-first")
    key = key_of(rule)
    last = requested_at.get(key)
    if last is not None and now < (until := last + timedelta(seconds=rule.cool_down_s)):
        why = f"{named} waits until {until.isoformat()}: the last plan of this rule is too recent"
        return Refuse("cool-down", why, f"cool-down/{until.isoformat()}")
    return Ask(request, key)

"""Symptoms that a value shows: tracked over time, told as incidents, listed where another explains them; pure."""

from dataclasses import replace
from datetime import timedelta

from restow.policy import Policy
from restow_detector.correlation import cause_of
from restow_detector.incidents import add_lines, open_incident, refuse
from restow_detector.memory import Draft, Phase, Tracker
from restow_detector.symptoms import MEASURED
from restow_detector.symptoms.base import Measured, NoData, Sight, View
from restow_detector.tracking import Due, Level, after_incident, track


def measure(draft: Draft, view: View) -> None:
    seen = set()
    for symptom in MEASURED:
        for sight in symptom.sights(view):
            match sight:
                case NoData():
                    _say_without_data(draft, symptom, sight)
                case Sight():
                    key = f"{symptom.name}/{sight.key}"
                    seen.add(key)
                    if sight.level is not Level.QUIET or key in draft.trackers:
                        _follow(draft, view, symptom, sight, key)
    for key in [key for key in draft.trackers if key not in seen]:
        del draft.trackers[key]  # its host failed, left, or is in maintenance: there is nothing to measure


def _follow(draft: Draft, view: View, symptom: Measured, sight: Sight, key: str) -> None:
    known = draft.trackers.get(key)
    if known is not None and known.phase is Phase.ACTIVE and known.incident not in draft.incidents:
        known = after_incident(known, now=draft.now)
    after = track(
        known, sight.level, now=draft.now, hold=timedelta(seconds=sight.hold_s),
        cool_down=timedelta(seconds=cool_down_s(view.policy, symptom.name)),
    )  # fmt: skip
    match after:
        case Due(tracker=tracker, since=since):
            draft.trackers[key] = _told(draft, view, symptom, sight, replace(tracker, since=since))
        case None:
            draft.trackers.pop(key, None)
        case Tracker():
            draft.trackers[key] = after


def _told(draft: Draft, view: View, symptom: Measured, sight: Sight, tracker: Tracker) -> Tracker:
    cause = cause_of(symptom.name, sight.hosts, draft.incidents.values(), now=draft.now)
    if cause is not None:
        line = f"{symptom.name} of {', '.join(sight.hosts)}"
        add_lines(draft, cause, field="explains", lines=(line,), why=f"it explains {line}: {sight.evidence}")
        return after_incident(replace(tracker, quiet_until=None), now=draft.now)
    incident = open_incident(
        draft, view.cloud, symptom=symptom.name, hosts=sight.hosts, first_evidence_at=tracker.since,
        evidence=(sight.evidence,), why=f"{sight.evidence}, since {tracker.since.isoformat()}",
        fault_class=symptom.fault_class, remediation_class=symptom.remediation_class,
        with_servers=symptom.name == "hot-host",
    )  # fmt: skip
    return replace(tracker, incident=incident.id)


def _say_without_data(draft: Draft, symptom: Measured, without: NoData) -> None:
    told = draft.without_data.get(symptom.name, ())
    new = tuple(host for host in without.hosts if host not in told)
    if without.hosts:
        draft.without_data[symptom.name] = without.hosts
    else:
        draft.without_data.pop(symptom.name, None)
    if new:
        named = ", ".join(new[:10]) + (f" and {len(new) - 10} more" if len(new) > 10 else "")
        refuse(
            draft, key=f"{symptom.name}/{draft.now.isoformat()}", guard="no-data", what=f"judge {symptom.name}",
            why=f"{without.missing} is not known of {named}: no decision about them", hosts=new,
        )  # fmt: skip


def cool_down_s(policy: Policy, symptom: str) -> float:
    """The longest of the rules about this symptom."""
    return max((rule.cool_down_s for rule in policy.rules if rule.incident == symptom), default=600.0)

"""One look at a domain: from what was seen and remembered to health, incidents and requests; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from restow.cloud.model import Cloud, HostState, Power
from restow.cloud.port import Heartbeat
from restow.policy import Policy
from restow_detector import blast_radius, health, maintenance, tracking
from restow_detector.correlation import explained_by
from restow_detector.decide import Ask, Refuse, decide
from restow_detector.incidents import (
    add_lines,
    ask_for_plan,
    cancel_plan,
    close,
    open_incident,
    refuse,
    tell_of_host,
    update,
)  # fmt: skip
from restow_detector.measure import measure
from restow_detector.memory import Draft, Health, Memory, OpenIncident, Phase, Verdict
from restow_detector.sources import signals
from restow_detector.sources.heartbeats import NoAnswer
from restow_detector.symptoms import FAILED_HOST, RETURNED_HOST
from restow_detector.symptoms.base import View


@dataclass(frozen=True, slots=True)
class Seen:
    """What the cloud has shown at one look."""

    cloud: Cloud
    heartbeats: Sequence[Heartbeat]


def judge(memory: Memory, look: Seen | NoAnswer, policy: Policy, *, domain: str, now: datetime) -> Verdict:
    draft = Draft.of(memory, domain=domain, now=now)
    match look:
        case NoAnswer(why=why):
            _go_blind(draft, why)
        case Seen():
            _judge_seen(draft, look, policy)
    return draft.done()


def gap_max(policy: Policy) -> timedelta:
    """Two looks further apart than this: nobody looked in between, and evidence counts anew."""
    return timedelta(seconds=max(4 * policy.evidence.poll_s, 20.0))


def _go_blind(draft: Draft, why: str) -> None:
    if draft.blind_since is not None:
        return
    draft.blind_since = draft.now  # the timers start anew when it answers again
    refuse(
        draft, key=draft.now.isoformat(), guard="cloud-unreachable", what="no decision in this domain",
        why=f"the cloud does not answer ({why}): we do not know how its hosts are",
    )  # fmt: skip


def _restart_timers(draft: Draft) -> None:
    draft.health = {host: health.after_blindness(known, now=draft.now) for host, known in draft.health.items()}
    kept = ((key, tracking.after_blindness(known, now=draft.now)) for key, known in draft.trackers.items())
    draft.trackers = {key: known for key, known in kept if known is not None}
    draft.looked_at = None


def _judge_seen(draft: Draft, look: Seen, policy: Policy) -> None:
    gap = gap_max(policy)
    if draft.blind_since is not None or (draft.looked_at is not None and draft.now - draft.looked_at > gap):
        draft.blind_since = None
        _restart_timers(draft)
    signals.drop_old(draft.signals, now=draft.now)
    view = _new_health(draft, look, policy)
    _say_what_is_not_believed(draft, view)
    _tell_returned(draft, view)
    _tell_failed(draft, view)
    measure(draft, view)
    _clear(draft, view)
    _remind(draft, policy)
    _ask(draft, policy)
    _note_the_look(draft, gap)


def _new_health(draft: Draft, look: Seen, policy: Policy) -> View:
    cloud, limits = look.cloud, policy.evidence
    known_hosts = cloud.host_by_name
    evidence = health.weigh(
        [*look.heartbeats, *signals.words(draft.signals)],
        now=draft.now,
        silent=timedelta(seconds=limits.source_silent_s),
        forced_down=frozenset(host.name for host in cloud.hosts if host.forced_down),
        suspected_since={
            host: known.first_evidence_at for host, known in draft.health.items() if known.first_evidence_at
        },
    )
    before = draft.health
    draft.health = {}
    for name in sorted({*before, *(host for host, one in evidence.items() if one.dead)}):
        if name not in known_hosts:
            continue  # it left the cloud: there is nothing to heal
        after = health.next_health(
            before.get(name) or health.well(draft.now),
            evidence.get(name, health.NOTHING_HEARD).word(quorum=limits.quorum),
            now=draft.now,
            patience=timedelta(seconds=limits.patience_s),
            returned=timedelta(seconds=limits.returned_s),
        )
        if after.health is not Health.HEALTHY:
            draft.health[name] = after
    for name, off in list(draft.switched_off.items()):
        host = known_hosts.get(name)  # type: ignore[call-overload]
        if host is None or (cloud.taken_at > off.since and host.power is Power.ON and host.state is HostState.UP):
            del draft.switched_off[name]
    return View(
        cloud=cloud,
        policy=policy,
        now=draft.now,
        before=before,
        health=draft.health,
        evidence=evidence,
        signals=draft.signals,
        silenced=maintenance.silenced(cloud, policy, draft.maintenance, draft.switched_off, now=draft.now),
    )


def _say_what_is_not_believed(draft: Draft, view: View) -> None:
    """A host that looks bad and is not healed: why, once for each time that it looks bad."""
    patience = timedelta(seconds=view.policy.evidence.patience_s)
    for host, known in list(draft.health.items()):
        if known.health is Health.SUSPECT and known.agreed_since is None and draft.now - known.since >= patience:
            guard, said = "quorum", "; ".join(view.evidence.get(host, health.NOTHING_HEARD).text()) or "no fresh word"
            why = f"{said}: not enough independent evidence that {host} is dead"
        elif known.health is Health.FAILED and known.incident is None and host in view.silenced:
            guard, why = maintenance.GUARD, f"{host} looks dead, and that is explained: {view.silenced[host]}"
        else:
            continue
        if guard not in known.told:
            draft.health[host] = replace(known, told=(*known.told, guard))
            refuse(draft, key=f"{host}/{known.since.isoformat()}", guard=guard, what=f"recover {host}", why=why,
                   hosts=(host,))  # fmt: skip


def _tell_returned(draft: Draft, view: View) -> None:
    back = RETURNED_HOST.happened(view)
    if back is None:
        return
    for host in back.hosts:
        known = view.before[host]
        first = (known.failed_at or known.since).isoformat()
        tell_of_host(draft, "restow.host.returned", host, why="all fresh evidence says that it is well again",
                     key=f"{first}/{draft.now.isoformat()}", incident=known.incident)  # fmt: skip
    barred = tuple(host for host in back.hosts if host not in view.silenced and _why_barred(view.cloud, host))
    if barred:
        reasons = "; ".join(f"{host} {_why_barred(view.cloud, host)}" for host in barred)
        open_incident(
            draft, view.cloud, symptom=RETURNED_HOST.name, hosts=barred, first_evidence_at=back.first_evidence_at,
            evidence=back.evidence, with_servers=False, fault_class=RETURNED_HOST.fault_class,
            remediation_class=RETURNED_HOST.remediation_class,
            why=f"{', '.join(barred)} is back but takes no servers ({reasons}): find out why it failed, then enable it",
        )  # fmt: skip


def _why_barred(cloud: Cloud, name: str) -> str:
    host = next(host for host in cloud.hosts if host.name == name)
    reasons = ("is forced down" if host.forced_down else "", "" if host.enabled else "is disabled")
    return " and ".join(reason for reason in reasons if reason)


def _tell_failed(draft: Draft, view: View) -> None:
    new = FAILED_HOST.happened(view)
    if new is None:
        return
    limit, total = view.policy.blast_radius, len(view.cloud.hosts)
    judged = {host: known for host, known in draft.health.items() if host not in view.silenced}
    held = tuple(one for one in draft.incidents.values() if one.held == blast_radius.GUARD)
    window = timedelta(seconds=limit.window_s)
    failing = blast_radius.hosts_failing(judged, held, now=draft.now, window=window)
    refused = blast_radius.refusal(failing, limit, hosts=total, health=judged, now=draft.now)
    first = held[0] if held and refused else None
    if first is not None:
        hosts = tuple(sorted({*first.hosts, *new.hosts}))
        named = frozenset(hosts)
        servers = tuple(server.id for server in view.cloud.servers if server.host in named)
        update(draft, first, why=f"{', '.join(new.hosts)} failed too", hosts=hosts, servers=servers,
               evidence=(*first.evidence, *new.evidence))  # fmt: skip
        incident = draft.incidents[first.id]
    else:
        why = refused or f"{', '.join(new.hosts)} failed: independent sources agree and nothing says otherwise"
        named = frozenset(new.hosts)
        on_them = [server.id for server in view.cloud.servers if server.host in named]
        incident = open_incident(
            draft, view.cloud, symptom=FAILED_HOST.name, hosts=new.hosts, first_evidence_at=new.first_evidence_at,
            evidence=new.evidence, with_servers=True, fault_class="network" if refused else FAILED_HOST.fault_class,
            remediation_class=FAILED_HOST.remediation_class, why=why, held=blast_radius.GUARD if refused else "",
            explains=signals.concerning(draft.signals, hosts=new.hosts, servers=on_them),
        )  # fmt: skip
    for host in new.hosts:
        draft.health[host] = replace(draft.health[host], incident=incident.id)
    if refused:
        _hold_all(draft, incident, failing, refused)
    _take_in(draft, incident)


def _hold_all(draft: Draft, incident: OpenIncident, failing: tuple[str, ...], why: str) -> None:
    """Nobody heals: told once with each group of hosts, and plans for hosts of the same event are taken back."""
    refuse(draft, key=",".join(failing), guard=blast_radius.GUARD, what=f"recover {', '.join(incident.hosts)}", why=why,
           hosts=failing, incident=incident)  # fmt: skip
    for other in list(draft.incidents.values()):
        if other.symptom == FAILED_HOST.name and not other.held and set(other.hosts) & set(failing):
            if other.plan is not None:
                cancel_plan(draft, other, why=why)
            update(draft, other, why=why, held=blast_radius.GUARD)


def _take_in(draft: Draft, failed: OpenIncident) -> None:
    """What the failed host accounts for is listed under it and ends as an incident of its own."""
    for other in explained_by(failed, tuple(draft.incidents.values())):
        if other.plan_stage == "running":
            continue  # its plan's end closes it
        line = f"{other.symptom} of {', '.join(other.hosts)} (incident {other.id})"
        current = draft.incidents[failed.id]
        add_lines(draft, current, field="explains", lines=(line,), why=f"it explains {line}")
        close(draft, other, "cleared", f"explained: the host failed, see incident {failed.id}")


def _clear(draft: Draft, view: View) -> None:
    """Incidents whose reason has gone, unless a plan is at work on them: its end will close them."""
    measured = {
        known.incident
        for known in draft.trackers.values()
        if known.phase is Phase.ACTIVE and known.incident is not None
    }
    for incident in list(draft.incidents.values()):
        if incident.plan_stage == "running":
            continue
        match incident.symptom:
            case "failed-host":
                down = [host for host in incident.hosts if host in draft.health]
                if not down:
                    close(
                        draft, incident, "cleared", f"{', '.join(incident.hosts)}: well again before anything was done"
                    )
                elif incident.plan is not None and not any(draft.health[one].health is Health.FAILED for one in down):
                    _withdraw(draft, incident, why=f"{', '.join(down)} seems to come back")
            case "returned-host":
                _clear_returned(draft, view, incident)
            case _ if incident.id not in measured:
                quiet = [host for host in incident.hosts if host in view.silenced]
                why = f"explained: {view.silenced[quiet[0]]}" if quiet else "it is no longer so"
                close(draft, incident, "cleared", f"{incident.symptom}: {why}")
            case _:
                pass


def _withdraw(draft: Draft, incident: OpenIncident, *, why: str) -> None:
    """Ask once for the end of a plan that has not begun; it is gone when the log says so."""
    key = f"withdrawn/{incident.plan}"
    if key not in incident.refused:
        cancel_plan(draft, incident, why=why)
        draft.change(incident, refused=(*incident.refused, key))


def _clear_returned(draft: Draft, view: View, incident: OpenIncident) -> None:
    here = view.cloud.host_by_name
    again = [host for host in incident.hosts if host in draft.health and draft.health[host].health is Health.FAILED]
    if again:
        close(draft, incident, "cleared", f"{', '.join(again)} failed again")
    elif all(host not in here or not _why_barred(view.cloud, host) for host in incident.hosts):
        close(draft, incident, "cleared", f"{', '.join(incident.hosts)} takes servers again")
    elif all(host in view.silenced for host in incident.hosts):
        close(draft, incident, "cleared", f"{', '.join(incident.hosts)}: {view.silenced[incident.hosts[0]]}")


def _remind(draft: Draft, policy: Policy) -> None:
    window = timedelta(seconds=policy.blast_radius.window_s)
    for incident in list(draft.incidents.values()):
        if incident.held == blast_radius.GUARD and not incident.reminded and draft.now - incident.opened_at > window:
            down = [host for host in incident.hosts if host in draft.health]
            why = f"{len(down)} of {len(incident.hosts)} hosts are still down, nothing was done: a person must decide"
            update(draft, incident, why=why, reminded=True)


def _ask(draft: Draft, policy: Policy) -> None:
    for incident in list(draft.incidents.values()):
        answer = decide(
            incident, policy, domain=draft.domain, health=draft.health, others=tuple(draft.incidents.values()),
            requested_at=draft.requested_at, now=draft.now,
        )  # fmt: skip
        match answer:
            case Ask():
                ask_for_plan(draft, incident, answer)
            case Refuse() if answer.key not in incident.refused:
                draft.change(incident, refused=(*incident.refused, answer.key))
                refuse(draft, key=answer.key, guard=answer.guard, what=f"act on {incident.symptom}", why=answer.why,
                       hosts=incident.hosts, incident=incident)  # fmt: skip
            case _:
                pass


def _note_the_look(draft: Draft, gap: timedelta) -> None:
    """Only while a timer runs, and not at every look: a restart must see how long nobody looked."""
    if not _timers_run(draft):
        draft.looked_at = None
    elif draft.looked_at is None or draft.now - draft.looked_at >= gap / 2:
        draft.looked_at = draft.now


def _timers_run(draft: Draft) -> bool:
    waiting: Iterable[bool] = (known.health in (Health.SUSPECT, Health.RETURNING) for known in draft.health.values())
    return any(waiting) or any(known.phase is Phase.RISING for known in draft.trackers.values())

"""Rows and values as the JSON that people read; pure."""

import json
from datetime import datetime
from typing import Any

from restow.cloud.model import Cloud, Host, Server
from restow.cloud.snapshot import host_document, server_document
from restow.messages.plan import Plan
from restow_api.folding import ENDED, possible_verbs
from restow_api.store import ApiKeyRow, AuditRow, IncidentViewRow, PlanViewRow, StepViewRow


def when(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def plan_summary(view: PlanViewRow) -> dict[str, Any]:
    """A stored plan without the plan's document."""
    return {
        "id": view.id, "state": view.state, "domain": view.domain, "goal": view.goal, "mode": view.mode,
        "request": json.loads(view.request), "changes": None if view.changes is None else json.loads(view.changes),
        "incident": view.incident, "correlation": view.correlation, "replaces": view.replaces,
        "replaced_by": view.replaced_by, "undone_by": view.undone_by, "attempt": view.attempt,
        "created_at": when(view.created_at), "created_by": view.created_by, "updated_at": when(view.updated_at),
        "outcome": view.outcome, "steps": view.steps, "blockers": view.blockers, "why": view.why,
        "approved_by": view.approved_by, "approved_at": when(view.approved_at), "started_at": when(view.started_at),
        "ended_at": when(view.ended_at), "counts": json.loads(view.counts), "document": view.document,
        "snapshot": view.snapshot, "possible": list(possible_verbs(view)),
    }  # fmt: skip


def plan_read(view: PlanViewRow, document: bytes | None) -> dict[str, Any]:
    """A stored plan with the plan's document, null until there is one."""
    return {**plan_summary(view), "plan": None if document is None else json.loads(document)}


def no_document(view: PlanViewRow) -> str:
    """Why there is nothing to draw."""
    if view.document is not None:
        return f"plan {view.id} is {view.state}: its document has been forgotten"
    if view.state in ENDED:
        return f"plan {view.id} is {view.state}, and no plan was made" + (f": {view.why}" if view.why else "")
    return f"plan {view.id} is {view.state}: it has no document yet"


def steps_read(plan: Plan, went: dict[str, StepViewRow]) -> list[dict[str, Any]]:
    """The steps in the plan's order, each with how it went."""
    return [_step(step.dump(), went.get(step.id)) for step in plan.steps]


def _step(step: dict[str, Any], went: StepViewRow | None) -> dict[str, Any]:
    if went is None:
        return {**step, "state": "waiting", "started_at": None, "ended_at": None, "seconds": None, "outcome": "",
                "request_ids": []}  # fmt: skip
    return {
        **step, "state": went.state, "started_at": when(went.started_at), "ended_at": when(went.ended_at),
        "seconds": went.seconds, "outcome": went.why, "request_ids": json.loads(went.request_ids),
    }  # fmt: skip


def incident_read(view: IncidentViewRow) -> dict[str, Any]:
    body = json.loads(view.body)
    kept = ("hosts", "servers", "evidence", "explains", "fault_class", "remediation_class", "why", "plan")
    return {
        "id": view.id, "state": view.state, "domain": view.domain, "symptom": view.symptom,
        **{name: body.get(name) for name in kept},
        "outcome": view.outcome, "opened_at": when(view.opened_at), "updated_at": when(view.updated_at),
        "closed_at": when(view.closed_at), "acknowledged_at": when(view.acknowledged_at),
        "acknowledged_by": view.acknowledged_by,
    }  # fmt: skip


def host_read(cloud: Cloud, host: Host) -> dict[str, Any]:
    """A host as in restow.cloud/1, with what is claimed on it and how many servers it carries."""
    return {
        **host_document(host), "forced_down": host.forced_down, "domain": cloud.domain, "used": cloud.used(host.name),
        "servers": len(cloud.servers_on[host.name]), "takes_servers": host.takes_servers,
    }  # fmt: skip


def server_read(cloud: Cloud, server: Server) -> dict[str, Any]:
    """A server as in restow.cloud/1, with its domain and groups."""
    groups = [group.id for group in cloud.groups if server.id in group.members]
    return {**server_document(server), "locked": server.locked, "task": server.task, "domain": cloud.domain,
            "groups": groups}  # fmt: skip


def audit_read(row: AuditRow) -> dict[str, Any]:
    return {
        "id": row.seq, "at": when(row.at), "by": row.by, "role": row.role, "action": row.action,
        "subject": row.subject, "domain": row.domain, "result": row.result, "why": row.why, "event": row.event,
    }  # fmt: skip


def key_read(row: ApiKeyRow) -> dict[str, Any]:
    return {
        "id": row.id, "name": row.name, "role": row.role, "created_at": when(row.created_at),
        "created_by": row.created_by, "revoked_at": when(row.revoked_at),
    }  # fmt: skip

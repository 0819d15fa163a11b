"""The console's pages and forms. Each form does what the endpoint of the same meaning does."""

import json
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from restow.cloud.port import FAULTS
from restow.errors import BadInputError, NotFoundError, RestowError
from restow.messages.request import parse_request
from restow.policy import parse_policy
from restow.render import gap_in_words, to_svg
from restow_api import keys, reading
from restow_api.access import (
    SESSION_COOKIE,
    Door,
    GuardedRoute,
    allowed_to_see,
    form_of,
    same_origin,
)
from restow_api.console.pages import host_card, page
from restow_api.eventlog import Filter, cloud_event, read_log
from restow_api.front import Front
from restow_api.paging import cursor_of, page_in_memory, page_of, read_cursor
from restow_api.policies import policy_in_force, version_of
from restow_api.present import (
    audit_read,
    host_read,
    incident_read,
    no_document,
    plan_read,
    plan_summary,
    server_read,
    steps_read,
)
from restow_api.problems import ProblemError, as_problem
from restow_api.routes.common import Cursor, Name, Text, asked
from restow_api.routes.policies import as_yaml

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

PAGE = 50
CARDS_MAX = 200
STATIC_TYPES = {"console.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}


def _shown(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    return page(request, template, cookie=request.cookies.get(SESSION_COOKIE), status=status, **values)


def problem_page(request: Request, problem: ProblemError) -> Response:
    """A refusal as a page; without a session, the form to log in."""
    if problem.status == 401:
        return page(request, "login.html", cookie=None, status=401, wrong="")
    return _shown(request, "problem.html", status=problem.status, problem=problem)


# --- the way in and out ------------------------------------------------------------------------


@router.get("/")
async def overview(request: Request, front: Door) -> Response:
    """The overview, or the form to log in."""
    principal = await allowed_to_see(request)
    if principal is None:
        return page(request, "login.html", cookie=None, wrong="")
    request.state.principal = principal
    clouds, away = await _clouds(front)
    cards = [host_card(cloud, host) for cloud in clouds for host in cloud.hosts][:CARDS_MAX]
    open_ones = await reading.incidents(front.database, reading.IncidentFilter(state="open"), after=None, limit=10)
    plans = await reading.plans(front.database, reading.PlanFilter(), after=None, limit=10)
    found = await read_log(front.database, Filter(), after=None, limit=15, newest_first=True)
    return _shown(
        request, "overview.html", cards=cards, hosts=sum(len(cloud.hosts) for cloud in clouds), away=away,
        servers=sum(len(cloud.servers) for cloud in clouds), incidents=[incident_read(one) for one in open_ones.items],
        plans=[plan_summary(one) for one in plans.items], events=[cloud_event(event) for _, event in found],
    )  # fmt: skip


async def _clouds(front: Front) -> tuple[tuple[Any, ...], str]:
    """What can be read now; a cloud that is away is said, and the rest of the page is still there."""
    try:
        return await front.clouds.read_all(), ""
    except RestowError as error:
        return (), as_problem(error).detail


@router.get("/console/static/{file}")
async def static(file: Name) -> Response:
    """The console's own style, script and icon."""
    if file not in STATIC_TYPES:
        raise NotFoundError(f"no file {file!r}")
    text = (files("restow_api.console") / "static" / file).read_text()
    return Response(text, media_type=STATIC_TYPES[file], headers={"Cache-Control": "max-age=300"})


@router.post("/console/login")
async def login(request: Request, front: Door) -> Response:
    """A key for a session."""
    same_origin(request)
    principal = await keys.principal_of_key(front.database, (await form_of(request)).get("key", "").strip())
    if principal is None:
        return page(
            request, "login.html", cookie=None, status=401, wrong="No valid key. Look for typos, or ask an admin."
        )
    async with front.database.writing() as transaction:
        kept_s = front.settings.session_kept_s
        secret = await keys.open_session(transaction, front.wall, principal, kept_s=kept_s)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        SESSION_COOKIE, secret, max_age=int(kept_s), httponly=True, samesite="strict",
        secure=front.settings.cookie_secure or request.url.scheme == "https",
    )  # fmt: skip
    return response


@router.post("/console/logout")
async def logout(request: Request, front: Door) -> Response:
    """The session ends here and on the server."""
    async with front.database.writing() as transaction:
        await keys.close_session(transaction, request.cookies[SESSION_COOKIE])
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(SESSION_COOKIE)
    return response


# --- looking -----------------------------------------------------------------------------------


@router.get("/console/hosts")
async def hosts(request: Request, front: Door, cursor: Cursor = None) -> Response:
    """Hosts by name, with their bars."""
    found = [(cloud, host) for cloud in await front.clouds.read_all() for host in cloud.hosts]
    shown = page_in_memory(found, kind="hosts", key=lambda one: (one[1].name, one[0].domain), after=cursor, limit=PAGE)
    cards = [host_card(cloud, host) for cloud, host in shown.items]
    return _shown(request, "hosts.html", cards=cards, next=shown.next, faults=FAULTS if front.has_faults else ())


@router.get("/console/hosts/{name}")
async def host(request: Request, front: Door, name: Name) -> Response:
    """One host and its servers."""
    cloud, found = await front.clouds.host(name)
    servers = [server_read(cloud, server) for server in cloud.servers_on[found.name]]
    return _shown(
        request, "host.html", host=host_read(cloud, found), shown=host_card(cloud, found), servers=servers,
        faults=FAULTS if front.has_faults else (),
    )  # fmt: skip


@router.get("/console/servers")
async def servers(
    request: Request, front: Door, host: Text = None, name: Text = None, cursor: Cursor = None
) -> Response:
    """Servers by id."""
    found = [
        (cloud, server)
        for cloud in await front.clouds.read_all()
        for server in cloud.servers
        if (not host or server.host == host) and (not name or name in server.name)
    ]
    shown = page_in_memory(found, kind="servers", key=lambda one: (one[1].id, one[0].domain), after=cursor, limit=PAGE)
    items = [server_read(cloud, server) for cloud, server in shown.items]
    return _shown(
        request, "servers.html", servers=items, next=shown.next, total=len(found), host=host or "", name=name or ""
    )


@router.get("/console/incidents")
async def incidents(request: Request, front: Door, cursor: Cursor = None) -> Response:
    """Incidents, newest first."""
    shown = await reading.incidents(front.database, reading.IncidentFilter(), after=cursor, limit=PAGE)
    return _shown(request, "incidents.html", incidents=[incident_read(one) for one in shown.items], next=shown.next)


@router.get("/console/incidents/{id}")
async def incident(request: Request, front: Door, id: Name) -> Response:
    """One incident, its plans, its whole story."""
    view = await reading.incident_view(front.database, id)
    made = await reading.plans(front.database, reading.PlanFilter(incident=id), after=None, limit=PAGE)
    story = await read_log(front.database, Filter(correlation=id, topic="all"), after=None, limit=500)
    return _shown(
        request, "incident.html", incident=incident_read(view), plans=[plan_summary(plan) for plan in made.items],
        events=[cloud_event(event) for _, event in story],
    )  # fmt: skip


@router.get("/console/plans")
async def plans(request: Request, front: Door, cursor: Cursor = None) -> Response:
    """Plans, newest first, and the form to ask for one."""
    shown = await reading.plans(front.database, reading.PlanFilter(), after=cursor, limit=PAGE)
    items = [plan_summary(one) for one in shown.items]
    return _shown(request, "plans.html", plans=items, next=shown.next)


@router.get("/console/plans/{id}")
async def plan(request: Request, front: Door, id: Name) -> Response:
    """One plan: before and after, its graph, its steps, what blocks it, its story."""
    view = await reading.plan_view(front.database, id)
    made = await reading.made_plan(front.database, view)
    steps = [] if made is None else steps_read(made, await reading.steps_of(front.database, id))
    story = await read_log(front.database, Filter(subject=id, topic="all"), after=None, limit=2000)
    told = [entry for entry in story if not entry[1].type.startswith("restow.step")]  # steps have their own table
    return _shown(
        request, "plan.html", plan=plan_read(view, await reading.plan_document(front.database, view)),
        gap=None if made is None else gap_in_words(made), steps=steps[:1000],
        events=[cloud_event(event) for _, event in told],
    )  # fmt: skip


@router.get("/console/plans/{id}/graph.svg")
async def graph(front: Door, id: Name) -> Response:
    """The graph as a picture."""
    view = await reading.plan_view(front.database, id)
    made = await reading.made_plan(front.database, view)
    if made is None:
        raise ProblemError(409, no_document(view))
    # the picture brings its own style along; it is shown as an image, where no script can run
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(to_svg(made), media_type="image/svg+xml", headers=headers)


@router.get("/console/events")
async def events(
    request: Request, front: Door, correlation: Text = None, type: Text = None, cursor: Cursor = None
) -> Response:
    """The log, newest first; new entries come by themselves."""
    wanted = Filter(type=type or None, correlation=correlation or None, topic="all" if correlation else None)
    wanted.check()
    begin = read_cursor(cursor, "events-desc", int)
    after = None if begin is None else int(begin[0])
    found = await read_log(front.database, wanted, after=after, limit=PAGE + 1, newest_first=True)
    shown = page_of(found, limit=PAGE, cursor=lambda one: cursor_of("events-desc", one[0]))
    return _shown(
        request, "events.html", events=[cloud_event(event) for _, event in shown.items], next=shown.next,
        correlation=correlation or "", type=type or "", live=cursor is None and not correlation and not type,
    )  # fmt: skip


@router.get("/console/policies")
async def policies(request: Request, front: Door) -> Response:
    """The policy in force, to read and to change."""
    policy = await policy_in_force(front.database)
    return _shown(
        request, "policies.html", text=as_yaml(policy), version=version_of(policy), errors=(), said="",
        warnings=policy.warnings(),
    )  # fmt: skip


@router.get("/console/audit")
async def audit(request: Request, front: Door, cursor: Cursor = None) -> Response:
    """Who did what."""
    shown = await reading.audit(front.database, by=None, action=None, subject=None, after=cursor, limit=PAGE)
    return _shown(request, "audit.html", entries=[audit_read(row) for row in shown.items], next=shown.next)


# --- acting ------------------------------------------------------------------------------------


def _back(where: str) -> Response:
    return RedirectResponse(where, status_code=303)


@router.post("/console/plans")
async def submit(request: Request, front: Door) -> Response:
    """Ask for a plan, by the fields of the form or by a whole request."""
    form = await form_of(request)
    if form.get("document", "").strip():
        wanted = parse_request(form["document"])
    else:
        fields: dict[str, Any] = {"goal": form.get("goal", ""), "mode": form.get("mode", "propose")}
        fields["reason"] = form.get("reason", "")
        if fields["goal"] in ("evacuate", "recover"):
            fields["hosts"] = form.get("hosts", "").replace(",", " ").split()
        if fields["goal"] == "consolidate":
            fields["power_off"] = "power_off" in form
        wanted = parse_request(json.dumps(fields))
    made = await front.submit(asked(request), wanted)
    return _back(f"/console/plans/{made['id']}")


async def _order(request: Request, front: Front, id: str, verb: str) -> Response:
    await front.order(asked(request), id, verb, why=(await form_of(request)).get("why", "")[:1000])
    return _back(f"/console/plans/{id}")


@router.post("/console/plans/{id}/approve")
async def approve(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "approve")


@router.post("/console/plans/{id}/reject")
async def reject(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "reject")


@router.post("/console/plans/{id}/cancel")
async def cancel(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "cancel")


@router.post("/console/plans/{id}/pause")
async def pause(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "pause")


@router.post("/console/plans/{id}/resume")
async def resume(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "resume")


@router.post("/console/plans/{id}/undo")
async def undo(request: Request, front: Door, id: Name) -> Response:
    """The button."""
    return await _order(request, front, id, "undo")


@router.post("/console/incidents/{id}/acknowledge")
async def acknowledge(request: Request, front: Door, id: Name) -> Response:
    """Seen."""
    await front.incident_order(asked(request), id, "acknowledge")
    return _back(f"/console/incidents/{id}")


@router.post("/console/incidents/{id}/close")
async def close(request: Request, front: Door, id: Name) -> Response:
    """Dealt with by a person."""
    why = (await form_of(request)).get("why", "")[:1000]
    await front.incident_order(asked(request), id, "close", why=why)
    return _back(f"/console/incidents/{id}")


@router.post("/console/hosts/{name}/maintenance")
async def maintenance(request: Request, front: Door, name: Name) -> Response:
    """Healing off, host emptied."""
    reason = (await form_of(request)).get("reason", "")[:1000]
    await front.maintenance(asked(request), name, on=True, reason=reason)
    return _back(f"/console/hosts/{name}")


@router.post("/console/hosts/{name}/maintenance/end")
async def maintenance_ends(request: Request, front: Door, name: Name) -> Response:
    """Back in service."""
    await front.maintenance(asked(request), name, on=False)
    return _back(f"/console/hosts/{name}")


@router.post("/console/policies/validate")
async def validate(request: Request, front: Door) -> Response:
    """Look for mistakes without putting it in force."""
    form = await form_of(request)
    return _policy_shown(request, front, form, said="No mistake found. It is not in force yet.")


@router.post("/console/policies")
async def put_policy(request: Request, front: Door) -> Response:
    """Put it in force, unless somebody else changed it meanwhile."""
    form = await form_of(request)
    try:
        policy = parse_policy(form.get("text", ""))
        await front.put_policy(asked(request), policy, if_match=form.get("version") or None)
    except BadInputError:
        return _policy_shown(request, front, form, said="")
    return _back("/console/policies")


def _policy_shown(request: Request, front: Front, form: dict[str, str], *, said: str) -> Response:
    shown: dict[str, Any] = {"text": form.get("text", ""), "version": form.get("version", "")}
    try:
        policy = parse_policy(shown["text"])
        front.check_policy(policy)
    except BadInputError as error:
        return _shown(request, "policies.html", **shown, errors=error.errors, said="", warnings=(), status=422)
    return _shown(request, "policies.html", **shown, errors=(), said=said, warnings=policy.warnings())


@router.post("/console/faults")
async def fault(request: Request, front: Door) -> Response:
    """Trouble on the simulated cloud."""
    form = await form_of(request)
    await front.fault(asked(request), form.get("kind", ""), form.get("host", ""))
    return _back(f"/console/hosts/{form.get('host', '')}")


@router.post("/console/faults/clear")
async def clear_faults(request: Request, front: Door) -> Response:
    """The end of it."""
    await front.clear_faults(asked(request), host=(await form_of(request)).get("host") or None)
    return _back("/console/hosts")

"""Who may do what: one table that names every endpoint, and the guard that every route passes first.

An endpoint that is not in the table cannot be built. The guard runs before the body is read.
"""

import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from restow.errors import FieldError
from restow_api import keys
from restow_api.front import Front
from restow_api.keys import Principal, Role
from restow_api.problems import ProblemError, in_words

SESSION_COOKIE = "restow_session"

VIEWER, OPERATOR, APPROVER, ADMIN = Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN

# None: open to everybody. Everything else needs at least this role.
ACCESS: dict[tuple[str, str], Role | None] = {
    ("GET", "/livez"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): None,
    ("GET", "/openapi.json"): None,
    # reading
    ("GET", "/v1/cloud"): VIEWER,
    ("GET", "/v1/hosts"): VIEWER,
    ("GET", "/v1/hosts/{name}"): VIEWER,
    ("GET", "/v1/servers"): VIEWER,
    ("GET", "/v1/servers/{id}"): VIEWER,
    ("GET", "/v1/plans"): VIEWER,
    ("GET", "/v1/plans/{id}"): VIEWER,
    ("GET", "/v1/plans/{id}/graph"): VIEWER,
    ("GET", "/v1/plans/{id}/steps"): VIEWER,
    ("GET", "/v1/incidents"): VIEWER,
    ("GET", "/v1/incidents/{id}"): VIEWER,
    ("GET", "/v1/events"): VIEWER,
    ("GET", "/v1/policies"): VIEWER,
    ("GET", "/v1/audit"): VIEWER,
    # acting
    ("POST", "/v1/plans"): OPERATOR,  # mode auto needs an approver: see Front.submit
    ("POST", "/v1/what-if"): OPERATOR,
    ("POST", "/v1/plans/{id}/approve"): APPROVER,
    ("POST", "/v1/plans/{id}/reject"): APPROVER,
    ("POST", "/v1/plans/{id}/cancel"): OPERATOR,
    ("POST", "/v1/plans/{id}/pause"): OPERATOR,
    ("POST", "/v1/plans/{id}/resume"): OPERATOR,
    ("POST", "/v1/plans/{id}/undo"): APPROVER,  # carried out without a further approval
    ("POST", "/v1/incidents/{id}/acknowledge"): OPERATOR,
    ("POST", "/v1/incidents/{id}/close"): OPERATOR,
    ("POST", "/v1/hosts/{name}/maintenance"): APPROVER,  # the host is emptied without a further approval
    ("DELETE", "/v1/hosts/{name}/maintenance"): OPERATOR,
    ("PUT", "/v1/policies"): ADMIN,
    ("POST", "/v1/policies/validate"): OPERATOR,
    ("POST", "/v1/simulation/faults"): OPERATOR,
    ("DELETE", "/v1/simulation/faults"): OPERATOR,
    ("POST", "/v1/signals/alertmanager"): OPERATOR,
    ("POST", "/v1/signals/cloudevents"): OPERATOR,
    ("GET", "/v1/keys"): ADMIN,
    ("POST", "/v1/keys"): ADMIN,
    ("DELETE", "/v1/keys/{id}"): ADMIN,
    # the console; its forms pass the same roles as the endpoints above
    ("GET", "/"): None,  # the way in: the overview, or the form to log in
    ("GET", "/console/static/{file}"): None,
    ("POST", "/console/login"): None,
    ("POST", "/console/logout"): VIEWER,
    ("GET", "/console/hosts"): VIEWER,
    ("GET", "/console/hosts/{name}"): VIEWER,
    ("GET", "/console/servers"): VIEWER,
    ("GET", "/console/incidents"): VIEWER,
    ("GET", "/console/incidents/{id}"): VIEWER,
    ("GET", "/console/plans"): VIEWER,
    ("GET", "/console/plans/{id}"): VIEWER,
    ("GET", "/console/plans/{id}/graph.svg"): VIEWER,
    ("GET", "/console/events"): VIEWER,
    ("GET", "/console/policies"): VIEWER,
    ("GET", "/console/audit"): VIEWER,
    ("POST", "/console/plans"): OPERATOR,
    ("POST", "/console/plans/{id}/approve"): APPROVER,
    ("POST", "/console/plans/{id}/reject"): APPROVER,
    ("POST", "/console/plans/{id}/cancel"): OPERATOR,
    ("POST", "/console/plans/{id}/pause"): OPERATOR,
    ("POST", "/console/plans/{id}/resume"): OPERATOR,
    ("POST", "/console/plans/{id}/undo"): APPROVER,
    ("POST", "/console/incidents/{id}/acknowledge"): OPERATOR,
    ("POST", "/console/incidents/{id}/close"): OPERATOR,
    ("POST", "/console/hosts/{name}/maintenance"): APPROVER,
    ("POST", "/console/hosts/{name}/maintenance/end"): OPERATOR,
    ("POST", "/console/policies"): ADMIN,
    ("POST", "/console/policies/validate"): OPERATOR,
    ("POST", "/console/faults"): OPERATOR,
    ("POST", "/console/faults/clear"): OPERATOR,
}

_PATHS = [(method, compile_path(path)[0]) for method, path in ACCESS]


def allowed_methods(path: str) -> tuple[str, ...]:
    """Every method that this path knows, for the Allow header."""
    return tuple(sorted({method for method, pattern in _PATHS if pattern.match(path)}))


def front_of(request: Request) -> Front:
    front = request.app.state.front
    assert isinstance(front, Front)
    return front


def principal_of(request: Request) -> Principal:
    """Who asks; the guard has put it there."""
    principal = request.state.principal
    assert isinstance(principal, Principal)
    return principal


Door = Annotated[Front, Depends(front_of)]
Who = Annotated[Principal, Depends(principal_of)]


class GuardedRoute(APIRoute):
    """A route that first asks who is there, and refuses what the endpoint does not know."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        roles = {method: ACCESS[method, self.path] for method in self.methods or ()}
        known = {parameter.alias for parameter in self.dependant.query_params}
        console = self.path.startswith("/console")

        async def guarded(request: Request) -> Response:
            role = roles[request.method]
            if role is not None:
                principal = await _authenticated(request, console=console)
                request.state.principal = principal
                if not principal.role.covers(role):
                    await _refused(request, principal, role)
            _checked_input(request, known)
            return await handle(request)

        return guarded


async def _authenticated(request: Request, *, console: bool) -> Principal:
    front = front_of(request)
    principal = None
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    cookie = request.cookies.get(SESSION_COOKIE)
    if scheme and not console:
        principal = await keys.principal_of_key(front.database, key.strip()) if scheme.lower() == "bearer" else None
    elif cookie and (console or request.method == "GET"):  # the API itself takes no orders from a cookie
        principal = await keys.principal_of_session(front.database, front.wall, cookie)
        if console and request.method == "POST" and principal is not None:
            await check_form(request, cookie)
    if principal is None:
        raise ProblemError(
            401, "this needs a valid key: `Authorization: Bearer KEY`", headers={"WWW-Authenticate": "Bearer"}
        )
    return principal


async def allowed_to_see(request: Request) -> Principal | None:
    """Who has a session, for the page that is also the way in."""
    cookie = request.cookies.get(SESSION_COOKIE)
    front = front_of(request)
    return None if cookie is None else await keys.principal_of_session(front.database, front.wall, cookie)


async def check_form(request: Request, cookie: str) -> None:
    """An acting form must come from our own page. Raises ProblemError."""
    same_origin(request)
    given = (await form_of(request)).get("csrf", "")
    if not hmac.compare_digest(given.encode(), keys.csrf_token(cookie).encode()):
        raise ProblemError(403, "this form is not from a page of your session: reload the page and try again")


def same_origin(request: Request) -> None:
    """A browser tells where a form was made; another site's form is refused. Raises ProblemError."""
    origin = request.headers.get("Origin")
    if origin not in (None, "null") and origin.partition("://")[2] != request.headers.get("Host"):
        raise ProblemError(403, "this form was made by another site")
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise ProblemError(403, "this form was made by another site")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form; of a field given twice the last."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise ProblemError(415, "this takes application/x-www-form-urlencoded")
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise ProblemError(400, f"not a form: {error}") from error


async def _refused(request: Request, principal: Principal, role: Role) -> None:
    why = f"this needs the role {role}; {principal.name} is {principal.role}"
    await front_of(request).audit_refusal(
        principal, action=f"{request.method} {request.scope['route'].path}", subject=request.url.path, why=why
    )
    raise ProblemError(403, why)


def _checked_input(request: Request, known: set[str]) -> None:
    wrong = [
        FieldError(name, value, "no such parameter" + (f"; there is {', '.join(sorted(known))}" if known else ""))
        for name, value in request.query_params.multi_items()
        if name not in known
    ]
    given = [*request.query_params.multi_items(), *((name, str(value)) for name, value in request.path_params.items())]
    wrong += [FieldError(name, value, "text without NUL") for name, value in given if "\x00" in value]
    repeated = {name for name, _ in given if len(request.query_params.getlist(name)) > 1}
    wrong += [FieldError(name, request.query_params[name], "given once") for name in sorted(repeated & known)]
    if wrong:
        raise ProblemError(422, in_words(wrong), errors=wrong)

"""The edge of HTTP: bodies read strictly, JSON written, the limit on a body's size, request metrics."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NoReturn, TypeVar

from fastapi import Request, Response
from prometheus_client import Counter
from pydantic import BaseModel

from restow.messages.base import parse
from restow_api.problems import MEDIA_TYPE, BodyTooLargeError, Problem, ProblemError, respond

REQUESTS = Counter("restow_http_requests_total", "Requests to the front door.", ["method", "route", "status"])

M = TypeVar("M", bound=BaseModel)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_TYPES = ("application/json",)

# what an endpoint may answer besides its own: for the OpenAPI document
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "Refused; `detail` says why", "content": {MEDIA_TYPE: {}}},
    "5XX": {"model": Problem, "description": "Not possible now", "content": {MEDIA_TYPE: {}}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of an endpoint that may answer with these problems."""
    text = {
        400: "Not JSON", 401: "No valid key", 403: "Beyond the role", 404: "No such thing", 409: "The state forbids it",
        412: "Changed by somebody else", 413: "Body too large", 415: "Not the right media type", 422: "Bad input",
        503: "Cloud or database away",
    }  # fmt: skip
    return {status: {"model": Problem, "description": text[status]} for status in statuses}


def answer(content: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Response(text.encode("utf-8"), status_code=status, headers=headers, media_type="application/json")


def media_type(request: Request) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, model: type[M], *, what: str, types: tuple[str, ...] = JSON_TYPES) -> M:
    """The body as `model`, strictly. Raises ProblemError (400, 413, 415), BadInputError."""
    return parse(model, await json_body(request, types=types), what=what)


async def read_optional_body(request: Request, model: type[M], *, what: str) -> M:
    """As `read_body`, but no body at all is the model's defaults."""
    body = await request.body()
    return model() if not body else await read_body(request, model, what=what)


async def json_body(request: Request, *, types: tuple[str, ...] = JSON_TYPES) -> bytes:
    """The body, known to be JSON. Raises ProblemError (400, 413, 415)."""
    if media_type(request) not in types:
        raise ProblemError(415, f"the Content-Type must be {' or '.join(types)}")
    body = await request.body()
    try:
        json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON: {error}") from error
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class BodyLimit:
    """Refuses a larger body at its first byte too many, announced or streamed."""

    def __init__(self, app: App, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self.limit:
            refusal = respond(BodyTooLargeError(self.limit), instance=scope["path"])
            await refusal(scope, receive, send)
            return
        taken = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise BodyTooLargeError(self.limit)
            return message

        await self.app(scope, counted, send)


class Hardened:
    """Counts requests and adds the headers that every answer carries."""

    HEADERS = (
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"x-frame-options", b"DENY"),
        (
            b"content-security-policy",
            (
                b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            ),
        ),
    )

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def noted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                more = [(name, value) for name, value in self.HEADERS if name not in given]
                message["headers"] = [*message.get("headers", ()), *more]
                route = getattr(scope.get("route"), "path", "(none)")
                REQUESTS.labels(scope["method"] if len(scope["method"]) < 10 else "?", route, message["status"]).inc()
            await send(message)

        await self.app(scope, receive, noted)

"""Errors as `application/problem+json` (RFC 9457): one shape for every refusal, whoever raised it."""

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from restow.errors import BadInputError, FieldError, NotFoundError, PermanentError, TransientError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2

log = structlog.get_logger(__name__)


class FieldProblem(BaseModel):
    """One wrong field: where it stands, what was given, what is expected."""

    field: str
    value: Any
    expected: str


class Problem(BaseModel):
    """What every error looks like. `errors` only for bad input."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] | None = None


class ProblemError(Exception):
    """A refusal that the caller is to read."""

    def __init__(
        self, status: int, detail: str, *, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail)


class BodyTooLargeError(ProblemError):
    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes, the limit of this installation")


def as_problem(error: Exception) -> ProblemError:
    """What a caller is told of this error; anything unforeseen tells nothing of our insides."""
    match error:
        case ProblemError():
            return error
        case BadInputError():
            return ProblemError(422, f"{error.what}: {in_words(error.errors)}", errors=error.errors)
        case NotFoundError():
            return ProblemError(404, str(error))
        case TransientError() | PermanentError():
            return ProblemError(503, f"try again soon: {error}", headers={"Retry-After": str(RETRY_AFTER_S)})
        case _:
            return ProblemError(500, "this is a fault of Restow; its log has the details")


def respond(problem: ProblemError, *, instance: str) -> Response:
    title = HTTPStatus(problem.status).phrase
    body: dict[str, Any] = {
        "type": f"urn:restow:problem:{title.lower().replace(' ', '-')}",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
    }
    if problem.errors:
        body["errors"] = [
            {"field": one.field, "value": _shown(one.value), "expected": one.expected} for one in problem.errors
        ]
    text = json.dumps(body).encode()
    return Response(text, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def in_words(errors: Sequence[FieldError]) -> str:
    """Every wrong field in one line, as JSON has its value."""
    return "; ".join(f"{one.field}: got {_quoted(one.value)}, expected {one.expected}" for one in errors)


def _quoted(value: object, *, length_max: int = 80) -> str:
    shown = _shown(value)
    text = repr(shown) if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def _shown(value: object, *, length_max: int = 200) -> object:
    """The value as given, if it is small and JSON knows it; else the beginning of its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else repr(value)
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError):
            text = repr(value)
        else:
            if len(text) <= length_max:
                return value
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def install(
    app: FastAPI,
    *,
    allowed: Callable[[str], Sequence[str]],
    page: Callable[[Request, ProblemError], Response],
) -> None:
    """Every error of `app` becomes a problem; in the console, a `page`.

    `allowed(path)` names the methods that a path knows.
    """

    def shown(request: Request, problem: ProblemError) -> Response:
        if request.url.path.startswith("/console/") or request.url.path == "/":
            return page(request, problem)
        return respond(problem, instance=request.url.path)

    async def on_error(request: Request, error: Exception) -> Response:
        problem = as_problem(error)
        if problem.status == 500:
            log.error("a request failed", path=request.url.path, method=request.method, error=repr(error))
        return shown(request, problem)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        detail = str(error.detail)
        if error.status_code == 405:
            headers["Allow"] = ", ".join(allowed(request.url.path))
            detail = f"{request.method} is not possible here; possible: {headers['Allow']}"
        elif error.status_code == 404:
            detail = f"nothing is at {request.url.path}; see /openapi.json for what there is"
        return shown(request, ProblemError(error.status_code, detail, headers=headers))

    async def on_bad_request(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = tuple(
            FieldError(
                ".".join(str(part) for part in line["loc"] if part not in ("query", "header", "path", "body")),
                "(absent)" if line["type"] == "missing" else line.get("input"),
                line["msg"],
            )
            for line in error.errors()[:20]
        )
        return shown(request, ProblemError(422, in_words(wrong), errors=wrong))

    for kind in (ProblemError, BadInputError, TransientError, PermanentError, Exception):
        app.add_exception_handler(kind, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_bad_request)

"""The OpenAPI 3.1 document: FastAPI's own, with the bodies that are read strictly, keys, and problems."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from restow import __version__
from restow.messages.request import RequestDocument
from restow.policy import Policy
from restow_api.access import ACCESS
from restow_api.models import BODIES
from restow_api.problems import MEDIA_TYPE

_PREFIX = "#/components/schemas/"
_ALWAYS = {"401": "No valid key", "403": "Beyond the role", "503": "Cloud or database away"}
DESCRIPTION = (
    "Restow keeps an OpenStack cloud healthy and well arranged. Every path under /v1 needs "
    "`Authorization: Bearer KEY`. Errors are application/problem+json."
)


def body(name: str, *media_types: str, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that reads this model itself."""
    schema = {"$ref": f"{_PREFIX}{name}Body"}
    content = {media_type: {"schema": schema} for media_type in media_types or ("application/json",)}
    return {"requestBody": {"content": content, "required": required}}


def document(app: FastAPI) -> dict[str, Any]:
    """Made once; the same for everybody."""
    from fastapi.openapi.utils import get_openapi

    made = get_openapi(
        title="Restow", version=__version__, description=DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_body_schemas())
    made["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key: `restow keys create`"}
    }
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(operation, guarded=ACCESS[method.upper(), path] is not None, path=path)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return made


def _complete(operation: dict[str, Any], *, guarded: bool, path: str) -> None:
    responses = operation["responses"]
    if guarded:
        operation["security"] = [{"key": []}]
        for status, text in _ALWAYS.items():
            responses.setdefault(status, {"description": text})
    if "requestBody" in operation:
        for status, text in (("400", "Not JSON"), ("413", "Body too large"), ("415", "Not the right media type")):
            responses.setdefault(status, {"description": text})
    if "{" in path:
        responses.setdefault("404", {"description": "No such thing"})
    responses.setdefault("422", {"description": "Bad input; `errors` names every wrong field"})
    for status, response in responses.items():
        if status >= "400":
            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"{_PREFIX}Problem"}}}


def _body_schemas() -> dict[str, Any]:
    """Named apart from the answers: what may be left out of a body is always there in an answer."""
    models = [(model, "validation") for model in (*BODIES, RequestDocument, Policy)]
    _, top = models_json_schema(models, ref_template=_PREFIX + "{model}Body")  # type: ignore[arg-type]
    return {f"{name}Body": schema for name, schema in top["$defs"].items()}

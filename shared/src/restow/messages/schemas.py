"""The JSON Schema of every published format and event type, by name; pure."""

from collections.abc import Callable, Mapping
from typing import Any

from restow.messages.base import Message
from restow.messages.events import CATALOGUE
from restow.messages.plan import Plan
from restow.messages.request import RequestDocument
from restow.policy import Policy

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _of(model: type[Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"$schema": DIALECT, **model.model_json_schema(by_alias=True)}


def _cloud() -> dict[str, Any]:
    from restow.cloud.snapshot import cloud_schema

    return {"$schema": DIALECT, **cloud_schema()}


def _events() -> Mapping[str, type[Message]]:
    return {event_type: model for event_type, (_, model) in CATALOGUE.items()}


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "restow.cloud/1": _cloud,
    "restow.request/1": _of(RequestDocument),
    "restow.plan/1": _of(Plan),
    "restow.policy/1": _of(Policy),
    **{event_type: _of(model) for event_type, model in sorted(_events().items())},
}

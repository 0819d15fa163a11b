"""What every published format has in common: frozen, strict, and refused with every wrong field named; pure."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from restow.errors import BadInputError, FieldError


class Message(BaseModel):
    """A frozen value with a published schema. Unknown fields are errors: a typo must not pass silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    def dump(self) -> dict[str, Any]:
        """The JSON form, with the public names of the fields."""
        return self.model_dump(mode="json", by_alias=True)


M = TypeVar("M", bound=BaseModel)

ERRORS_MAX = 20


def read_own(model: type[M], text: bytes | str) -> M:
    """Read what a service of this installation wrote, perhaps of a newer version: fields that it added are dropped.

    Only for what is told. What is asked for is read by `parse`: to leave out a part of it could do harm.
    Raises ValueError.
    """
    return model.model_validate_json(text, extra="ignore")


def parse(model: type[M], body: bytes | str | Any, *, what: str) -> M:
    """Read JSON text, or what JSON text was parsed to, as `model`.

    Raises BadInputError with field, value and what is expected, for at most ERRORS_MAX fields.
    """
    try:
        text = body if isinstance(body, bytes | str) else json.dumps(body)
    except (TypeError, ValueError) as error:
        raise BadInputError(what, (FieldError("", type(body).__name__, f"JSON values only ({error})"),)) from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise BadInputError(what, field_errors(error)) from error


EXPECTED = {"extra_forbidden": "no such field", "missing": "a value"}  # where pydantic's sentence is no answer to that


def field_errors(error: ValidationError, *, strip: tuple[str, ...] = ()) -> tuple[FieldError, ...]:
    """Pydantic's findings in our words: the path of the field, the value, what is expected."""
    found = []
    for line in error.errors(include_url=False)[:ERRORS_MAX]:
        path = [str(part) for part in line["loc"] if str(part) not in strip]
        expected = EXPECTED.get(line["type"]) or line["msg"].removeprefix("Input should be ").removeprefix(
            "Value error, "
        )
        value = "(absent)" if line["type"] == "missing" else line.get("input")
        found.append(FieldError(".".join(path) or "(document)", value, expected))
    return tuple(found)

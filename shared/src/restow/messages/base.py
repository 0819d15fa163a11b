"""What every published format has in common: frozen, strict, and refused with every wrong field named; pure."""

import json
from collections import Counter
from collections.abc import Iterator
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
        made = model.model_validate_json(text)
    except ValidationError as error:
        raise BadInputError(what, field_errors(error)) from error
    if text is body:
        each_key_once(text, what=what)
    return made


class _Doubled(dict[str, Any]):
    """An object of JSON text in which these keys stand more than once."""

    keys_twice: tuple[str, ...] = ()


def each_key_once(text: bytes | str, *, what: str) -> None:
    """Of two equal keys a parser takes the last; what the first said would be lost without a word.

    Raises BadInputError that names them; ValueError for what is not JSON.
    """

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = _Doubled(pairs)
        if len(made) < len(pairs):
            made.keys_twice = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return made

    found = tuple(_doubled(json.loads(text, object_pairs_hook=noted), ()))
    if found:
        wrong = (FieldError(".".join(path), "(twice)", "each key once") for path in found[:ERRORS_MAX])
        raise BadInputError(what, tuple(wrong))


def _doubled(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match value:
        case _Doubled():
            yield from ((*path, name) for name in value.keys_twice)
            for name, item in value.items():
                yield from _doubled(item, (*path, name))
        case list():
            for index, item in enumerate(value):
                yield from _doubled(item, (*path, str(index)))
        case _:
            pass


class FieldsError(ValueError):
    """Raised by a validator that knows which fields below its own are wrong."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        self.errors = errors
        super().__init__("; ".join(str(one) for one in errors))


EXPECTED = {"extra_forbidden": "no such field", "missing": "a value"}  # where pydantic's sentence is no answer to that


def field_errors(error: ValidationError, *, strip: tuple[str, ...] = ()) -> tuple[FieldError, ...]:
    """Pydantic's findings in our words: the path of the field, the value, what is expected."""
    found: list[FieldError] = []
    lines = error.errors(include_url=False)
    inner = {line["loc"][:size] for line in lines for size in range(len(line["loc"]))}
    for line in lines[:ERRORS_MAX]:
        if line["type"] == "too_short" and line["loc"] in inner:
            continue  # it is short only because what stands in it is wrong
        path = [str(part) for part in line["loc"] if str(part) not in strip]
        below = line.get("ctx", {}).get("error")
        if isinstance(below, FieldsError):
            found += [FieldError(".".join((*path, one.field)), one.value, one.expected) for one in below.errors]
            continue
        expected = EXPECTED.get(line["type"]) or line["msg"].removeprefix("Input should be ").removeprefix(
            "Value error, "
        )
        if line["type"] == "too_short":
            expected = f"at least {line['ctx']['min_length']}"
        value = "(absent)" if line["type"] == "missing" else line.get("input")
        found.append(FieldError(".".join(path) or "(document)", value, expected))
    return tuple(found)

"""Keyset paging: a page begins after the last key of the one before; pure. Cursors are opaque to callers."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from restow.errors import BadInputError, FieldError

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next: str | None


def cursor_of(kind: str, *key: str | int) -> str:
    text = json.dumps([kind, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, kind: str, *shape: type) -> tuple[str | int, ...] | None:
    """The key that a cursor holds. Raises BadInputError for any text that is not a cursor of this kind."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        read = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        read = None
    if (
        isinstance(read, list)
        and read[:1] == [kind]
        and tuple(type(part) for part in read[1:]) == shape
        and not any(isinstance(part, str) and "\x00" in part for part in read)
        and not any(isinstance(part, int) and abs(part) >= 1 << 62 for part in read)
    ):
        return tuple(read[1:])
    raise BadInputError("cursor", (FieldError("cursor", cursor, "the `next` of a page of this collection"),))


def page_of(found: Sequence[T], *, limit: int, cursor: Callable[[T], str]) -> Page[T]:
    """`found` holds up to one more than `limit`: then there is a next page."""
    kept = tuple(found[:limit])
    return Page(kept, cursor(kept[-1]) if len(found) > limit else None)


def page_in_memory(
    items: Iterable[T], *, kind: str, key: Callable[[T], tuple[str, str]], after: str | None, limit: int
) -> Page[T]:
    """A page of what is in memory, in the order of `key`; stable while items come and go."""
    begin = read_cursor(after, kind, str, str)
    ordered = sorted((item for item in items if begin is None or key(item) > begin), key=key)
    return page_of(ordered, limit=limit, cursor=lambda item: cursor_of(kind, *key(item)))

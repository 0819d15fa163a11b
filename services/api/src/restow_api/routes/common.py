"""What the endpoints share: paging parameters, names in paths, how a request came in."""

import re
from typing import Annotated

from fastapi import Path, Query, Request

from restow.errors import BadInputError, FieldError
from restow_api.access import principal_of
from restow_api.front import Asked
from restow_api.paging import LIMIT_DEFAULT, LIMIT_MAX

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="how many at most")]
Cursor = Annotated[str | None, Query(max_length=2000, description="the `next` of the page before")]
Domain = Annotated[str | None, Query(max_length=255, description="the only one if there is only one")]
Text = Annotated[str | None, Query(max_length=255)]
Name = Annotated[str, Path(min_length=1, max_length=255)]
LIMIT = LIMIT_DEFAULT

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def asked(request: Request, *, idempotency_key: str | None = None) -> Asked:
    """Raises BadInputError for an idempotency key that is none. A broken traceparent is no reason to refuse."""
    if idempotency_key is not None and _IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None:
        expected = "1 to 255 visible ASCII characters"
        raise BadInputError("header", (FieldError("Idempotency-Key", idempotency_key, expected),))
    traceparent = request.headers.get("traceparent", "")
    return Asked(principal_of(request), traceparent if _TRACEPARENT.fullmatch(traceparent) else None, idempotency_key)

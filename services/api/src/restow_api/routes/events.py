"""The log: page by page, or as it is written."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from restow.errors import BadInputError, FieldError
from restow_api.access import Door, GuardedRoute
from restow_api.eventlog import Filter, cloud_event, place_in_log, read_log, stream
from restow_api.front import Front
from restow_api.http import answer
from restow_api.models import Collection, EventRead
from restow_api.paging import cursor_of, page_of, read_cursor
from restow_api.problems import ProblemError
from restow_api.routes.common import LIMIT, Cursor, Domain, Limit, Text

router = APIRouter(route_class=GuardedRoute, tags=["events"])

TopicQuery = Annotated[
    Literal["healing", "commands", "telemetry", "all"] | None,
    Query(description="default: healing, or the topic of `type`"),
]
EVENT_STREAM = "text/event-stream"


@router.get(
    "/v1/events", response_model=Collection[EventRead],
    responses={200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}},
)  # fmt: skip
async def events(
    request: Request, front: Door, *, type: Text = None, correlation: Text = None, subject: Text = None,
    domain: Domain = None, topic: TopicQuery = None, order: Annotated[Literal["asc", "desc"], Query()] = "asc",
    cursor: Cursor = None, limit: Limit = LIMIT,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> Response:  # fmt: skip
    """Events as CloudEvents: a JSON page, or (`Accept: text/event-stream`) a stream.

    The stream begins with what comes next; with `Last-Event-ID` (0: the beginning of the log) right after that event.
    """
    wanted = Filter(type, correlation, subject, domain, topic)
    wanted.check()
    if EVENT_STREAM in request.headers.get("Accept", ""):
        _check_stream(request)
        after = None if last_event_id is None else await place_in_log(front.database, last_event_id)
        return _stream(front, wanted, after)
    begin = read_cursor(cursor, f"events-{order}", int)
    after = None if begin is None else int(begin[0])
    found = await read_log(front.database, wanted, after=after, limit=limit + 1, newest_first=order == "desc")
    page = page_of(found, limit=limit, cursor=lambda one: cursor_of(f"events-{order}", one[0]))
    return answer({"items": [cloud_event(event) for _, event in page.items], "next": page.next})


def _check_stream(request: Request) -> None:
    """Raises BadInputError for what only a page knows: it would be passed over without a word."""
    given = request.query_params
    wrong = [
        FieldError(name, given[name], "none with a stream: Last-Event-ID says where it begins")
        for name in ("cursor", "limit", "order")
        if name in given
    ]
    if wrong:
        raise BadInputError("filter", tuple(wrong))


def _stream(front: Front, wanted: Filter, after: int | None) -> Response:
    if front.streams >= front.settings.event_streams_max:
        raise ProblemError(
            503, f"{front.streams} streams are open, the limit of this process", headers={"Retry-After": "10"}
        )

    async def counted() -> AsyncIterator[bytes]:
        front.streams += 1
        try:
            async for chunk in stream(
                front.database, wanted, after=after, heartbeat_s=front.settings.event_heartbeat_s,
                stopping=front.is_stopping(),
            ):  # fmt: skip
                yield chunk
        finally:
            front.streams -= 1

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(counted(), media_type=EVENT_STREAM, headers=headers)

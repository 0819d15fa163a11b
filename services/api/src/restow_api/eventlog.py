"""The log as the front door shows it: pages, and a stream that goes on where its reader stopped."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi.sse import format_sse_event
from sqlalchemy import Select, select

from restow.database.engine import Database, event_of
from restow.database.tables import EventRow
from restow.errors import BadInputError, FieldError, close_names
from restow.log.embedded import end_of_log
from restow.messages.events import CATALOGUE, Event, Topic

BATCH = 100  # a stream holds no more than this in memory: a slow reader slows only itself
WAIT_S = 1.0  # another process may have appended: that wakes nobody here
TOPICS = {"healing": Topic.HEALING, "commands": Topic.COMMANDS, "telemetry": Topic.TELEMETRY}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries of the log; None: whatever it is. Without topic, type: the healing topic."""

    type: str | None = None
    correlation: str | None = None
    subject: str | None = None
    domain: str | None = None
    topic: str | None = None

    def check(self) -> None:
        """Raises BadInputError."""
        if self.type is not None and self.type not in CATALOGUE:
            expected = "a type of event" + close_names(self.type, tuple(CATALOGUE))
            raise BadInputError("filter", (FieldError("type", self.type, expected),))

    def applied(self, statement: Select[Any]) -> Select[Any]:
        if self.type is not None:
            statement = statement.where(EventRow.type == self.type)
        if self.topic != "all" and not (self.topic is None and self.type is not None):
            statement = statement.where(EventRow.topic == TOPICS[self.topic or "healing"].value)
        if self.correlation is not None:
            statement = statement.where(EventRow.correlation == self.correlation)
        if self.subject is not None:
            statement = statement.where(EventRow.subject == self.subject)
        if self.domain is not None:
            statement = statement.where(EventRow.domain == self.domain)
        return statement


async def read_log(
    database: Database, wanted: Filter, *, after: int | None, limit: int, newest_first: bool = False
) -> list[tuple[int, Event]]:
    """Entries with their numbers, beyond `after` in the order asked for."""
    statement = wanted.applied(select(EventRow))
    if newest_first:
        statement = statement.order_by(EventRow.seq.desc())
        statement = statement if after is None else statement.where(EventRow.seq < after)
    else:
        statement = statement.order_by(EventRow.seq).where(EventRow.seq > (after or 0))
    async with database.reading() as session:
        return [(row.seq, event_of(row)) for row in (await session.execute(statement.limit(limit))).scalars()]


async def place_in_log(database: Database, last_event_id: str) -> int:
    """Where a reader stopped: the number that the stream gave, or an event's own id.

    Raises BadInputError, also for a number that this log has not come to: its reader would wait for ever.
    """
    seq: int | None
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18:
        seq = int(last_event_id) if int(last_event_id) <= await end_of_log(database) else None
    else:
        async with database.reading() as session:
            wanted = select(EventRow.seq).where(EventRow.id == last_event_id.replace("\x00", "?"))
            seq = (await session.execute(wanted)).scalar_one_or_none()
    if seq is None:
        raise BadInputError(
            "header", (FieldError("Last-Event-ID", last_event_id, "an id that this stream gave, or an event's id"),)
        )
    return seq


def cloud_event(event: Event) -> dict[str, Any]:
    """CloudEvents 1.0 in JSON, structured mode."""
    shown = {
        "specversion": "1.0", "id": event.id, "source": event.source, "type": event.type, "subject": event.subject,
        "time": event.time.isoformat().replace("+00:00", "Z"), "datacontenttype": "application/json",
        "domain": event.domain, "correlationid": event.correlation, "causationid": event.causation,
        "traceparent": event.traceparent, "data": dict(event.data),
    }  # fmt: skip
    return {name: value for name, value in shown.items() if value is not None}


async def stream(
    database: Database, wanted: Filter, *, after: int | None, heartbeat_s: float, stopping: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Server-sent events from `after` on (None: from now on), until `stopping`; a comment when it is quiet."""
    loop = asyncio.get_running_loop()
    position = await end_of_log(database) if after is None else after
    yield format_sse_event(comment="restow", id=str(position), retry=2000)
    spoke_at = loop.time()
    while not stopping():
        batch = await read_log(database, wanted, after=position, limit=BATCH)
        for position, event in batch:
            text = json.dumps(cloud_event(event), separators=(",", ":"))
            yield format_sse_event(data_str=text, id=str(position))
        if batch:
            spoke_at = loop.time()
            continue
        if loop.time() - spoke_at >= heartbeat_s:
            yield format_sse_event(comment="alive")
            spoke_at = loop.time()
        await database.wait_for_append(timeout_s=WAIT_S)

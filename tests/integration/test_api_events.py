"""The event stream: it goes on where its reader stopped, ends when the service stops, and holds nothing back."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from restow.messages.events import HostEvent
from restow_api import eventlog
from restow_api.eventlog import Filter, stream
from support.front_door import FrontDoor, a_front_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with a_front_door(tmp_path) as made:
        yield made


async def told(door: FrontDoor, *hosts: str, type: str = "restow.host.fenced") -> None:
    events = [door.first(type, HostEvent(host=host), subject=host) for host in hosts]
    async with door.database.writing() as transaction:
        transaction.emit(*events)


EVERYTHING = Filter()


def parsed(chunk: bytes) -> tuple[str | None, Any]:
    fields = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if line and not line.startswith(":"))
    return fields.get("id"), json.loads(fields["data"]) if "data" in fields else None


class Reader:
    """Reads a stream event by event; `stop` is what the service does when it ends."""

    def __init__(self, door: FrontDoor, wanted: Filter = EVERYTHING, *, after: int | None = 0) -> None:
        self.stopped = False
        self.chunks = stream(
            door.database, wanted, after=after, heartbeat_s=1000.0, stopping=lambda: self.stopped
        )  # fmt: skip

    async def next(self) -> tuple[str | None, Any]:
        async with asyncio.timeout(10):
            while True:
                number, event = parsed(await anext(self.chunks))
                if event is not None:
                    return number, event


async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(door: FrontDoor):
    await told(door, "host-1", "host-2")
    first = Reader(door)
    assert (await first.next())[1]["subject"] == "host-1"
    number, second = await first.next()
    await told(door, "host-3", "host-1")
    again = Reader(door, after=await eventlog.place_in_log(door.database, number or ""))
    assert [(await again.next())[1]["subject"] for _ in range(2)] == ["host-3", "host-1"]
    by_id = Reader(door, after=await eventlog.place_in_log(door.database, second["id"]))
    assert (await by_id.next())[1]["subject"] == "host-3"


async def test_without_a_last_id_the_stream_begins_with_what_comes_next(door: FrontDoor):
    await told(door, "host-1")
    reader = Reader(door, after=None)
    opening = await anext(reader.chunks)
    assert parsed(opening) == ("1", None)
    coming = asyncio.create_task(reader.next())
    await asyncio.sleep(0)
    await told(door, "host-2")
    assert (await coming)[1]["subject"] == "host-2"


async def test_the_stream_takes_the_filters_of_the_page(door: FrontDoor):
    await told(door, "host-1", "host-2")
    await told(door, "host-2", type="restow.host.enabled")
    reader = Reader(door, Filter(subject="host-2", type="restow.host.enabled"))
    assert (await reader.next())[1]["type"] == "restow.host.enabled"


async def test_the_stream_ends_when_the_service_stops(door: FrontDoor):
    reader = Reader(door)
    await anext(reader.chunks)
    reader.stopped = True
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(10):
            await anext(reader.chunks)


async def test_a_cancelled_tidying_loop_says_that_the_service_stops(door: FrontDoor):
    class Sleepless:
        async def sleep(self, seconds: float) -> None:
            raise asyncio.CancelledError

    object.__setattr__(door.context, "clock", type(door.clock)())
    door.context.clock.sleep = Sleepless().sleep
    (loop,) = door.service.loops
    with pytest.raises(asyncio.CancelledError):
        await loop.run()
    assert door.app.state.front.stopping
    async with door.client(None) as client:
        assert (await client.get("/readyz")).status_code == 503


async def test_a_quiet_stream_says_that_it_is_alive(door: FrontDoor):
    chunks = stream(door.database, Filter(), after=0, heartbeat_s=0.0, stopping=lambda: False)
    assert b"restow" in await anext(chunks)
    assert await anext(chunks) == b": alive\n\n"


async def test_a_long_log_is_streamed_in_batches_and_in_order(door: FrontDoor):
    hosts = [f"host-{n}" for n in range(250)]
    await told(door, *hosts)
    reader = Reader(door)
    assert [(await reader.next())[1]["subject"] for _ in hosts] == hosts


async def test_over_http_the_stream_is_server_sent_events_until_the_stop(door: FrontDoor):
    await told(door, "host-1", "host-2")
    door.app.state.front.stopping = True  # the transport gives the answer when it is whole
    async with door.client("viewer", Accept="text/event-stream") as client:
        answer = await client.get("/v1/events", headers={"Last-Event-ID": "1"})
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        bad = await client.get("/v1/events", headers={"Last-Event-ID": "never"})
        assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "Last-Event-ID")
    assert door.app.state.front.streams == 0


async def test_more_streams_than_the_limit_are_refused(tmp_path: Path):
    async with a_front_door(tmp_path, event_streams_max="1") as door:
        door.app.state.front.streams = 1
        async with door.client("viewer", Accept="text/event-stream") as client:
            answer = await client.get("/v1/events")
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


async def test_pages_of_the_log_go_both_ways(door: FrontDoor):
    await told(door, "a", "b", "c")
    async with door.client("viewer") as client:
        for order, wanted in (("asc", "abc"), ("desc", "cba")):
            found, cursor = "", None
            while True:
                params = {"limit": 2, "order": order, **({"cursor": cursor} if cursor else {})}
                page = (await client.get("/v1/events", params=params)).json()
                found += "".join(one["subject"] for one in page["items"])
                cursor = page["next"]
                if cursor is None:
                    break
            assert found == wanted
        one = (await client.get("/v1/events?subject=b&type=restow.host.fenced")).json()["items"]
        assert [(event["subject"], event["specversion"]) for event in one] == [("b", "1.0")]
        assert (await client.get("/v1/events?topic=commands")).json()["items"] == []


@pytest.mark.parametrize("given", ["7", "999999999999999999", "no-such-event"])
async def test_a_reader_is_told_that_the_log_has_not_come_to_where_it_says_it_stopped(door: FrontDoor, given: str):
    await told(door, "host-1", "host-2")
    assert await eventlog.place_in_log(door.database, "2") == 2
    async with door.client("viewer", Accept="text/event-stream", **{"Last-Event-ID": given}) as client:
        answer = await client.get("/v1/events")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Last-Event-ID")


@pytest.mark.parametrize("query", ["limit=5", "order=desc", "cursor=x"])
async def test_a_stream_takes_nothing_that_only_a_page_knows(door: FrontDoor, query: str):
    async with door.client("viewer", Accept="text/event-stream") as client:
        answer = await client.get(f"/v1/events?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, query.partition("=")[0])

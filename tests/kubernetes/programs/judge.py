"""The whole story, asked of the database, the broker and the simulated cloud of the pod that this runs in; as JSON.

argv[1]: ids of plans that were accepted and must have ended.
"""

import asyncio
import json
import os
import sys
from collections import Counter

from aiokafka import AIOKafkaConsumer
from sqlalchemy import select

from restow.cloud.simulated.remote import RemoteClouds
from restow.database.engine import Database, event_of
from restow.database.tables import DeadLetterRow, EventRow
from restow.messages.events import Topic
from restow.runtime.run import kafka_access
from restow.runtime.settings import read_settings

ENDS = {f"restow.plan.{state}" for state in ("finished", "failed", "rejected", "cancelled", "stale")}
settings = read_settings(os.environ)


async def published() -> set[str]:
    topics = [topic.value for topic in Topic]
    options = kafka_access(settings).options()
    consumer = AIOKafkaConsumer(*topics, **options, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found: set[str] = set()
    try:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
        while [one for one, end in ends.items() if await consumer.position(one) < end]:
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found |= {dict(message.headers)["ce_id"].decode() for message in messages}
    finally:
        await consumer.stop()
    return found


async def main() -> None:
    database = Database(settings.database())
    async with database.reading() as session:
        logged = [event_of(row) for row in (await session.execute(select(EventRow))).scalars()]
        dead = list((await session.execute(select(DeadLetterRow.reason))).scalars())
    await database.close()
    on_kafka = await published()
    steps = Counter(f"{e.data['plan']}/{e.data['step']}" for e in logged if e.type == "restow.step.finished")
    opened = {e.data["id"] for e in logged if e.type == "restow.incident.opened"}
    closed = Counter(e.data["id"] for e in logged if e.type == "restow.incident.closed")
    ended = {e.data["plan"] for e in logged if e.type in ENDS}
    broken, taken = [], Counter()
    clouds = RemoteClouds(settings.cloud)
    for domain in clouds.domains():
        cloud = clouds.port(domain)
        broken += [
            repr(one) for one in await cloud.violations() if one.kind in ("two-places", "evacuated-twice", "capacity")
        ]
        for server in (await cloud.read()).servers:
            taken.update(migration.request_id for migration in await cloud.migrations(server.id))
    await clouds.close()
    found = {
        "events": len(logged),
        "steps": len(steps),
        "moves": len(taken),
        "opened": len(opened),
        "steps_twice": [step for step, times in steps.items() if times > 1],
        "asked_twice": [request for request, times in taken.items() if times > 1],
        "broken": broken,
        "dead": dead,
        "not_on_kafka": sorted({event.id for event in logged} - on_kafka),
        "incidents_open": sorted(opened - set(closed)),
        "incidents_closed_twice": [one for one, times in closed.items() if times > 1],
        "plans_lost": sorted(set(json.loads(sys.argv[1])) - ended),
    }
    print(json.dumps(found))


asyncio.run(main())

"""Empties a host of the simulated cloud and shows what the topic says of it: `docker compose run --rm try`.

A watcher of your own looks like this one: events are CloudEvents in binary mode, and `ce_correlationid` joins a story.
"""

import asyncio
import json
import os
import sys
import urllib.request
from typing import Any

from aiokafka import AIOKafkaConsumer

from restow.clock import SystemClock
from restow.database.engine import Database
from restow_api.keys import make_key, revoke_key

API = os.environ.get("RESTOW_URL", "http://api:8080")
TOPIC = "restow.healing.v1"
ENDS = {f"restow.plan.{state}" for state in ("finished", "failed", "rejected", "cancelled", "stale")}
WAIT_S = 300


def asked(key: str, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    given = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, given, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


async def main() -> int:
    database = Database(os.environ["RESTOW_DATABASE_URL"])
    async with database.writing() as transaction:
        row, key = await make_key(
            transaction, SystemClock(), name=f"try-{os.getpid()}-{os.uname().nodename[:12]}", role="approver", by="try"
        )
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=os.environ["RESTOW_KAFKA_BOOTSTRAP"], auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return await asyncio.wait_for(watched(consumer, key), WAIT_S)
    finally:
        await consumer.stop()
        async with database.writing() as transaction:
            await revoke_key(transaction, SystemClock(), key=row.id, by="try")
        await database.close()


async def watched(consumer: AIOKafkaConsumer, key: str) -> int:
    """0 if the plan was carried out."""
    hosts = [host["name"] for host in asked(key, "GET", "/v1/hosts")["items"] if host["enabled"]]
    body = {
        "format": "restow.request/1",
        "goal": "evacuate",
        "hosts": hosts[:1],
        "mode": "auto",
        "reason": "a first try",
    }
    plan = asked(key, "POST", "/v1/plans", body)
    print(f"plan {plan['id']}: empty {hosts[0]}")
    async for message in consumer:
        headers = {name: value.decode() for name, value in message.headers}
        if headers.get("ce_correlationid") != plan["correlation"]:
            continue
        data = json.loads(message.value)
        told = [str(data[name]) for name in ("step", "action", "server", "from", "to", "outcome") if data.get(name)]
        print(headers["ce_time"][11:19], headers["ce_type"], *told, flush=True)
        if headers["ce_type"] in ENDS and data["plan"] == plan["id"]:
            return 0 if headers["ce_type"] == "restow.plan.finished" else 1
    return 1


sys.exit(asyncio.run(main()))

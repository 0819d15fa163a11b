"""A consumer of its own: BOOTSTRAP SECONDS CORRELATION; the types of that story's events on the topic, in order."""

import asyncio
import json
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.helpers import create_ssl_context

bootstrap, seconds, correlation = sys.argv[1], float(sys.argv[2]), sys.argv[3]
ENDS = {f"restow.plan.{state}" for state in ("finished", "failed", "rejected", "cancelled", "stale")}


async def main() -> None:
    consumer = AIOKafkaConsumer(
        "restow.healing.v1",
        bootstrap_servers=bootstrap,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username=Path("/etc/user/username").read_text(),
        sasl_plain_password=Path("/etc/user/password").read_text(),
        ssl_context=create_ssl_context(cafile="/etc/authority/ca.crt"),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    heard: list[str] = []
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and not ENDS & set(heard):
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                for message in messages:
                    headers = {name: value.decode() for name, value in message.headers}
                    if headers.get("ce_correlationid") == correlation:
                        heard.append(headers["ce_type"])
    finally:
        await consumer.stop()
    print(json.dumps(heard))


asyncio.run(main())

"""Two planners and two executors on four domains, killed at random under load; then the broker, then the database away.

Whatever is killed: no event is lost, no step is done twice, every incident ends with an outcome. The processes,
the broker and the database are real; only the cloud is simulated, in a process of its own that nobody kills.
"""

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from sqlalchemy import select

from restow.cloud.simulated.remote import RemoteClouds
from restow.database.engine import Database, event_of
from restow.database.tables import DeadLetterRow, EventRow
from restow.ids import DomainName
from restow.messages.events import Event, Topic
from support.processes import Fleet, Running
from support.real import Part

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

DOMAINS = ("north", "east", "south", "west")
KILL_S = float(os.environ.get("RESTOW_CHAOS_SECONDS", "120"))
AWAY_S = 20.0
CRASHED_S = 30.0
SETTLE_S = 240.0
ENDED = ("finished", "failed", "rejected", "cancelled", "stale")
POLICY: dict[str, Any] = {
    "format": "restow.policy/1",
    "evidence": {"quorum": 2, "patience_s": 2, "returned_s": 3, "poll_s": 1, "source_silent_s": 10},
    "blast_radius": {"hosts": 3, "share": 0.5, "window_s": 10},
    "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
}


class Load:
    """Asks for plans and crashes hosts until told to stop. Seeded; what the API refuses in between is no matter."""

    def __init__(self, http: httpx2.AsyncClient, hosts: dict[str, list[str]]) -> None:
        self.http = http
        self.hosts = hosts
        self.random = random.Random(7)
        self.accepted: list[str] = []
        self.crashes = 0
        self.clearing: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            domain = self.random.choice(DOMAINS)
            if number % 8 == 0:
                await self._crash(domain)
            else:
                await self._ask(domain, number)
            await asyncio.sleep(1.5)

    async def _ask(self, domain: str, number: int) -> None:
        host = self.random.choice(self.hosts[domain])
        goal: dict[str, Any] = self.random.choice(
            ({"goal": "rebalance", "threshold": 0.02}, {"goal": "evacuate", "hosts": [host]}, {"goal": "rebalance"})
        )
        body = {"format": "restow.request/1", "mode": "auto", "domain": domain, "limits": {"time_limit_s": 2}, **goal}
        answer = await self._post("/v1/plans", body, {"Idempotency-Key": f"load-{number}"})
        if answer is not None and answer.status_code == 202:
            self.accepted.append(answer.json()["id"])
        if goal["goal"] == "evacuate":
            await asyncio.sleep(1.5)
            await self._delete(f"/v1/hosts/{host}/maintenance?domain={domain}")

    async def _crash(self, domain: str) -> None:
        host = self.random.choice(self.hosts[domain])
        answer = await self._post("/v1/simulation/faults", {"kind": "host-crash", "host": host, "domain": domain})
        self.crashes += answer is not None and answer.status_code < 300
        self.clearing.append(asyncio.create_task(self._clear(host, domain)))

    async def _clear(self, host: str, domain: str) -> None:
        await asyncio.sleep(CRASHED_S)
        await self._delete(f"/v1/simulation/faults?host={host}&domain={domain}")

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> httpx2.Response | None:
        try:
            return await self.http.post(path, json=body, headers=headers)
        except httpx2.TransportError:
            return None

    async def _delete(self, path: str) -> None:
        try:
            await self.http.delete(path)
        except httpx2.TransportError:
            return


async def test_nothing_is_lost_or_done_twice_whatever_is_killed(
    tmp_path: Path, real_kafka: Part, real_postgres: Part, postgres_url: str
) -> None:
    fleet = Fleet(tmp_path, postgres_url, real_kafka.address, extra={"RESTOW_KAFKA_PARTITIONS": "8"})
    try:
        fleet.command("db", "upgrade")
        fleet.command("topics", "create")
        cloud = fleet.simulated_cloud(domains=",".join(DOMAINS), hosts=8)
        cloud.start()
        cloud.wait_ready("/livez")
        key = fleet.command("keys", "create", "chaos", "--role", "admin").split()[-1]
        api, detector = fleet.service("api", "api"), fleet.service("detector", "detector")
        workers = [fleet.service(f"{name}-{n}", name) for name in ("planner", "executor") for n in (1, 2)]
        for one in (api, detector, *workers):
            one.start()
        for one in (api, detector, *workers):
            one.wait_ready()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(base_url=api.url, headers=headers, timeout=30.0) as http:
            answer = await http.put("/v1/policies", json=POLICY)
            assert answer.status_code < 300, answer.text
            hosts = {domain: await _hosts(http, domain) for domain in DOMAINS}
            load = Load(http, hosts)
            loading = asyncio.create_task(load.run())
            await _kill_at_random(workers, seconds=KILL_S)
            print(f"{sum(one.kills for one in workers)} kills, {len(load.accepted)} plans asked for so far")
            await asyncio.to_thread(real_kafka.stop)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(real_kafka.start)
            await asyncio.sleep(10)
            await asyncio.to_thread(real_postgres.stop)
            await asyncio.sleep(AWAY_S)
            await asyncio.to_thread(real_postgres.start)
            await asyncio.sleep(10)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            for domain in DOMAINS:
                await http.delete(f"/v1/simulation/faults?domain={domain}")
            _start_again(workers)
            await _settled(http)
        assert load.accepted, "the load asked for nothing"
        assert load.crashes, "no host was crashed"
        await _judge(fleet, real_kafka.address, load)
    except BaseException:
        for one in fleet.running.values():
            print(f"--- {one.name}\n{one.tail()}")
        raise
    finally:
        fleet.stop()


async def _kill_at_random(workers: list[Running], *, seconds: float) -> None:
    chance = random.Random(11)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(2, 6))
        victim = chance.choice(workers)
        await asyncio.to_thread(victim.kill)
        await asyncio.sleep(chance.uniform(0, 2))
        victim.start()


def _start_again(workers: list[Running]) -> None:
    """A supervisor would: a process that gave up while the broker was away."""
    for one in workers:
        if one.process is None or one.process.poll() is not None:
            one.start()


async def _hosts(http: httpx2.AsyncClient, domain: str) -> list[str]:
    page = (await http.get(f"/v1/hosts?domain={domain}&limit=100")).json()
    return [host["name"] for host in page["items"]]


async def _all(http: httpx2.AsyncClient, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": "500", **({"cursor": cursor} if cursor else {})}
        page = (await http.get(path, params=params)).raise_for_status().json()
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


async def _settled(http: httpx2.AsyncClient) -> None:
    deadline = time.monotonic() + SETTLE_S
    for plan in await _all(http, "/v1/plans"):
        if plan["state"] in ("proposed", "approved"):  # what waits in line need not all be carried out in real time
            await http.post(f"/v1/plans/{plan['id']}/cancel", json={"why": "the test is over"})
    while True:
        plans = [plan for plan in await _all(http, "/v1/plans") if plan["state"] not in ENDED]
        incidents = [incident for incident in await _all(http, "/v1/incidents") if not incident.get("outcome")]
        if not plans and not incidents:
            return
        for incident in incidents:
            if incident["symptom"] == "returned-host":  # it asks for a person: here one looks, and says so
                body = {"why": "looked at: the host may come back"}
                await http.post(f"/v1/incidents/{incident['id']}/close", json=body)
        if time.monotonic() > deadline:
            told = [(plan["id"], plan["state"]) for plan in plans] + [(one["id"], one["symptom"]) for one in incidents]
            raise AssertionError(f"not settled within {SETTLE_S:.0f} s: {told[:10]}")
        await asyncio.sleep(1)


async def _judge(fleet: Fleet, bootstrap: str, load: Load) -> None:
    database = Database(fleet.database_url)
    try:
        async with database.reading() as session:
            logged = [event_of(row) for row in (await session.execute(select(EventRow))).scalars()]
            dead = (await session.execute(select(DeadLetterRow.reason))).scalars().all()
    finally:
        await database.close()
    assert not dead, f"set aside: {dead[:3]}"
    _judge_log(logged, load)
    published = await _on_kafka(bootstrap)
    missing = {event.id for event in logged} - published
    assert not missing, f"{len(missing)} of {len(logged)} events never reached Kafka"
    clouds = RemoteClouds(fleet.cloud_url)
    moves = 0
    try:
        for domain in DOMAINS:
            moves += await _judge_cloud(clouds, DomainName(domain))
    finally:
        await clouds.close()
    kinds = Counter(event.type for event in logged)
    print(f"{len(logged)} events, {len(load.accepted)} plans asked for, {load.crashes} crashes, {moves} moves; {kinds}")


def _judge_log(logged: list[Event], load: Load) -> None:
    steps = Counter((e.data["plan"], e.data["step"]) for e in logged if e.type == "restow.step.finished")
    assert steps, "no step was ever finished"
    twice = [step for step, times in steps.items() if times > 1]
    assert not twice, f"steps finished twice: {twice[:5]}"
    opened = {event.data["id"] for event in logged if event.type == "restow.incident.opened"}
    closed = Counter(event.data["id"] for event in logged if event.type == "restow.incident.closed")
    assert opened, "no incident was opened"
    assert set(closed) == opened
    assert set(closed.values()) == {1}
    ended = {event.data["plan"] for event in logged if event.type in {f"restow.plan.{state}" for state in ENDED}}
    assert set(load.accepted) <= ended


async def _judge_cloud(clouds: RemoteClouds, domain: DomainName) -> int:
    cloud = clouds.port(domain)
    broken = [one for one in await cloud.violations() if one.kind in ("two-places", "evacuated-twice", "capacity")]
    assert not broken, broken[:3]
    taken: Counter[str] = Counter()
    for server in (await cloud.read()).servers:
        taken.update(migration.request_id for migration in await cloud.migrations(server.id))
    assert not [request for request, times in taken.items() if times > 1]
    return len(taken)


async def _on_kafka(bootstrap: str) -> set[str]:
    """The ids of all events on all topics, each partition read to its end."""
    found: set[str] = set()
    topics = [topic.value for topic in Topic]
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        assert {one.topic for one in partitions} == set(topics)
        ends = await consumer.end_offsets(partitions)
        while [one for one, end in ends.items() if await consumer.position(one) < end]:
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found |= {dict(message.headers)["ce_id"].decode() for message in messages}
    finally:
        await consumer.stop()
    return found

"""The metrics of the stories: counted once for each event, and what is open as the views have it."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from restow.database.engine import DatabaseAwayError
from restow.database.tables import PositionRow
from restow.log.relay import POSITION
from restow.messages.events import Incident, IncidentClosed, PlanRequested, PlanState, Refusal, StepEvent
from restow.messages.request import parse_request
from support.front_door import a_front_door

DOMAIN = "of-the-metrics"  # counters live as long as the process: nobody else uses this one


async def scraped(client):
    """Values by the name of the sample and its labels, of this domain or of none."""
    text = (await client.get("/metrics")).text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("domain", DOMAIN) == DOMAIN
    }


async def test_a_story_is_counted_from_the_incident_to_its_end(tmp_path):
    async with a_front_door(tmp_path) as door, door.client("viewer") as client:
        before = await scraped(client)
        incident = Incident(id="i1", symptom="failed-host", hosts=("host-1",))
        first = door.first("restow.incident.opened", incident, subject="i1", domain=DOMAIN)
        await door.tell(first)
        door.clock.time += timedelta(seconds=4)
        request = parse_request(b'{"format": "restow.request/1", "goal": "recover", "hosts": ["host-1"]}')
        wanted = PlanRequested(plan="p1", request=request, requested_by="detector", incident="i1")
        await door.tell(door.effect(first, "restow.plan.requested", wanted, subject="p1"))
        door.clock.time += timedelta(seconds=6)
        state = PlanState(plan="p1", by="executor")
        await door.tell(door.effect(first, "restow.plan.started", state, subject="p1"))
        for step, seconds, end in (("a", 7.0, "finished"), ("b", 3.0, "failed")):
            one = StepEvent(plan="p1", step=step, action="evacuate", seconds=seconds)
            for word in ("started", end):
                told = door.effect(first, f"restow.step.{word}", one, subject="p1", effect=f"{step}{word}")
                await door.tell(told)
                await door.tell(told)  # heard twice, counted once
        door.clock.time += timedelta(seconds=10)

        refusal = Refusal(what="recover host-2", guard="fence", why="the power of host-2 is not known")
        await door.tell(door.effect(first, "restow.refusal", refusal, subject="host-2"))

        during = await scraped(client)
        assert during["restow_refusals_total", "fence", DOMAIN] == 1
        assert during["restow_open_incidents", "failed-host", DOMAIN] == 1
        assert during["restow_oldest_open_incident_seconds", DOMAIN] == 20
        assert during["restow_open_plans", DOMAIN, "running"] == 1
        assert during["restow_oldest_open_plan_seconds", DOMAIN, "running"] == 10
        assert during["restow_plans_total", DOMAIN, "recover", "requested"] == 1
        assert during["restow_plans_total", DOMAIN, "recover", "running"] == 1
        assert during["restow_steps_total", "evacuate", "finished", DOMAIN] == 1
        assert during["restow_steps_total", "evacuate", "failed", DOMAIN] == 1

        def grew(*name):
            return during[name] - before.get(name, 0)

        assert grew("restow_step_seconds_sum", "evacuate") == 7
        assert grew("restow_incident_reaction_seconds_sum", "failed-host") == 10
        assert grew("restow_incident_reaction_seconds_count", "failed-host") == 1

        await door.tell(door.effect(first, "restow.plan.failed", state, subject="p1", effect="end"))
        closed = IncidentClosed(id="i1", symptom="failed-host", outcome="needs-a-person", why="one step failed")
        await door.tell(door.effect(first, "restow.incident.closed", closed, subject="i1"))
        after = await scraped(client)
        assert after["restow_plans_total", "failed", DOMAIN, "recover"] == 1
        gone = ("restow_open_incidents", "restow_open_plans", "restow_oldest_open_incident_seconds")
        assert not [key for key in after if key[0] in gone and DOMAIN in key]


async def test_a_plan_that_a_person_asks_for_is_counted_once(tmp_path):
    async with a_front_door(tmp_path) as door, door.client("operator") as client:
        name = ("restow_plans_total", "evacuate", "region-one", "requested")

        async def asked():
            text = (await client.get("/metrics")).text
            found = [
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if (sample.name, *sorted(sample.labels.values())) == name
            ]
            return sum(found)

        before = await asked()
        body = {"format": "restow.request/1", "goal": "evacuate", "hosts": ["host-1"]}
        assert (await client.post("/v1/plans", json=body)).status_code == 202
        await door.settle()
        await door.settle()
        assert await asked() - before == 1


@pytest.mark.parametrize("trouble", ["away", "slow"])
async def test_metrics_are_told_while_the_database_is_away(tmp_path, monkeypatch, trouble):
    async def measure(_, *, now):
        if trouble == "away":
            raise DatabaseAwayError(f"away since {now}")
        await asyncio.sleep(60)

    monkeypatch.setattr("restow_api.metrics.measure", measure)
    async with a_front_door(tmp_path, check_timeout_s="0.2") as door, door.client("viewer") as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert "restow_http_requests_total" in answer.text


async def test_what_the_broker_has_not_taken_is_counted_where_there_is_a_relay(tmp_path):
    async with a_front_door(tmp_path) as door, door.client("viewer") as client:
        event = door.first("restow.incident.opened", Incident(id="i2", symptom="hot-host"), subject="i2")
        await door.tell(event, door.effect(event, "restow.incident.updated", Incident(id="i2", symptom="hot-host")))
        async with door.database.writing() as transaction:
            transaction.session.add(PositionRow(consumer=POSITION, seq=1))
        seen = await scraped(client)
        assert (seen["restow_relay_position",], seen["restow_relay_behind_events",]) == (1, 1)

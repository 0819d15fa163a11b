"""The console with something on every page, in the worst words that a stranger could choose."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from restow.database.documents import put_document
from restow.messages.events import Incident, PlanProposed, PlanState, StepEvent
from restow.messages.plan import Action, Blocker, Edge, Outcome, Plan, Step
from restow.messages.request import parse_request
from restow_api.access import SESSION_COOKIE
from restow_api.keys import csrf_token
from support.builders import a_cloud, a_host, a_server
from support.front_door import FrontDoor, TroubledPort, a_front_door

EVIL = "<script>alert('x')</script>\"'&"
PAGES = (
    "/",
    *(f"/console/{name}" for name in ("hosts", "servers", "incidents", "plans", "events", "policies", "audit")),
)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    cloud = a_cloud(
        [a_host("host-1", load={"cpu_cores": 7.5}), a_host(EVIL, enabled=False)],
        [a_server(f"s{n}", on="host-1", name=EVIL, project=EVIL) for n in range(70)],
    )
    async with a_front_door(tmp_path, clouds=(TroubledPort(cloud),)) as made:
        yield made


async def log_in(door: FrontDoor, client, role: str = "admin") -> str:
    assert (await client.post("/console/login", data={"key": door.keys[role]})).status_code == 303
    return csrf_token(client.cookies[SESSION_COOKIE])


async def fill(door: FrontDoor) -> str:
    """An incident and a plan under way, in evil words; the plan's id."""
    incident = Incident(id="i1", symptom="failed-host", hosts=(EVIL,), servers=(EVIL,), evidence=(EVIL,), why=EVIL)
    await door.tell(door.first("restow.incident.opened", incident, subject="i1", story="i1"))
    request = {"goal": "evacuate", "hosts": ["host-1"], "reason": EVIL}
    async with door.client("operator") as client:
        plan = (await client.post("/v1/plans", json=request)).json()["id"]
    command = (await door.log())[-1]
    made = Plan(
        id=plan, outcome=Outcome.PLAN, request=parse_request(request), domain="region-one", snapshot="sha256:0", seed=1,
        engine="test", before={"hosts_used": 2}, after={"hosts_used": 1}, not_modelled=(EVIL,), stays={"s1": EVIL},
        steps=(Step(id="a", action=Action.DISABLE_HOST, host="host-1"),
               Step(id="b", action=Action.LIVE_MIGRATE, server="s2", source="host-1", target=EVIL, why=EVIL,
                    waits_for=(Edge(step="a", because=EVIL),), end_s=3.0)),
        blockers=(Blocker(server="s4", rule=EVIL, why=EVIL, relaxation=EVIL),),
    )  # fmt: skip
    body = made.model_dump_json(by_alias=True).encode()
    async with door.database.writing() as transaction:
        digest = await put_document(transaction, body, kind="restow.plan/1", at=door.clock.now())
    answer = PlanProposed(plan=plan, outcome="plan", mode="propose", document=digest, snapshot="sha256:0", why=EVIL,
                          goal="evacuate", steps=2, moved_mib=1, makespan_s=3.0, blockers=1)  # fmt: skip
    started = PlanState(plan=plan, by=EVIL, why=EVIL)
    step = StepEvent(plan=plan, step="b", action="live-migrate", server="s2", source="host-1", target=EVIL, why=EVIL)
    await door.tell(
        door.effect(command, "restow.plan.proposed", answer),
        door.effect(command, "restow.plan.started", started),
        door.effect(command, "restow.step.failed", step),
    )
    return plan


async def test_every_page_is_whole_and_nothing_of_a_stranger_becomes_markup(door: FrontDoor):
    plan = await fill(door)
    async with door.client(None) as client:
        await log_in(door, client)
        for path in (*PAGES, f"/console/plans/{plan}", "/console/incidents/i1", "/console/hosts/host-1",
                     "/console/events?correlation=i1", "/console/servers?host=host-1"):  # fmt: skip
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text[-500:])
            assert "</html>" in answer.text
            scripts = re.findall(r"<script[^>]*>", answer.text)
            assert scripts == ['<script src="/console/static/live.js" defer>'], path
            assert "alert('x')" not in answer.text, path  # the quotes are escaped as well
            assert not re.search(r"\son\w+=|\sstyle=|javascript:", answer.text), path
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
        graph = await client.get(f"/console/plans/{plan}/graph.svg")
        assert (graph.status_code, "<script" in graph.text) == (200, False)


async def test_the_form_asks_for_a_plan_and_the_buttons_decide(door: FrontDoor):
    async with door.client(None) as client:
        token = {"csrf": await log_in(door, client)}
        form = {**token, "goal": "evacuate", "hosts": "host-1", "mode": "propose", "reason": "kernel", "document": ""}
        answer = await client.post("/console/plans", data=form)
        assert answer.status_code == 303, answer.text
        where = answer.headers["Location"]
        assert (await client.post(f"{where}/cancel", data={**token, "why": "never mind"})).status_code == 303
        refused = await client.post(f"{where}/resume", data=token)
        assert (refused.status_code, "Not possible now" in refused.text) == (409, True)
        document = {**token, "document": '{"goal": "rebalance", "mode": "dry-run"}'}
        assert (await client.post("/console/plans", data=document)).status_code == 303
        wrong = await client.post("/console/plans", data={**form, "hosts": "hots-1"})
        assert (wrong.status_code, "the closest: host-1" in wrong.text) == (422, True)
        assert (await client.post("/console/hosts/host-1/maintenance", data={**token, "reason": ""})).status_code == 303
        fault = {**token, "kind": "host-crash", "host": "host-1"}
        assert (await client.post("/console/faults", data=fault)).status_code == 303
    assert [event.type.removeprefix("restow.command.") for event in await door.log()] == [
        "plan.request", "plan.cancel", "plan.request", "host.maintenance",
    ]  # fmt: skip


async def test_the_policy_form_shows_mistakes_and_keeps_the_text(door: FrontDoor):
    async with door.client(None) as client:
        token = {"csrf": await log_in(door, client)}
        page = (await client.get("/console/policies")).text
        version = re.search(r'name="version" value="([^"]+)"', page)[1].replace("&#34;", '"')
        wrong = await client.post("/console/policies", data={**token, "text": "quorun: 1", "version": version})
        assert (wrong.status_code, "quorun" in wrong.text) == (422, True)
        good = await client.post("/console/policies/validate", data={**token, "text": "evidence: {quorum: 3}"})
        assert "No mistake found" in good.text
        put = await client.post(
            "/console/policies", data={**token, "text": "evidence: {quorum: 3}", "version": version}
        )
        assert put.status_code == 303
        late = await client.post(
            "/console/policies", data={**token, "text": "evidence: {quorum: 4}", "version": version}
        )
        assert late.status_code == 412


async def test_a_viewer_sees_no_buttons_that_act(door: FrontDoor):
    plan = await fill(door)
    async with door.client(None) as client:
        await log_in(door, client, "viewer")
        for path in ("/console/hosts/host-1", "/console/plans", f"/console/plans/{plan}", "/console/incidents/i1"):
            forms = re.findall(r'<form[^>]*action="([^"]+)"', (await client.get(path)).text)
            assert forms == ["/console/logout"], path


async def test_the_way_in_is_open_and_a_wrong_key_is_told(door: FrontDoor):
    async with door.client(None) as client:
        page = await client.get("/")
        assert (page.status_code, "API key" in page.text) == (200, True)
        wrong = await client.post("/console/login", data={"key": "nonsense"})
        assert (wrong.status_code, "No valid key" in wrong.text) == (401, True)
        assert (await client.get("/console/static/../../keys.py")).status_code in (401, 404)
        assert (await client.get("/console/static/keys.py")).status_code == 404


async def test_a_cloud_that_is_away_leaves_the_overview_standing(door: FrontDoor):
    from restow.errors import TransientError

    await fill(door)
    door.app.state.front.clouds._kept.clear()
    door.ports[0].away = TransientError("no route")
    async with door.client(None) as client:
        await log_in(door, client)
        page = await client.get("/")
        assert (page.status_code, "no route" in page.text) == (200, True)
        assert (await client.get("/console/hosts")).status_code == 503

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
from support.front_door import FrontDoor, StillPort, TroubledPort, a_front_door

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


async def test_on_a_telephone_every_cell_of_a_table_says_what_it_is(door: FrontDoor):
    plan = await fill(door)
    async with door.client(None) as client:
        await log_in(door, client)
        for path in (*PAGES, f"/console/plans/{plan}", "/console/incidents/i1", "/console/hosts/host-1"):
            for table in re.findall(
                r"<table(?! class=\"narrow\").*?</table>", (await client.get(path)).text, re.DOTALL
            ):
                heads = re.findall(r"<th>(.*?)</th>", table)
                for row in re.findall(r"<tr>(<td.*?)</tr>", table, re.DOTALL):
                    if 'class="none"' not in row:
                        assert re.findall(r'<td[^>]* data-label="([^"]*)"', row) == heads, (path, row)
                        assert row.count("<td") == len(heads)
        style = (await client.get("/console/static/console.css")).text
        assert "content: attr(data-label)" in style


async def test_a_host_that_is_nearly_full_is_not_shown_as_full_and_one_in_maintenance_as_such(tmp_path: Path):
    cloud = a_cloud([a_host("host-1", vcpu=1000)], [a_server("s1", on="host-1", vcpu=996)])
    async with a_front_door(tmp_path, clouds=(StillPort(cloud),)) as door, door.client(None) as client:
        token = {"csrf": await log_in(door, client)}
        shown = (await client.get("/console/hosts/host-1")).text
        assert ("99%" in shown, "100%" in shown, ">maintenance</span>" in shown) == (True, False, False)
        await client.post("/console/hosts/host-1/maintenance", data={**token, "reason": ""})
        assert ">maintenance</span>" in (await client.get("/console/hosts/host-1")).text


async def test_a_policy_that_heals_nothing_is_warned_of_and_one_of_another_domain_refused(door: FrontDoor):
    async with door.client(None) as client:
        token = {"csrf": await log_in(door, client)}
        empty = {**token, "text": "format: restow.policy/1\nrules: []"}
        assert "no incident is healed" in (await client.post("/console/policies/validate", data=empty)).text
        other = "format: restow.policy/1\nrules: [{incident: imbalance, scope: {domains: [nowhere]}}]"
        wrong = await client.post("/console/policies/validate", data={**token, "text": other})
        assert (wrong.status_code, "rules.0.scope.domains.0" in wrong.text) == (422, True)


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
        good = await client.post(
            "/console/policies/validate", data={**token, "text": "format: restow.policy/1\nevidence: {quorum: 3}"}
        )
        assert "No mistake found" in good.text
        put = await client.post(
            "/console/policies",
            data={**token, "text": "format: restow.policy/1\nevidence: {quorum: 3}", "version": version},
        )
        assert put.status_code == 303
        late = await client.post(
            "/console/policies",
            data={**token, "text": "format: restow.policy/1\nevidence: {quorum: 4}", "version": version},
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

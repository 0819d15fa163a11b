"""The endpoints, one by one, over a cloud that stands still."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from restow.database.documents import put_document
from restow.errors import TransientError
from restow.messages.events import Incident, IncidentClosed, PlanProposed, PlanState, StepEvent
from restow.messages.plan import Action, Blocker, Edge, Outcome, Plan, Step
from restow.messages.request import parse_request
from restow.policy import DEFAULT_POLICY
from restow_api.folding import undo_plan_id
from support.front_door import FrontDoor, StillPort, TroubledPort, a_front_door, small_cloud

EVACUATE = {"goal": "evacuate", "hosts": ["host-1"], "reason": "kernel"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with a_front_door(tmp_path) as made:
        yield made


async def asked(door: FrontDoor, role: str = "operator", **other: Any) -> str:
    async with door.client(role) as client:
        answer = await client.post("/v1/plans", json={**EVACUATE, **other})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]


async def proposed(door: FrontDoor, plan: str) -> None:
    """What the planner would answer: two steps, one after the other."""
    command = next(event for event in await door.log() if event.subject == plan)
    made = Plan(
        id=plan, outcome=Outcome.PLAN, request=parse_request(EVACUATE), domain="region-one", snapshot="sha256:0",
        seed=1, engine="test", before={"hosts_used": 2}, after={"hosts_used": 1},
        steps=(Step(id="st1", action=Action.DISABLE_HOST, host="host-1", why="no new arrivals"),
               Step(id="st2", action=Action.LIVE_MIGRATE, server="s2", source="host-1", target="host-2",
                    waits_for=(Edge(step="st1", because="host-1 <takes> none in"),), end_s=3.0)),
        blockers=(Blocker(server="s4", rule="capacity", why="no room", relaxation="raise <limits>"),),
    )  # fmt: skip
    async with door.database.writing() as transaction:
        digest = await put_document(
            transaction, made.model_dump_json(by_alias=True).encode(), kind="restow.plan/1", at=door.clock.now()
        )
    answer = PlanProposed(plan=plan, outcome="plan", mode="propose", document=digest, snapshot="sha256:0",
                          goal="evacuate", steps=2, moved_mib=1, makespan_s=3.0, blockers=1)  # fmt: skip
    await door.tell(door.effect(command, "restow.plan.proposed", answer))


async def becomes(door: FrontDoor, plan: str, *words: str) -> None:
    command = next(event for event in await door.log() if event.subject == plan)
    for word in words:
        state = PlanState(plan=plan, by="bob", why=f"{word} for a reason")
        await door.tell(door.effect(command, f"restow.plan.{word}", state))


# --- asking ------------------------------------------------------------------------------------


async def test_a_request_is_there_the_moment_it_was_asked_for(door: FrontDoor):
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with door.client("operator", traceparent=trace) as client:
        answer = await client.post("/v1/plans", json=EVACUATE)
        assert answer.status_code == 202, answer.text
        plan = (await client.get(answer.headers["Location"])).json()
    assert (plan["state"], plan["created_by"], plan["plan"]) == ("requested", "the-operator", None)
    (event,) = await door.log()
    assert (event.type, event.subject, event.correlation) == ("restow.command.plan.request", plan["id"], plan["id"])
    assert (event.traceparent, event.data["request"]["hosts"]) == (trace, ["host-1"])
    await door.settle()
    async with door.client("viewer") as client:
        assert [one["id"] for one in (await client.get("/v1/plans?state=requested")).json()["items"]] == [plan["id"]]
        assert (await client.get("/v1/plans?state=proposed")).json() == {"items": [], "next": None}


BAD = [
    (b"{", 400, None), (b"", 400, None), (b"\xff", 400, None), (b'{"goal": NaN}', 400, None),
    (b"[" * 100_000, 400, None),
    (b"[]", 422, "(document)"), (b"null", 422, "(document)"), (b"{}", 422, "goal"), (b'{"goal": "fly"}', 422, "goal"),
    (b'{"goal": "evacuate"}', 422, "hosts"), (b'{"goal": "evacuate", "hosts": []}', 422, "hosts"),
    (b'{"goal": "evacuate", "hosts": "host-1"}', 422, "hosts"),
    (b'{"goal": "evacuate", "hosts": ["hots-1"]}', 422, "hosts.0"),
    (b'{"goal": "rebalance", "treshold": 1}', 422, "treshold"),
    (b'{"goal": "rebalance", "threshold": "1"}', 422, "threshold"),
    (b'{"goal": "rebalance", "threshold": 7}', 422, "threshold"),
    (b'{"goal": "rebalance", "mode": "now"}', 422, "mode"),
    (b'{"goal": "rebalance", "domain": "nowhere"}', 422, "domain"),
    (b'{"goal": "rebalance", "limits": {"time_limit_s": 0}}', 422, "limits.time_limit_s"),
    (b'{"goal": "rebalance", "limits": {"moves": -1}}', 422, "limits.moves"),
    (b'{"goal": "rebalance", "seed": 1.5}', 422, "seed"),
    (b'{"goal": "rebalance", "format": "restow.request/9"}', 422, "format"),
    (b'{"goal": "reach", "targets": {"s1": 5}}', 422, "targets.s1"),
    (b'{"goal": "then", "goals": [{"goal": "evacuate", "hosts": ["x"]}]}', 422, "goals.0.hosts.0"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field"), BAD)
async def test_bad_input_is_refused_with_every_wrong_field_and_nothing_happens(
    door: FrontDoor, body: bytes, status: int, field: str | None
):
    async with door.client("operator") as client:
        answer = await client.post("/v1/plans", content=body, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    assert (problem["status"], problem["instance"]) == (status, "/v1/plans")
    if field is not None:
        assert field in [one["field"] for one in problem["errors"]]
        assert all(set(one) == {"field", "value", "expected"} for one in problem["errors"])
    assert await door.log() == []


async def test_the_closest_name_is_told(door: FrontDoor):
    async with door.client("operator") as client:
        problem = (await client.post("/v1/plans", json={"goal": "evacuate", "hosts": ["hots-1"]})).json()
    assert "host-1" in problem["errors"][0]["expected"]


async def test_the_media_type_and_unknown_parameters_are_looked_at(door: FrontDoor):
    async with door.client("operator") as client:
        assert (await client.post("/v1/plans", data={"goal": "rebalance"})).status_code == 415
        for path in ("/v1/hosts?limit=0", "/v1/hosts?limit=1001", "/v1/hosts?limt=5", "/v1/hosts?cursor=x",
                     "/v1/plans?state=odd", "/v1/servers?host=a&host=b",
                     "/v1/hosts?zone=%00", "/v1/events?type=x"):  # fmt: skip
            answer = await client.get(path)
            assert answer.status_code == 422, path
            assert answer.json()["errors"], path


async def test_unknown_paths_and_methods_are_problems_with_the_full_allow(door: FrontDoor):
    async with door.client() as client:
        nothing = await client.get("/v1/nothing")
        assert (nothing.status_code, nothing.headers["Content-Type"]) == (404, "application/problem+json")
        wrong = await client.delete("/v1/policies")
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, PUT")
        assert wrong.json()["status"] == 405
        assert (await client.put("/v1/hosts/host-1/maintenance")).headers["Allow"] == "DELETE, POST"


async def test_a_body_too_large_is_refused_announced_or_streamed(tmp_path: Path):
    async with a_front_door(tmp_path, http_body_max_bytes="2000") as door, door.client("operator") as client:
        headers = {"Content-Type": "application/json"}
        assert (await client.post("/v1/plans", content=b"x" * 3000, headers=headers)).status_code == 413
        taken = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            for _ in range(1000):
                taken += 1
                yield b"x" * 1000

        answer = await client.post("/v1/plans", content=endless(), headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")


async def test_a_cloud_or_database_that_is_away_is_503(tmp_path: Path):
    port = StillPort(small_cloud(), away=TransientError("connection refused"))
    async with a_front_door(tmp_path, clouds=(port,)) as door, door.client() as client:
        for answer in (await client.get("/v1/hosts"), await client.post("/v1/plans", json=EVACUATE)):
            assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
            assert "Retry-After" in answer.headers
        await door.database.close()  # no open connection outlives its file
        (tmp_path / "t.db").rename(tmp_path / "gone")
        (tmp_path / "t.db").mkdir()
        for file in ("t.db-wal", "t.db-shm"):
            (tmp_path / file).unlink(missing_ok=True)
        answer = await client.get("/v1/plans")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        for thread in threading.enumerate():  # a connection that failed to open ends behind our back
            if "_connection_worker_thread" in thread.name:
                await asyncio.to_thread(thread.join, 5.0)


async def test_the_cloud_is_read_once_for_many(tmp_path: Path):
    async with a_front_door(tmp_path, cloud_cache_s="60") as door, door.client("viewer") as client:
        for _ in range(5):
            assert (await client.get("/v1/hosts")).status_code == 200
        assert door.ports[0].reads == 1


async def test_idempotency_same_key_same_body_is_done_once(door: FrontDoor):
    headers = {"Idempotency-Key": "k1"}
    async with door.client("operator") as client:
        first = await client.post("/v1/plans", json=EVACUATE, headers=headers)
        again = await client.post("/v1/plans", json=dict(reversed(EVACUATE.items())), headers=headers)
        assert (again.status_code, again.json(), again.headers["Location"]) == (
            202, first.json(), first.headers["Location"],
        )  # fmt: skip
        assert len(await door.log()) == 1
        other = await client.post("/v1/plans", json={**EVACUATE, "hosts": ["host-2"]}, headers=headers)
        assert (other.status_code, other.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
        for bad in ("", "x" * 256, "a b", "ü"):
            wrong = await client.post("/v1/plans", json=EVACUATE, headers={"Idempotency-Key": bad.encode("latin-1")})
            assert wrong.status_code == 422, bad
    async with door.client("approver") as client:  # another caller's key is another key
        assert (await client.post("/v1/plans", json=EVACUATE, headers=headers)).json()["id"] != first.json()["id"]


async def test_an_idempotency_key_is_forgotten_after_its_time(door: FrontDoor):
    headers = {"Idempotency-Key": "k1"}
    async with door.client("operator") as client:
        first = (await client.post("/v1/plans", json=EVACUATE, headers=headers)).json()["id"]
        door.clock.time += timedelta(days=30)  # a simulated cloud may run fast
        await door.app.state.front.put_away()
        assert (await client.post("/v1/plans", json=EVACUATE, headers=headers)).json()["id"] == first
        door.wall.time += timedelta(days=2)
        await door.app.state.front.put_away()
        assert (await client.post("/v1/plans", json=EVACUATE, headers=headers)).json()["id"] != first


async def test_mode_auto_by_people_needs_an_approver(door: FrontDoor):
    async with door.client("operator") as client:
        assert (await client.post("/v1/plans", json={**EVACUATE, "mode": "auto"})).status_code == 403
    assert await door.log() == []
    async with door.client("admin") as client:
        audit = (await client.get("/v1/audit")).json()["items"]
    (entry,) = [one for one in audit if one["result"] == "refused"]
    assert entry["action"] == "plan.request"
    assert "mode auto needs the role approver" in entry["why"]
    await asked(door, "approver", mode="auto")
    (command,) = await door.log()
    assert command.data["approved_by"] == "the-approver", "not the policy has let it run"


async def test_of_approve_and_reject_at_the_same_time_the_first_counts(door: FrontDoor):
    plan = await asked(door)
    await proposed(door, plan)
    async with door.client("approver") as client:
        answers = await asyncio.gather(*(client.post(f"/v1/plans/{plan}/{verb}") for verb in ("approve", "reject")))
        assert sorted(answer.status_code for answer in answers) == [202, 409]
        assert (await client.post(f"/v1/plans/{plan}/approve")).status_code in (202, 409)
        audit = (await client.get("/v1/audit", params={"subject": plan})).json()["items"]
    orders = [event for event in await door.log() if event.type.endswith((".approve", ".reject"))]
    assert len(orders) == 1
    assert {one["result"] for one in audit if one["action"] in ("plan.approve", "plan.reject")} >= {
        "accepted",
        "refused",
    }


async def test_what_if_is_always_a_dry_run_on_the_changed_cloud(door: FrontDoor):
    new = {"name": "new", "capacity": {"vcpu": 8, "memory_mib": 8192}}
    body = {"request": {"goal": "evacuate", "hosts": ["host-1"], "mode": "auto"},
            "changes": {"add_hosts": [new], "remove_hosts": ["host-3"], "head_room": 0.1}}  # fmt: skip
    async with door.client("operator") as client:
        answer = await client.post("/v1/what-if", json=body)
        assert (answer.status_code, answer.json()["mode"]) == (202, "dry-run")
        wrong = await client.post("/v1/what-if", json={**body, "changes": {"remove_hosts": ["x"], "head_room": 2}})
        assert wrong.status_code == 422
    (event,) = await door.log()
    assert (event.data["request"]["mode"], event.data["changes"]["remove_hosts"]) == ("dry-run", ["host-3"])


# --- deciding ----------------------------------------------------------------------------------


async def test_a_plan_is_proposed_approved_carried_out_and_undone(door: FrontDoor):
    plan = await asked(door)
    await proposed(door, plan)
    async with door.client("approver") as client:
        seen = (await client.get(f"/v1/plans/{plan}")).json()
        assert (seen["state"], seen["plan"]["format"], seen["possible"]) == (
            "proposed", "restow.plan/1", ["approve", "reject", "cancel"],
        )  # fmt: skip
        assert (await client.post(f"/v1/plans/{plan}/pause")).status_code == 409
        assert (await client.post(f"/v1/plans/{plan}/approve", json={"why": "looks good"})).status_code == 202
        await client.post(f"/v1/plans/{plan}/approve")  # a second click
        assert [event.data["by"] for event in await door.log(type="restow.command.plan.approve")] == ["the-approver"]
        await becomes(door, plan, "approved", "started")
        command = (await door.log())[0]
        step = StepEvent(plan=plan, step="st1", action="disable-host", host="host-1", seconds=1.5)
        await door.tell(door.effect(command, "restow.step.started", step, effect="a"))
        await door.tell(door.effect(command, "restow.step.finished", step, effect="b"))
        steps = (await client.get(f"/v1/plans/{plan}/steps?limit=1")).json()
        assert [(one["id"], one["state"], one["seconds"]) for one in steps["items"]] == [("st1", "finished", 1.5)]
        rest = (await client.get(f"/v1/plans/{plan}/steps", params={"cursor": steps["next"]})).json()
        assert [(one["id"], one["state"]) for one in rest["items"]] == [("st2", "waiting")]
        assert (await client.post(f"/v1/plans/{plan}/approve")).status_code == 409
        assert (await client.post(f"/v1/plans/{plan}/pause")).status_code == 202
        await becomes(door, plan, "finished")
        refused = await client.post(f"/v1/plans/{plan}/cancel")
        assert (refused.status_code, "finished" in refused.json()["detail"]) == (409, True)
        undone = await client.post(f"/v1/plans/{plan}/undo")
        assert undone.headers["Location"] == f"/v1/plans/{undo_plan_id(plan)}"
        assert (await client.post(f"/v1/plans/{plan}/undo")).status_code == 409
        assert (await client.post("/v1/plans/none/approve")).status_code == 404


async def test_the_graph_is_json_dot_or_svg(door: FrontDoor):
    plan = await asked(door)
    async with door.client("viewer") as client:
        assert (await client.get(f"/v1/plans/{plan}/graph")).status_code == 409
        await proposed(door, plan)
        for form, kind in (("json", "application/json"), ("dot", "text/vnd.graphviz"), ("svg", "image/svg+xml")):
            answer = await client.get(f"/v1/plans/{plan}/graph?format={form}")
            assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, kind)
            assert "st2" in answer.text
        assert (await client.get(f"/v1/plans/{plan}/graph?format=png")).status_code == 422


async def test_who_has_seen_the_event_finds_the_state_before_the_view_has_it(door: FrontDoor):
    plan = await asked(door)
    await proposed(door, plan)
    command = (await door.log())[0]
    event = door.effect(command, "restow.plan.rejected", PlanState(plan=plan, by="ann", why="no"))
    async with door.database.writing() as transaction:  # in the log, and the handler has not seen it
        transaction.emit(event)
    async with door.client("approver") as client:
        assert (await client.get(f"/v1/plans/{plan}")).json()["state"] == "rejected"
        assert (await client.post(f"/v1/plans/{plan}/approve")).status_code == 409


async def test_with_a_second_pair_of_eyes_nobody_approves_the_own_plan(tmp_path: Path):
    async with a_front_door(tmp_path, second_pair_of_eyes="true") as door:
        plan = await asked(door, "approver")
        await proposed(door, plan)
        async with door.client("approver") as client:
            assert (await client.post(f"/v1/plans/{plan}/approve")).status_code == 403
            assert (await client.post("/v1/plans", json={**EVACUATE, "mode": "auto"})).status_code == 403
        async with door.client("admin") as client:
            assert (await client.post(f"/v1/plans/{plan}/approve")).status_code == 202


async def test_pages_of_plans_are_stable_while_new_ones_come(door: FrontDoor):
    plans = []
    for _ in range(5):
        plans.append(await asked(door))
        door.clock.time += timedelta(seconds=1)
    async with door.client("viewer") as client:
        first = (await client.get("/v1/plans?limit=2")).json()
        await asked(door)
        second = (await client.get("/v1/plans", params={"limit": 2, "cursor": first["next"]})).json()
        third = (await client.get("/v1/plans", params={"limit": 2, "cursor": second["next"]})).json()
    found = [one["id"] for page in (first, second, third) for one in page["items"]]
    assert (found, third["next"]) == (plans[::-1], None)


# --- incidents, maintenance, policy, faults, signals ---------------------------------------------


async def test_an_incident_is_seen_acknowledged_and_closed_once(door: FrontDoor):
    opened = door.first("restow.incident.opened", Incident(id="i1", symptom="failed-host", hosts=("host-1",)),
                        subject="i1", story="i1")  # fmt: skip
    await door.tell(opened)
    async with door.client("operator") as client:
        assert (await client.get("/v1/incidents?host=host-1&state=open")).json()["items"][0]["id"] == "i1"
        assert (await client.get("/v1/incidents?host=host")).json()["items"] == []
        seen = await client.post("/v1/incidents/i1/acknowledge")
        assert (seen.status_code, seen.json()["acknowledged_by"]) == (202, "the-operator")
        assert (await client.post("/v1/incidents/i1/close", json={"why": "mended"})).status_code == 202
        closed = IncidentClosed(id="i1", symptom="failed-host", hosts=("host-1",), outcome="cleared", why="mended")
        await door.tell(door.effect(opened, "restow.incident.closed", closed))
        one = (await client.get("/v1/incidents/i1")).json()
        assert (one["state"], one["outcome"], one["plans"], one["acknowledged_by"]) == (
            "closed", "cleared", [], "the-operator",
        )  # fmt: skip
        for verb in ("acknowledge", "close"):
            assert (await client.post(f"/v1/incidents/i1/{verb}")).status_code == 409
        assert (await client.get("/v1/incidents/other")).status_code == 404


async def test_that_somebody_has_seen_it_is_not_why_an_incident_is_there(door: FrontDoor):
    told = Incident(id="i1", symptom="failed-host", hosts=("host-1",), why="3 sources say that host-1 is dead")
    await door.tell(door.first("restow.incident.opened", told, subject="i1", story="i1"))
    async with door.client("operator") as client:
        assert (await client.post("/v1/incidents/i1/acknowledge")).status_code == 202
        (command,) = await door.log(type="restow.command.incident.acknowledge")
        seen = told.model_copy(update={"why": "acknowledged by the-operator"})
        update = door.effect(command, "restow.incident.updated", seen)
        async with door.database.writing() as transaction:
            transaction.emit(update)
        for _ in range(2):  # before the views have heard of it, and after
            one = (await client.get("/v1/incidents/i1")).json()
            assert (one["why"], one["acknowledged_by"]) == (told.why, "the-operator")
            await door.settle()
        newer = told.model_copy(update={"why": "plan p is at work"})
        await door.tell(door.effect(update, "restow.incident.updated", newer))
        assert (await client.get("/v1/incidents/i1")).json()["why"] == "plan p is at work"


async def test_a_host_in_maintenance_is_seen_to_be_so_until_it_ends(door: FrontDoor):
    async with door.client("approver") as client:
        await client.get("/v1/hosts")  # the picture of the cloud is fresh, and is not read again
        await client.post("/v1/hosts/host-1/maintenance")
        for path in ("/v1/hosts/host-1", "/v1/hosts", "/v1/cloud"):
            found = (await client.get(path)).json()
            hosts = {one["name"]: one for one in found.get("items") or found.get("hosts") or [found]}
            assert hosts["host-1"]["maintenance"] is True, path
            assert not any(one["maintenance"] for name, one in hosts.items() if name != "host-1"), path
        assert (await client.get("/v1/hosts/host-1")).json()["takes_servers"] is False
        await client.delete("/v1/hosts/host-1/maintenance")
        assert (await client.get("/v1/hosts/host-1")).json()["maintenance"] is False


async def test_a_host_that_is_up_is_recovered_only_where_an_incident_calls_it_failed(door: FrontDoor):
    recover = {"goal": "recover", "hosts": ["host-1"]}
    async with door.client("operator") as client:
        refused = await client.post("/v1/plans", json={"goal": "then", "goals": [recover, {"goal": "rebalance"}]})
        (error,) = refused.json()["errors"]
        assert (refused.status_code, error["field"]) == (422, "goals.0.hosts.0")
        assert "evacuate" in error["expected"]
        lost = {"changes": {"lose_hosts": ["host-1"]}, "request": recover}
        assert (await client.post("/v1/what-if", json=lost)).status_code == 202
        incident = Incident(id="i1", symptom="failed-host", hosts=("host-1",))
        await door.tell(door.first("restow.incident.opened", incident, subject="i1", story="i1"))
        assert (await client.post("/v1/plans", json=recover)).status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "field", "value"),
    [
        ("/v1/what-if", {"request": {"goal": "evacuate", "hosts": [["x"]]}}, "request.hosts.0", ["x"]),
        ("/v1/what-if", {"request": {"goal": "then", "goals": [{"goal": "no"}]}}, "request.goals.0.goal", "no"),
        ("/v1/what-if", {"request": {"goal": "evacuate", "hosts": ["x"]}}, "request.hosts.0", "x"),
        ("/v1/what-if", {"changes": {"lose_hosts": [7]}, "request": EVACUATE}, "changes.lose_hosts.0", 7),
        ("/v1/what-if", {"changes": {"remove_hosts": ["x"]}, "request": EVACUATE}, "changes.remove_hosts.0", "x"),
        ("/v1/plans", {"goal": "then", "goals": [EVACUATE, {"goal": "foo"}]}, "goals.1.goal", "foo"),
        ("/v1/plans", {"goal": "evacuate", "hosts": {"a": None}}, "hosts", {"a": None}),
        ("/v1/plans", {"goal": "defragment", "shape": {"vcpu": 0}}, "shape.vcpu", 0),
    ],
)
async def test_errors_name_the_place_in_the_document_and_the_value_as_it_was_given(
    door: FrontDoor, path: str, body: dict[str, Any], field: str, value: Any
):
    async with door.client("operator") as client:
        answer = await client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == (field, value)
    assert "None" not in answer.json()["detail"]


async def test_a_key_that_stands_twice_is_named(door: FrontDoor):
    twice = b'{"goal": "evacuate", "hosts": ["host-1"], "limits": {"moves": 1, "moves": 9}}'
    async with door.client("admin") as client:
        answer = await client.post("/v1/plans", content=twice, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "limits.moves")
        twice = b"format: restow.policy/1\nthresholds:\n  hot: 0.9\n  hot: 0.8\n"
        answer = await client.put("/v1/policies", content=twice, headers={"Content-Type": "application/yaml"})
        assert answer.status_code == 422
        assert ("line 4" in answer.text, "hot" in answer.json()["errors"][0]["value"]) == (True, True)
    assert await door.log() == []


async def test_what_validates_can_be_put_and_what_it_does_is_told(door: FrontDoor):
    def with_rules(*rules: dict[str, Any]) -> dict[str, Any]:
        return {"format": "restow.policy/1", "rules": list(rules)}

    async with door.client("admin") as client:
        for wrong in (
            with_rules({"incident": "failed-host", "scope": {"domains": ["nowhere"]}}),
            with_rules({"incident": "imbalance", "goal": "rebalance", "options": {"threshold": 7}}),
        ):
            checked, put = (
                await client.post("/v1/policies/validate", json=wrong), await client.put("/v1/policies", json=wrong)
            )  # fmt: skip
            assert (checked.status_code, put.status_code) == (422, 422)
            assert checked.json()["errors"] == put.json()["errors"]
        assert checked.json()["errors"][0]["field"] == "rules.0.options.threshold"
        silent = (await client.post("/v1/policies/validate", json=with_rules())).json()
        assert "no incident is healed" in silent["warnings"][0]
        kept = await client.put("/v1/policies", json={"format": "restow.policy/1", "thresholds": {"hot": 0.9}})
        assert kept.json()["rules"] == DEFAULT_POLICY.dump()["rules"]
        assert (await client.put("/v1/policies", json={"thresholds": {"hot": 0.9}})).status_code == 422


async def test_a_plan_that_ended_without_a_document_says_why_it_has_none(door: FrontDoor):
    plan = await asked(door)
    async with door.client("viewer") as client:
        assert "yet" in (await client.get(f"/v1/plans/{plan}/graph")).json()["detail"]
        await becomes(door, plan, "failed")
        told = (await client.get(f"/v1/plans/{plan}/graph")).json()["detail"]
    assert ("yet" in told, "failed for a reason" in told) == (False, True)


async def test_maintenance_is_asked_for_and_ended(door: FrontDoor):
    async with door.client("approver") as client:
        answer = await client.post("/v1/hosts/host-1/maintenance", json={"reason": "RAM"})
        assert (answer.status_code, answer.json()["on"]) == (202, True)
        assert (await client.delete("/v1/hosts/host-1/maintenance")).status_code == 202
        assert (await client.post("/v1/hosts/host-9/maintenance")).status_code == 404
        assert (await client.post("/v1/hosts/host-1/maintenance", json={"raeson": "x"})).status_code == 422
    told = [(event.subject, event.data["on"], event.data["by"]) for event in await door.log()]
    assert told == [("host-1", True, "the-approver"), ("host-1", False, "the-approver")]


async def test_hosts_and_servers_are_paged_and_filtered(door: FrontDoor):
    async with door.client("viewer") as client:
        page = (await client.get("/v1/hosts?limit=2")).json()
        rest = (await client.get("/v1/hosts", params={"cursor": page["next"]})).json()
        assert [one["name"] for one in page["items"] + rest["items"]] == ["host-1", "host-2", "host-3"]
        assert page["items"][0]["used"]["vcpu"] == page["items"][0]["servers"] == 3
        servers = (await client.get("/v1/servers?host=host-2&project=p1")).json()["items"]
        assert [one["id"] for one in servers] == ["s1", "s3", "s5", "s7"]
        assert (await client.get("/v1/servers/s1")).json()["name"] == "web-1"
        assert (await client.get("/v1/servers/s99")).status_code == 404
        unknown = (await client.get("/v1/servers?host=host-9")).json()
        assert (unknown["status"], unknown["errors"][0]["field"]) == (422, "host")
        assert (await client.get("/v1/cloud")).json()["format"] == "restow.cloud/1"


async def test_with_several_domains_a_request_names_its_own(tmp_path: Path):
    ports = (StillPort(small_cloud("one")), StillPort(small_cloud("two")))
    async with a_front_door(tmp_path, clouds=ports) as door, door.client() as client:
        wrong = (await client.post("/v1/plans", json=EVACUATE)).json()
        assert wrong["errors"] == [{"field": "domain", "value": "(absent)", "expected": "one of one, two"}]
        assert (await client.post("/v1/plans", json={**EVACUATE, "domain": "two"})).json()["domain"] == "two"
        assert len((await client.get("/v1/hosts")).json()["items"]) == 6
        assert (await client.get("/v1/cloud")).status_code == 422


async def test_a_policy_is_read_put_and_guarded_by_its_version(door: FrontDoor):
    async with door.client("admin") as client:
        answer = await client.get("/v1/policies")
        policy, version = answer.json(), answer.headers["ETag"]
        assert policy == DEFAULT_POLICY.dump()
        text = (await client.get("/v1/policies", headers={"Accept": "application/yaml"})).text
        yaml = {"Content-Type": "application/yaml"}
        changed = text.replace("quorum: 2", "quorum: 3")
        put = await client.put("/v1/policies", content=changed, headers={**yaml, "If-Match": version})
        assert (put.status_code, put.json()["evidence"]["quorum"]) == (200, 3)
        assert (await client.get("/v1/policies")).json()["evidence"]["quorum"] == 3
        assert (await client.put("/v1/policies", json=policy, headers={"If-Match": version})).status_code == 412
        for rest in ("evidence: {quorum: 1}", "rules: [{incident: rain}]", "a: b: c", "- 1", "quorun: 2", "format: x"):
            broken = f"format: restow.policy/1\n{rest}"
            wrong = await client.put("/v1/policies", content=broken, headers=yaml)
            assert (wrong.status_code, bool(wrong.json()["errors"])) == (422, True), broken
            assert (await client.post("/v1/policies/validate", content=broken, headers=yaml)).status_code == 422
        assert (await client.post("/v1/policies/validate", json=policy)).json() == {"valid": True, "warnings": []}
    assert len(await door.log(type="restow.command.policies.put")) == 1


async def test_faults_reach_the_simulated_cloud_and_no_real_one(tmp_path: Path):
    async with a_front_door(tmp_path) as door, door.client("operator") as client:
        assert (
            await client.post("/v1/simulation/faults", json={"kind": "host-crash", "host": "host-1"})
        ).status_code == 201
        assert (await client.post("/v1/simulation/faults", json={"kind": "flood", "host": "host-1"})).status_code == 422
        assert (await client.post("/v1/simulation/faults", json={"kind": "host-crash", "host": "x"})).status_code == 422
        assert (await client.delete("/v1/simulation/faults")).status_code == 204
        assert (await client.delete("/v1/simulation/faults?host=x")).status_code == 422
        port = door.ports[0]
        assert isinstance(port, TroubledPort)
        assert port.faults == [("host-crash", "host-1"), ("clear", None)]
    real = tmp_path / "real"
    real.mkdir()
    async with a_front_door(real, clouds=(StillPort(small_cloud()),)) as door, door.client("operator") as client:
        body = {"kind": "host-crash", "host": "host-1"}
        assert (await client.post("/v1/simulation/faults", json=body)).status_code == 404
        assert (await client.delete("/v1/simulation/faults")).status_code == 404


async def test_alerts_become_signals_once(door: FrontDoor):
    alert = {"status": "firing", "labels": {"alertname": "HostDown", "instance": "host-1:9100", "severity": "critical"},
             "annotations": {"summary": "host-1 is down"}, "startsAt": "2026-11-22T11:59:00Z",
             "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://p/x", "fingerprint": "f1"}  # fmt: skip
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "restow",
            "alerts": [alert, {**alert, "fingerprint": "f2", "labels": {"instance": "switch-3"}}]}  # fmt: skip
    async with door.client("operator") as client:
        first = (await client.post("/v1/signals/alertmanager", json=body)).json()
        assert (first["accepted"], first["duplicates"], len(first["ignored"])) == (1, 0, 1)
        assert (await client.post("/v1/signals/alertmanager", json=body)).json()["duplicates"] == 1
        body["alerts"][0]["status"] = "resolved"
        assert (await client.post("/v1/signals/alertmanager", json=body)).json()["accepted"] == 1
        assert (await client.post("/v1/signals/alertmanager", json={"alerts": []})).status_code == 422
    told = [(event.subject, event.data["kind"], event.data["firing"]) for event in await door.log()]
    assert told == [("host-1", "HostDown", True), ("host-1", "HostDown", False)]


async def test_a_cloud_event_becomes_a_signal_once(door: FrontDoor):
    event = {"specversion": "1.0", "id": "1", "source": "ipmi", "type": "hot-host", "subject": "host-2",
             "time": "2026-11-22T11:00:00Z", "extra": 1, "data": {"text": "91 degrees"}}  # fmt: skip
    headers = {"Content-Type": "application/cloudevents+json"}
    async with door.client("operator") as client:
        for accepted in (1, 0):
            answer = await client.post("/v1/signals/cloudevents", json=event, headers=headers)
            assert (answer.status_code, answer.json()["accepted"]) == (202, accepted)
        wrong = await client.post("/v1/signals/cloudevents", json={**event, "data": {"txet": ""}}, headers=headers)
        assert wrong.json()["errors"][0]["field"] == "data.txet"
    (signal,) = await door.log()
    assert (signal.type, signal.subject, signal.data["kind"]) == ("restow.signal", "host-2", "hot-host")


async def test_ready_tells_what_is_not(door: FrontDoor):
    async def away() -> None:
        raise TransientError("no broker")

    async with door.client(None) as client:
        assert (await client.get("/readyz")).json() == {"ready": True, "checks": ["database"]}
        door.app.state.checks = [*door.app.state.checks, ("broker", away)]
        answer = await client.get("/readyz")
        assert (answer.status_code, "broker: no broker" in answer.json()["detail"]) == (503, True)
        assert (await client.get("/livez")).status_code == 200
        assert "restow_http_requests_total" in (await client.get("/metrics")).text

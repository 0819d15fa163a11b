"""The planner among the events: one request, one answer; nothing is lost, nothing done twice."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from restow.cloud.model import Cloud
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds
from restow.cloud.snapshot import read_cloud
from restow.database.documents import get_document
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow, Row
from restow.errors import TransientError
from restow.log.delivery import Delivery
from restow.messages.base import Message
from restow.messages.events import Event, PlanOrder, PlanRequest, PlanState, PolicyPut, StepEvent, first_event
from restow.messages.plan import Plan
from restow.messages.request import Changes, HostCopies, parse_request
from restow.runtime.service import Context
from restow_planner.plan import plan_for
from restow_planner.replay import compare, recorded
from restow_planner.service import build
from support.builders import a_cloud, a_host, a_server
from support.clocks import ManualClock

T = TypeVar("T")


async def in_place(work: Callable[[], T]) -> T:
    return work()


class Stage:
    """A planner on a SQLite file and a simulated cloud; its clock stands still."""

    def __init__(self, path: Path, cloud: Cloud) -> None:
        self.clock = ManualClock()
        self.url = f"sqlite:///{path}/planner.db"
        self.database = Database(self.url)
        self.clouds: Any = SimulatedClouds({cloud.domain: SimulatedCloud(cloud, self.clock)})
        self.delivery = Delivery(self.database, self.clock)
        self._number = 0

    async def open(self) -> None:
        async with self.database.engine.begin() as connection:
            await connection.run_sync(Row.metadata.create_all)

    def another(self) -> Any:
        """The handler of a planner process."""
        context = Context(
            clock=self.clock, database=self.database, clouds=self.clouds, blocking=in_place, instance="one",
            new_id=lambda: "unused",
        )  # fmt: skip
        return build(context).handlers[0]

    def event(
        self, event_type: str, message: Message, subject: str, *, domain: str = "region-one", by: str = "t"
    ) -> Event:
        self._number += 1
        return first_event(
            event_type, message, id=f"e{self._number}", source=by, domain=domain, subject=subject,
            time=self.clock.now(), correlation=subject,
        )  # fmt: skip

    async def bring(self, event_type: str, message: Message, subject: str, **other: str) -> Event:
        event = self.event(event_type, message, subject, **other)
        await self.delivery.deliver(self.another(), event)
        return event

    async def ask(self, plan: str = "p1", *, domain: str = "region-one", **request: Any) -> Event:
        own = {key: request.pop(key) for key in ("approved_by", "incident", "changes") if key in request}
        body = {"goal": "evacuate", "hosts": ["h1"]} if "goal" not in request else {}
        message = PlanRequest(plan=plan, request=parse_request({**body, **request}), requested_by="anna", **own)
        return await self.bring("restow.command.plan.request", message, plan, domain=domain)

    async def order(self, verb: str, plan: str = "p1") -> None:
        await self.bring(f"restow.command.plan.{verb}", PlanOrder(plan=plan, by="berta"), plan)

    async def told(self) -> list[Event]:
        async with self.database.reading() as session:
            rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
            return [event_of(row) for row in rows]

    async def types(self) -> list[str]:
        return [event.type.removeprefix("restow.") for event in await self.told()]

    async def plan(self, index: int = -1) -> Plan:
        proposed = [event for event in await self.told() if event.type == "restow.plan.proposed"][index]
        return Plan.model_validate_json(await get_document(self.database, proposed.data["document"]))


CLOUD = a_cloud(
    [a_host("h1"), a_host("h2"), a_host("h3")],
    [a_server("a", on="h1", load={"cpu_cores": 4.0}), a_server("b", on="h1", load={"cpu_cores": 3.5})],
)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, CLOUD)
    await made.open()
    yield made
    await made.database.close()


async def test_a_plan_that_is_to_be_proposed_waits_and_its_documents_are_kept(stage: Stage) -> None:
    event = await stage.ask()
    assert await stage.types() == ["plan.requested", "plan.proposed"]
    proposed = (await stage.told())[1]
    plan = await stage.plan()
    assert (plan.id, len(plan.steps)) == ("p1", 3)
    assert plan.snapshot == proposed.data["snapshot"]
    assert read_cloud(await get_document(stage.database, plan.snapshot)).hosts
    assert (proposed.causation, proposed.correlation) == (event.id, event.correlation)


@pytest.mark.parametrize(
    ("request_", "last"),
    [
        ({"mode": "auto"}, "plan.approved"),
        ({"mode": "propose", "approved_by": "anna"}, "plan.approved"),
        ({"mode": "dry-run"}, "plan.finished"),
        ({"goal": "evacuate", "hosts": ["h3"]}, "plan.finished"),
        ({"goal": "reach", "targets": {"a": "h2"}, "pin": ["a"]}, "plan.failed"),
        ({"goal": "evacuate", "hosts": ["nowhere"]}, "plan.failed"),
    ],
)
async def test_every_story_goes_on_or_ends(stage: Stage, request_: dict[str, Any], last: str) -> None:
    await stage.ask(**request_)
    assert (await stage.types())[-1] == last
    assert "dead" not in await stage.types()


async def test_a_what_if_is_planned_on_the_changed_cloud_and_never_carried_out(stage: Stage) -> None:
    await stage.ask(mode="auto", changes=Changes(remove_hosts=("h3",)))
    assert (await stage.types())[-1] == "plan.finished"
    assert {step.target for step in (await stage.plan()).steps if step.target} == {"h2"}


async def test_the_same_event_twice_has_one_effect(stage: Stage) -> None:
    event = await stage.ask()
    before = await stage.types()
    await stage.delivery.deliver(stage.another(), event)
    assert await stage.types() == before


async def test_two_planners_at_once_make_one_plan(stage: Stage) -> None:
    message = PlanRequest(plan="p1", request=parse_request({"goal": "evacuate", "hosts": ["h1"]}), requested_by="anna")
    first = stage.event("restow.command.plan.request", message, "p1")
    second = stage.event("restow.command.plan.request", message, "p1")
    effects = [await stage.another().handle(event) for event in (first, second)]  # both have seen no plan p1
    for effect in effects:
        async with stage.database.writing() as transaction:
            await effect(transaction)
    assert (await stage.types()).count("plan.proposed") == 1


@pytest.mark.parametrize(("verb", "state"), [("approve", "approved"), ("reject", "rejected"), ("cancel", "cancelled")])
async def test_a_person_decides_once(stage: Stage, verb: str, state: str) -> None:
    await stage.ask()
    await stage.order(verb)
    decided = (await stage.told())[-1]
    assert (decided.type, decided.data["by"]) == (f"restow.plan.{state}", "berta")
    assert decided.data["document"] is not None
    await stage.order("reject")
    refusal = (await stage.told())[-1]
    assert (refusal.type, refusal.data["guard"]) == ("restow.refusal", "plan-state")
    assert state in refusal.data["why"]


async def test_cancelling_what_runs_is_left_to_the_executor(stage: Stage) -> None:
    await stage.ask(mode="auto")
    before = await stage.types()
    await stage.order("cancel")
    assert await stage.types() == before


async def test_an_order_for_an_unknown_plan_is_refused_aloud(stage: Stage) -> None:
    await stage.order("approve", "p77")
    assert (await stage.told())[-1].data["why"] == "there is no plan p77"


async def test_a_domain_that_is_not_ours_ends_the_story_with_the_reason(stage: Stage) -> None:
    await stage.ask(domain="elsewhere")
    assert await stage.types() == ["plan.requested", "refusal", "plan.failed"]
    assert "elsewhere" in (await stage.told())[-1].data["why"]


class _Away:
    async def read(self) -> Cloud:
        raise TransientError("the cloud does not answer")


class _Clouds:
    def __init__(self, port: Any) -> None:
        self._port = port

    def port(self, domain: str) -> Any:
        return self._port


async def test_a_cloud_that_cannot_be_read_ends_the_story_after_a_few_tries(stage: Stage) -> None:
    stage.clouds = _Clouds(_Away())
    await stage.ask()
    assert (await stage.types())[-1] == "plan.failed"
    assert "cannot be read" in (await stage.told())[-1].data["why"]


class _Old:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def read(self) -> Cloud:
        return self._cloud


@pytest.mark.parametrize("seconds", [-301, 61])
async def test_nothing_is_decided_on_a_picture_from_another_time(stage: Stage, seconds: int) -> None:
    stage.clouds = _Clouds(_Old(replace(CLOUD, taken_at=stage.clock.now() + timedelta(seconds=seconds))))
    await stage.ask()
    assert (await stage.told())[1].data["guard"] == "snapshot-age"


async def test_nothing_is_decided_on_a_cloud_without_hosts(stage: Stage) -> None:
    stage.clouds = _Clouds(_Old(replace(CLOUD, hosts=(), servers=())))
    await stage.ask()
    assert (await stage.told())[1].data["guard"] == "empty-cloud"


async def moved(stage: Stage, server: str) -> None:
    step = StepEvent.model_validate_json(
        json.dumps({"plan": "p0", "step": "s1", "action": "live-migrate", "server": server, "from": "h2", "to": "h1"})
    )
    await stage.bring("restow.step.finished", step, "p0")


async def test_servers_that_moved_a_short_while_ago_stay_for_optional_goals_only(stage: Stage) -> None:
    await moved(stage, "a")
    await stage.ask("p1", goal="rebalance")
    assert (await stage.plan()).request.pin == ("a",)
    assert "refusal" in await stage.types()
    assert "a" not in {step.server for step in (await stage.plan()).steps}
    await stage.ask("p2", goal="evacuate", hosts=["h1"])
    assert {step.server for step in (await stage.plan()).steps if step.server} == {"a", "b"}
    stage.clock.forward(1801)
    await stage.ask("p3", goal="rebalance")
    assert (await stage.plan()).request.pin == ()


async def test_the_policy_that_was_put_sets_the_cool_down(stage: Stage) -> None:
    document = {"format": "restow.policy/1", "execution": {"server_cool_down_s": 0}}
    await stage.bring("restow.command.policies.put", PolicyPut(document=document, by="anna"), "policy")
    await moved(stage, "a")
    await stage.ask(goal="rebalance")
    assert (await stage.plan()).request.pin == ()


@pytest.mark.parametrize(("own_s", "after_s", "stays"), [(7200.0, 3600, True), (7200.0, 7300, False), (0.0, 1, False)])
async def test_a_server_may_have_a_cool_down_of_its_own(
    stage: Stage, own_s: float, after_s: int, *, stays: bool
) -> None:
    await moved(stage, "a")
    stage.clock.forward(after_s)
    servers = tuple(replace(one, cool_down_s=own_s) if one.id == "a" else one for one in CLOUD.servers)
    stage.clouds = _Clouds(_Old(replace(CLOUD, servers=servers, taken_at=stage.clock.now())))
    await stage.ask("p1", goal="rebalance")
    assert (await stage.plan()).request.pin == (("a",) if stays else ())


async def test_too_many_open_optional_plans_stop_another_one_until_one_ends(stage: Stage) -> None:
    for number in range(10):
        await stage.ask(f"p{number}", goal="rebalance")
    await stage.ask("p10", goal="rebalance")
    assert [event.data["guard"] for event in await stage.told() if event.type == "restow.refusal"] == ["open-plans"]
    await stage.order("approve", "p0")
    await stage.bring("restow.plan.finished", PlanState(plan="p0", by="executor"), "p0", by="restow/executor")
    await stage.ask("p11", goal="rebalance")
    assert (await stage.types())[-1] == "plan.proposed"


async def test_a_what_if_has_the_plan_without_the_changes_beside_it_and_is_decided_again(stage: Stage) -> None:
    await stage.ask(changes=Changes(remove_hosts=("h3",), copy_hosts=(HostCopies(like="h2"),)))
    cloud, before = await recorded(stage.url, "p1")
    assert [host.name for host in cloud.hosts] == ["h1", "h2", "h2-copy-1"]
    assert (before.metadata["beside"]["outcome"], before.metadata["difference"]["numbers"]["moves"]) == ("plan", 0)
    assert compare(before, plan_for(cloud, before.request, plan_id="p1", engine=before.engine)) == []


async def test_a_recorded_plan_is_decided_again_with_the_same_answer(stage: Stage) -> None:
    await stage.ask()
    cloud, before = await recorded(stage.url, "p1")
    assert compare(before, plan_for(cloud, before.request, plan_id="p1", engine=before.engine)) == []
    other = plan_for(cloud, before.request.model_copy(update={"pin": ("a",)}), plan_id="p1")
    assert any(line.startswith("steps: 3 then") for line in compare(before, other))

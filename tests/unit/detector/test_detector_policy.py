"""The policy in force: by command, by a file that changes, broken and mended."""

import pytest
import structlog
from sqlalchemy import select

from restow.clock import SystemClock
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds
from restow.database.engine import Database, event_of
from restow.database.tables import EventRow, Row
from restow.errors import BadInputError
from restow.log.delivery import Delivery
from restow.messages.events import PolicyPut, first_event
from restow.policy import DEFAULT_POLICY, parse_policy
from restow.runtime.service import Context
from restow_detector.handler import DetectorHandler
from restow_detector.policy_keeper import PolicyKeeper
from restow_detector.settings import settings_from
from support.builders import NOON, a_cloud, a_host
from support.clocks import ManualClock

OBSERVE = "format: restow.policy/1\nrules:\n- {incident: failed-host, goal: recover, mode: observe}\n"
BROKEN = "format: restow.policy/1\nrules:\n- {incident: failed-host, goal: recover, mode: observing}\n"
NOT_YAML = "format: restow.policy/1\nrules: [\n"


async def in_place(work):
    return work()


@pytest.fixture
async def context(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/t.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    clock = ManualClock()
    clouds = SimulatedClouds({"region-one": SimulatedCloud(a_cloud([a_host("h1")]), clock)})
    yield Context(clock=clock, database=database, clouds=clouds, blocking=in_place, instance="one", new_id=str)
    await database.close()


async def told(context, event_type=None):
    async with context.database.reading() as session:
        rows = (await session.execute(select(EventRow).order_by(EventRow.seq))).scalars()
        return [event_of(row) for row in rows if event_type in (None, row.type)]


async def put(context, keeper, document, *, by="ann", id="c1"):
    event = first_event("restow.command.policies.put", PolicyPut(document=document, by=by), id=id, source="restow/api",
                        domain="*", subject="policy", time=NOON, correlation=id)  # fmt: skip
    await Delivery(context.database, SystemClock()).deliver(DetectorHandler(context, keeper), event)


async def test_without_a_file_or_a_command_the_default_holds(context):
    assert await PolicyKeeper(context, None).current() == DEFAULT_POLICY


async def test_a_policy_that_is_put_holds_from_then_on_and_after_a_restart(context):
    keeper = PolicyKeeper(context, None)
    await put(context, keeper, parse_policy(OBSERVE).dump())
    assert await keeper.current() == parse_policy(OBSERVE)
    assert await PolicyKeeper(context, None).current() == parse_policy(OBSERVE)


async def test_a_broken_policy_that_is_put_is_refused_with_the_field_and_the_old_one_stays(context):
    keeper = PolicyKeeper(context, None)
    await put(context, keeper, {"format": "restow.policy/1", "rules": [{"incident": "failed-host", "mode": "x"}]})
    assert await keeper.current() == DEFAULT_POLICY
    (refusal,) = await told(context, "restow.refusal")
    assert refusal.data["guard"] == "policy"
    assert "rules.0.mode" in refusal.data["why"]


async def test_a_file_is_read_again_when_it_changes_and_told_as_a_command(context, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(OBSERVE)
    keeper = PolicyKeeper(context, file)
    assert await keeper.current() == parse_policy(OBSERVE)
    await keeper.current()
    (command,) = await told(context)
    assert command.type == "restow.command.policies.put"
    assert command.data["by"] == "file"
    assert parse_policy(dict(command.data["document"])) == parse_policy(OBSERVE)
    file.write_text(OBSERVE.replace("observe", "propose"))
    assert (await keeper.current()).rules[0].mode == "propose"
    assert len(await told(context)) == 2


@pytest.mark.parametrize(("broken", "names"), [(BROKEN, "rules.0.mode"), (NOT_YAML, "line 3")])
async def test_a_broken_file_leaves_the_old_policy_in_force_and_is_told_once_until_mended(
    context, tmp_path, broken, names
):
    file = tmp_path / "policy.yaml"
    file.write_text(OBSERVE)
    keeper = PolicyKeeper(context, file)
    await keeper.current()
    file.write_text(broken)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await keeper.current() == parse_policy(OBSERVE)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert names in logs[0]["error"]
    (refusal,) = await told(context, "restow.refusal")
    assert names in refusal.data["why"]
    file.write_text(OBSERVE.replace("observe", "auto"))
    assert (await keeper.current()).rules[0].mode == "auto"


async def test_a_file_that_is_missing_is_told(context, tmp_path):
    keeper = PolicyKeeper(context, tmp_path / "none.yaml")
    assert await keeper.current() == DEFAULT_POLICY
    (refusal,) = await told(context, "restow.refusal")
    assert "none.yaml" in refusal.data["why"]


async def test_an_unchanged_file_does_not_undo_what_people_put_since_not_even_after_a_restart(context, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(OBSERVE)
    keeper = PolicyKeeper(context, file)
    await keeper.current()
    await put(context, keeper, DEFAULT_POLICY.dump())
    assert await keeper.current() == DEFAULT_POLICY
    assert await PolicyKeeper(context, file).current() == DEFAULT_POLICY


async def test_a_command_of_our_own_that_comes_back_from_the_log_changes_nothing(context, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(OBSERVE)
    keeper = PolicyKeeper(context, file)
    await keeper.current()
    await put(context, keeper, DEFAULT_POLICY.dump(), id="later")
    (own, *_) = await told(context)
    await Delivery(context.database, SystemClock()).deliver(DetectorHandler(context, keeper), own)
    assert await keeper.current() == DEFAULT_POLICY


@pytest.mark.parametrize(
    "rule",
    [
        {"incident": "imbalance", "goal": "rebalance", "options": {"treshold": 0.2}},
        {"incident": "imbalance", "goal": "rebalance", "options": {"threshold": 7}},
        {"incident": "imbalance", "options": {"threshold": 0.2}},
    ],
)
def test_options_that_do_not_fit_the_goal_are_refused(rule):
    with pytest.raises(BadInputError, match=r"options|threshold"):
        parse_policy({"format": "restow.policy/1", "rules": [rule]})


@pytest.mark.parametrize("value", ["0", "x", "4000"])
def test_a_wrong_lease_time_names_its_variable(value):
    with pytest.raises(BadInputError, match="RESTOW_DETECTOR_LEASE_S"):
        settings_from({"RESTOW_DETECTOR_LEASE_S": value})

"""What a newer version writes is read by the version before: after a roll-back, and while a roll-out is half done."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from restow.cloud.snapshot import dump_cloud, read_cloud
from restow.errors import PermanentError
from restow.messages.events import Event, PlanRequest, decode
from restow.messages.request import AnyRequest, parse_request
from restow.policy import DEFAULT_POLICY, Policy, parse_policy
from support.strategies import random_legal_cloud

CHANGED = parse_policy(
    {
        "format": "restow.policy/1",
        "blast_radius": {"hosts": 5},
        "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
    }
)


@pytest.mark.parametrize("policy", [Policy(), DEFAULT_POLICY, CHANGED], ids=["empty", "default", "changed"])
def test_what_is_written_is_read_again_as_the_same(policy: Policy) -> None:
    assert parse_policy(policy.written()) == policy


def test_fields_of_a_policy_that_nobody_uses_are_not_written() -> None:
    assert CHANGED.written() == {
        "format": "restow.policy/1",
        "blast_radius": {"hosts": 5},
        "rules": [{"incident": "failed-host", "goal": "recover", "mode": "auto", "cool_down_s": 0}],
    }


EVACUATE = {"format": "restow.request/1", "goal": "evacuate", "hosts": ["h1"], "mode": "propose"}
RECOVER = {"format": "restow.request/1", "goal": "recover", "hosts": ["h1"], "limits": {"moves": 3}, "mode": "auto"}
BOTH = {"format": "restow.request/1", "goal": "then", "goals": [EVACUATE, RECOVER]}


def command(request: AnyRequest) -> Event:
    message = PlanRequest(plan="p", request=request, requested_by="anna")
    return Event(
        id="1", type="restow.command.plan.request", source="restow/api", domain="one", subject="plan/p",
        time=datetime(2026, 1, 1, tzinfo=UTC), data=message.dump(), correlation="1",
    )  # fmt: skip


@pytest.mark.parametrize("asked", [EVACUATE, RECOVER], ids=["evacuate", "recover"])
def test_a_request_is_written_with_what_was_asked_for_and_no_more(asked: dict[str, object]) -> None:
    request = parse_request(asked)
    assert request.written() == asked
    assert command(request).data["request"] == asked


def test_of_several_goals_each_is_written_so() -> None:
    request = parse_request(BOTH)
    assert parse_request(request.written()) == request
    assert "limits" not in json.dumps(request.written()["goals"][0])


def test_a_part_of_a_request_that_this_version_does_not_know_is_not_left_out() -> None:
    event = command(parse_request(EVACUATE))
    newer = replace(event, data={**event.data, "request": {**EVACUATE, "gently": True}})
    with pytest.raises(PermanentError, match="gently"):
        decode(newer)


def test_what_a_newer_version_tells_besides_is_left_out() -> None:
    step = {"id": "s1", "action": "live-migrate", "server": "a", "source": "h1", "target": "h2"}
    told = Event(
        id="1", type="restow.incident.opened", source="restow/detector", domain="one", subject="incident/i",
        time=datetime(2026, 1, 1, tzinfo=UTC), correlation="1",
        data={"id": "i", "symptom": "failed-host", "hosts": ["h1"], "colour": "red", "nested": [step]},
    )  # fmt: skip
    assert decode(told) == decode(replace(told, data={"id": "i", "symptom": "failed-host", "hosts": ["h1"]}))


def test_a_snapshot_tells_what_a_version_added_only_where_there_is_some() -> None:
    cloud = random_legal_cloud(1)
    hosts = json.loads(dump_cloud(cloud))["hosts"]
    assert hosts
    assert not any("withheld" in host for host in hosts)
    held = replace(cloud, hosts=(replace(cloud.hosts[0], withheld=True), *cloud.hosts[1:]))
    assert json.loads(dump_cloud(held))["hosts"][0]["withheld"] is True
    assert read_cloud(dump_cloud(held)) == held

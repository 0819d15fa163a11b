from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.front_door import FrontDoor, a_front_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with a_front_door(tmp_path) as made:
        yield made


async def test_a_request_is_there_the_moment_it_was_asked_for(door: FrontDoor):
    async with door.client("operator") as client:
        answer = await client.post("/v1/plans", json={"goal": "evacuate", "hosts": ["host-1"], "reason": "kernel"})
        assert answer.status_code == 202, answer.text
        plan = (await client.get(answer.headers["Location"])).json()
    assert (plan["state"], plan["created_by"], plan["plan"]) == ("requested", "the-operator", None)
    (event,) = await door.log()
    assert (event.type, event.subject, event.correlation) == ("restow.command.plan.request", plan["id"], plan["id"])
    assert event.data["request"]["hosts"] == ["host-1"]

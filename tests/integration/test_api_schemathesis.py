"""The OpenAPI document and the app agree: whatever a generated request does, the answer is a described one."""

import asyncio
from pathlib import Path

import pytest
import schemathesis
from schemathesis.engine import events, from_schema

from support.front_door import FrontDoor, a_front_door

EXAMPLES_MAX = 8
# What these take is what /v1/plans and /v1/policies take: there every bound of it is tried, here some values are.
ALIKE = ("/v1/what-if", "/v1/policies/validate")
# a name that no host or server has is well-formed and still wrong: 422 names it and the closest
SEMANTIC = ["2xx", "401", "403", "404", "409", "412", "422"]


async def opened(folder: Path) -> FrontDoor:
    async with a_front_door(folder) as made:
        made.app.state.front.stopping = True  # event streams end at once: the tool reads an answer to its end
        return made


def findings(door: FrontDoor) -> list[str]:
    """What every check of every phase has found, as sentences."""
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "headers": {"Authorization": f"Bearer {door.keys['admin']}"},
            "generation": {"max-examples": EXAMPLES_MAX, "deterministic": True, "database": "none"},
            "checks": {"positive_data_acceptance": {"expected-statuses": SEMANTIC}},
            "phases": {"stateful": {"enabled": False}},
            "operations": [{"include-path": path, "phases": {"coverage": {"enabled": False}}} for path in ALIKE],
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", door.app, config=config)
    found = []
    # /readyz tells truly that this door is stopping
    for event in from_schema(schema.exclude(path="/readyz")).execute():
        match event:
            case events.ScenarioFinished():
                for checks in event.recorder.checks.values():
                    found += [
                        f"{event.label}: {check.failure_info.failure.title}: {check.failure_info.code_sample}"
                        for check in checks
                        if check.failure_info is not None
                    ]
            case events.NonFatalError() | events.FatalError():
                found.append(repr(event))
    return found


@pytest.mark.filterwarnings("default")  # what the tool itself warns of is not ours
def test_schemathesis_finds_nothing(tmp_path: Path):
    door = asyncio.run(opened(tmp_path))
    found = findings(door)
    assert found == [], "\n".join(sorted(set(found)))

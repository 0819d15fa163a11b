"""The OpenAPI document and the app agree: whatever a generated request does, the answer is a described one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from support.front_door import FrontDoor, a_front_door

pytestmark = pytest.mark.filterwarnings("default")  # what the tool itself warns of is not ours

# a name that no host or server has is well-formed and still wrong: 422 names it and the closest
SEMANTIC = ["2xx", "401", "403", "404", "409", "412", "422"]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> FrontDoor:
    async def opened(folder: Path) -> FrontDoor:
        async with a_front_door(folder) as made:
            made.app.state.front.stopping = True  # event streams end at once: the tool reads an answer to its end
            return made

    return asyncio.run(opened(tmp_path_factory.mktemp("schemathesis")))


@pytest.fixture(scope="module")
def api_schema(door: FrontDoor) -> Iterator[object]:
    config = schemathesis.Config.from_dict({"checks": {"positive_data_acceptance": {"expected-statuses": SEMANTIC}}})
    schema = schemathesis.openapi.from_asgi("/openapi.json", door.app, config=config)
    # /readyz tells truly that this door is stopping
    yield schema.exclude(path="/readyz")


schema = schemathesis.pytest.from_fixture("api_schema")


@schema.parametrize()
@settings(
    max_examples=20, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_schemathesis_finds_nothing(case: schemathesis.Case, door: FrontDoor):
    case.call_and_validate(headers={"Authorization": f"Bearer {door.keys['admin']}"})

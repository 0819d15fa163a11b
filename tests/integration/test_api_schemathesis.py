"""The OpenAPI document and the app agree: whatever a generated request does, the answer is a described one."""

import asyncio
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from support.front_door import a_front_door

# a name that no host or server has is well-formed and still wrong: 422 names it and the closest
SEMANTIC = ["2xx", "401", "403", "404", "409", "412", "415", "422"]


def config() -> schemathesis.Config:
    return schemathesis.Config.from_dict({"checks": {"positive_data_acceptance": {"expected-statuses": SEMANTIC}}})


def operations(folder: Path, examples: int) -> None:
    async def opened() -> tuple[object, str]:
        async with a_front_door(folder) as door:
            return door.app, door.keys["admin"]

    app, key = asyncio.run(opened())
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config())
    headers = {"Authorization": f"Bearer {key}"}
    tested, failures = 0, []
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers)

        try:
            given(case=operation.as_strategy())(holds)()
        except Exception as error:  # noqa: BLE001  (all operations are told, not the first alone)
            failures.append(f"{operation.label}: {error!r} {getattr(error, 'exceptions', '')}")
        tested += 1
    assert not failures, "\n".join(failures)
    assert tested > 35


@pytest.mark.filterwarnings("default")
def test_schemathesis_finds_nothing(tmp_path: Path):
    operations(tmp_path, 60)

"""The api's loops outlive a database that is away for a while."""

from pathlib import Path

import pytest

from restow.database.engine import Database
from restow.runtime.blocking import InPlaceBlocking
from restow.runtime.service import Context
from restow_api.service import build
from support.front_door import StillClock, StillClouds


async def test_no_loop_ends_because_the_database_is_away(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    context = Context(
        clock=StillClock(), database=Database("postgresql://nobody@127.0.0.1:9/none"), clouds=StillClouds(()),
        blocking=InPlaceBlocking(), instance="here", new_id=lambda: "id",
        environment={"RESTOW_API_KEYS_FILE": str(tmp_path / "keys")},
    )  # fmt: skip
    service = build(context)
    assert {loop.name for loop in service.loops} == {"tidying", "keys file"}
    for loop in service.loops:
        with pytest.raises(AssertionError, match="nothing here waits"):  # it goes on to wait for its next turn
            await loop.run()
    await context.database.close()

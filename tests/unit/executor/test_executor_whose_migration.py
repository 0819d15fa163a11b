"""What a step makes of a server's migrations: whose they are, and whether one is under way."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from restow.cloud.model import ServerState
from restow.cloud.port import Migration, MigrationStatus
from restow.ids import HostName, ServerId
from restow_executor.actions.base import Later
from restow_executor.actions.moves import look_at_move, ours
from support.builders import NOON, a_server
from support.executing import move


def a_migration(id, **changes):
    known = Migration(
        id, ServerId("s1"), "live-migrate", HostName("h1"), HostName("h2"), MigrationStatus.FAILED, "", NOON
    )
    return replace(known, **changes)


def a_site(*, newest="7", asked=("r1",)):
    return SimpleNamespace(step=move("m1", "s1", "h1", "h2"), asked=asked, before={"newest": newest})


def test_one_that_bears_our_id_is_ours_wherever_it_stands():
    mine = a_migration("6", request_id="r1", target=HostName("h9"))
    assert ours(a_site(), [mine, a_migration("7", target=HostName("h3"))]) == mine


def test_without_ids_the_newest_that_does_what_we_asked_for_and_came_after_we_looked_is_ours():
    known = [a_migration("6"), a_migration("7"), a_migration("8"), a_migration("9")]
    assert ours(a_site(), known) == known[-1]
    assert ours(a_site(newest=None), known) == known[-1]


@pytest.mark.parametrize(
    "later",
    [
        {"target": HostName("h3")}, {"source": HostName("h3")}, {"kind": "cold-migrate"}, {"request_id": "another's"},
    ],
)  # fmt: skip
def test_what_others_asked_for_is_not_ours(later):
    assert ours(a_site(), [a_migration("7"), a_migration("8", **later)]) is None


def test_what_was_there_before_we_looked_or_asked_is_not_ours():
    assert ours(a_site(), [a_migration("6"), a_migration("7")]) is None
    assert ours(a_site(asked=()), [a_migration("7"), a_migration("8")]) is None


class AtTheEndOfAnEvacuation:
    """As Nova answers: no task any more, the old host still; a moment later the new host, and the move has ended."""

    reads = 0

    async def server(self, server):
        self.reads += 1
        return a_server(server, on="h1" if self.reads == 1 else "h2", state=ServerState.STOPPED)

    async def migrations(self, server):
        self.reads += 1
        status = MigrationStatus.RUNNING if self.reads == 1 else MigrationStatus.COMPLETED
        return (a_migration("8", server=server, kind="evacuate", status=status),)


def test_a_move_that_ends_while_we_look_is_still_under_way():
    site = SimpleNamespace(step=move("m1", "s1", "h1", "h2"), port=AtTheEndOfAnEvacuation())
    seen = asyncio.run(look_at_move(site, states=frozenset(ServerState), source_lives=False))
    assert isinstance(seen, Later)

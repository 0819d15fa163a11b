"""Which of a server's migrations a step takes for its own, where the cloud keeps no ids of its callers."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from restow.cloud.port import Migration, MigrationStatus
from restow.ids import HostName, ServerId
from restow_executor.actions.moves import ours
from support.builders import NOON
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

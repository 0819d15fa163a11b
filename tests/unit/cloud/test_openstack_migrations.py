"""Migrations as Nova tells them, and which request each came of."""

import pytest

from restow.cloud.openstack.migrations import Asked, Requests, migration_of, progress_of, status_of
from restow.cloud.port import MigrationStatus
from support.openstack_documents import a_migration


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("queued", "queued"), ("preparing", "running"), ("running", "running"), ("post-migrating", "running"),
        ("accepted", "running"), ("pre-migrating", "running"), ("finished", "running"), ("confirming", "running"),
        ("completed", "completed"), ("confirmed", "completed"), ("done", "completed"), ("failed", "failed"),
        ("error", "failed"), ("cancelled", "cancelled"), ("reverted", "cancelled"), ("of tomorrow", "running"),
    ],
)  # fmt: skip
def test_statuses(status, ours):
    assert status_of(status) is MigrationStatus(ours)


@pytest.mark.parametrize(
    ("kind", "ours"), [("live-migration", "live-migrate"), ("migration", "cold-migrate"),
     ("resize", "resize"), ("evacuation", "evacuate")]
)  # fmt: skip
def test_kinds(kind, ours):
    found = migration_of(a_migration(3, migration_type=kind), server="s1", request_id="r", progress=0.2, reason="")
    assert (found.id, found.kind, found.source, found.target, found.progress) == ("3", ours, "h1", "h2", 1.0)
    assert found.started_at.tzinfo is not None


def owners(requests, documents):
    return {number: asked.request_id for number, asked in requests.owners("s1", documents).items()}


def test_progress_is_the_share_copied():
    assert progress_of({"memory_total_bytes": 100, "memory_remaining_bytes": 25}) == 0.75
    assert progress_of({"memory_total_bytes": None}) == 0.0


def test_each_request_owns_the_first_fitting_migration_that_came_after_it():
    requests = Requests()
    requests.note("s1", Asked("r1", "live-migrate", "h2", 4))
    requests.note("s1", Asked("r2", "live-migrate", "h2", 6))
    documents = [a_migration(4), a_migration(5, dest_compute="h9"), a_migration(6), a_migration(7)]
    assert owners(requests, documents) == {6: "r1", 7: "r2"}
    assert requests.owners("s2", documents) == {}


def test_one_whose_target_nova_has_not_written_yet_may_be_ours():
    requests = Requests()
    requests.note("s1", Asked("r1", "evacuate", "h2", 0))
    assert owners(requests, [a_migration(1, migration_type="evacuation", dest_compute=None)]) == {1: "r1"}


def test_a_users_resize_is_never_taken_for_a_cold_migration_of_ours():
    requests = Requests()
    requests.note("s1", Asked("r1", "cold-migrate", "h2", 0))
    documents = [a_migration(1, migration_type="resize"), a_migration(2, migration_type="migration")]
    assert owners(requests, documents) == {2: "r1"}


def test_the_name_that_nova_gave_a_request_goes_with_it():
    requests = Requests()
    for name in ("r1", "r2"):
        requests.note("s1", Asked(name, "live-migrate", "h2", 0))
    requests.taken("s1", "r2", "req-7")
    requests.taken("s9", "r2", "req-8")
    found = requests.owners("s1", [a_migration(1), a_migration(2)])
    assert [(one.request_id, one.nova_request) for one in found.values()] == [("r1", ""), ("r2", "req-7")]


def test_a_refused_request_owns_nothing_and_memory_is_bounded():
    requests = Requests(servers_max=2)
    requests.note("s1", Asked("r1", "live-migrate", "h2", 0))
    requests.drop("s1", "r1")
    assert requests.owners("s1", [a_migration(1)]) == {}
    for server in ("s2", "s3"):
        requests.note(server, Asked("r", "live-migrate", "h2", 0))
    assert set(requests.asked) == {"s2", "s3"}

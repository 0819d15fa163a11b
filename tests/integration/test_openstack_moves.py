"""Moves on real sockets: whose they are, which of them is ended, why one failed, what one has left behind."""

import pytest

from restow.cloud.openstack.looking import MOVES_MAX
from restow.errors import PermanentError
from support.openstack_documents import a_migration
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid

REQUEST = "00000000-0000-4000-8000-000000000001"
S0, H0, H1, H2 = uuid(0), host_name(0), host_name(1), host_name(2)
CLAIM = {"resources": {"VCPU": 1, "MEMORY_MB": 2048}}


class Claimed(StandIn):
    """With claims in placement: by consumer, then by provider."""

    def answer(self, method, path, query, body):
        match path.strip("/").split("/"):
            case ["placement", "allocations", consumer]:
                return 200, {"allocations": self.claims.get(consumer, {})}
            case _:
                return super().answer(method, path, query, body)


@pytest.fixture
def cloud():
    with standing_in(Claimed()) as serving:
        serving.claims = {}
        yield serving


@pytest.fixture
async def port(cloud, connected):
    clouds = connected(cloud)
    yield clouds.port("one")
    await clouds.close()


# --- whose --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [["resize"], ["migration", "resize"], ["live-migration"], []], ids=str)
async def test_what_is_no_cold_migration_is_not_confirmed(port, cloud, kinds):
    cloud.changed[S0] = {"status": "VERIFY_RESIZE"}
    cloud.migrations = [a_migration(n, migration_type=kind, status="finished") for n, kind in enumerate(kinds, 1)]
    with pytest.raises(PermanentError, match="its user's resize"):
        await port.confirm_cold_migration(S0)
    assert cloud.taken == []


async def test_a_cold_migration_is_confirmed(port, cloud):
    cloud.changed[S0] = {"status": "VERIFY_RESIZE"}
    cloud.migrations = [
        a_migration(1, migration_type="resize", status="confirmed"),
        a_migration(2, migration_type="migration", status="finished"),
    ]
    await port.confirm_cold_migration(S0)
    assert [body for _, _, body in cloud.taken] == [{"confirmResize": None}]
    assert [one.kind for one in await port.migrations(S0)] == ["resize", "cold-migrate"]


# --- which --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "preparing", "running"])
async def test_the_named_migration_is_aborted(port, cloud, status):
    cloud.migrations = [a_migration(7, status=status)]
    await port.abort_migration(S0, migration="7")
    assert [(method, path.rsplit("/", 1)[-1]) for method, path, _ in cloud.taken] == [("DELETE", "7")]


async def test_the_named_migration_is_forced_to_its_end(port, cloud):
    cloud.migrations = [a_migration(7, status="running")]
    await port.force_complete(S0, migration="7")
    assert [(path.split("/")[-2], body) for _, path, body in cloud.taken] == [("7", {"force_complete": None})]


@pytest.mark.parametrize("call", ["abort_migration", "force_complete"])
async def test_another_migration_than_the_named_one_is_left_alone(port, cloud, call):
    cloud.migrations = [a_migration(7, status="completed"), a_migration(8, status="running")]
    with pytest.raises(PermanentError, match=r"migration 7 .* not under way"):
        await getattr(port, call)(S0, migration="7")
    assert cloud.taken == []


async def test_one_that_is_queued_is_not_forced_to_its_end(port, cloud):
    cloud.migrations = [a_migration(7, status="queued")]
    with pytest.raises(PermanentError, match="still queued"):
        await port.force_complete(S0, migration="7")
    assert cloud.taken == []


# --- why ----------------------------------------------------------------------------------------------------


def an_action(request_id, details, *, name="live-migration"):
    events = [{"event": "conductor", "result": "Error", "details": details}]
    return {"request_id": request_id, "action": name, "events": events}


async def test_why_a_move_of_ours_failed_is_told_by_the_request_that_nova_named(port, cloud):
    await port.live_migrate(S0, to=H1, request_id=REQUEST)
    mine = f"req-{uuid(len(cloud.calls))}"  # as the stand-in names them
    cloud.migrations = [a_migration(4, status="error", dest_compute=H1)]
    cloud.actions = [an_action("req-of-somebody", "another's"), an_action(mine, "ours")]
    (told,) = await port.migrations(S0)
    assert (told.request_id, told.reason) == (REQUEST, "ours")


async def test_why_it_failed_is_told_though_another_came_after_it(port, cloud):
    await port.live_migrate(S0, to=H1, request_id=REQUEST)
    mine = f"req-{uuid(len(cloud.calls))}"
    cloud.migrations = [
        a_migration(4, status="error", dest_compute=H1),
        a_migration(5, status="error", dest_compute=H2),
    ]
    cloud.actions = [an_action("req-of-somebody", "another's"), an_action(mine, "ours")]
    assert [one.reason for one in await port.migrations(S0)] == ["ours", "another's"]


async def test_of_a_move_of_ours_that_nova_tells_nothing_of_no_other_reason_is_told(port, cloud):
    await port.live_migrate(S0, to=H1, request_id=REQUEST)
    cloud.migrations = [a_migration(4, status="error", dest_compute=H1)]
    cloud.actions = [an_action("req-of-somebody", "another's")]
    assert [one.reason for one in await port.migrations(S0)] == [""]


async def test_where_the_answer_was_lost_the_newest_action_of_that_name_is_taken(port, cloud):
    cloud.troubles.append(Trouble("POST .*/action", cut="after"))
    with pytest.raises(Exception, match="may have been taken"):
        await port.live_migrate(S0, to=H1, request_id=REQUEST)
    cloud.migrations = [a_migration(4, status="error", dest_compute=H1)]
    cloud.actions = [an_action("req-2", "a stop", name="stop"), an_action("req-1", "the newest")]
    assert [one.reason for one in await port.migrations(S0)] == ["the newest"]


# --- what is left -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "error", "cancelled", "running"])
async def test_what_a_move_holds_is_told_whether_it_has_ended_or_not(port, cloud, status):
    cloud.migrations = [a_migration(1, status=status), a_migration(2)]
    cloud.claims = {S0: {uuid(1): CLAIM}, "m1": {uuid(0): CLAIM}}
    held = {"vcpu": 1, "memory_mib": 2048}
    assert await port.allocations(S0) == {H0: held, H1: held}


async def test_only_so_many_ended_moves_are_asked_for(port, cloud):
    moves = [a_migration(1), a_migration(2, status="running"), *(a_migration(n) for n in range(3, 3 + MOVES_MAX))]
    cloud.migrations = moves
    cloud.claims = {S0: {uuid(1): CLAIM}, "m2": {uuid(0): CLAIM}}
    assert set(await port.allocations(S0)) == {H0, H1}
    asked = [call for call in cloud.calls if "/allocations/" in call]
    assert [call.rsplit("/", 1)[-1] for call in asked] == [S0, "m2", *(f"m{n}" for n in range(3, 3 + MOVES_MAX))]

"""The cloud port on the simulated cloud and on a real OpenStack: the same questions, the same answers."""

import pytest

from restow.clock import SystemClock
from restow.cloud.connect import connect
from restow.cloud.model import GroupPolicy, HostState, ServerState
from restow.cloud.port import VERIFY, MigrationStatus
from restow.errors import NotFoundError, PermanentError
from support.port_beds import DEMAND, DOMAIN, lab_bed, lab_servers, simulated_bed

REAL = pytest.param("openstack", marks=[pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(400)])
LEAVE_AS_FOUND = {
    "test_the_domain_and_its_parts_are_read_alike", "test_what_does_not_exist_is_not_found",
    "test_a_target_that_the_scheduler_refuses_is_told_later_as_a_failed_migration",
    "test_what_a_servers_state_forbids_is_refused_at_once",
    "test_stop_keeps_the_claim_shelve_gives_it_back_and_a_start_names_the_host",
}  # fmt: skip
NOBODY = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture(params=["simulated", REAL])
async def bed(request):
    """A cloud of its own for each test where it is simulated; on the lab, one that the tests leave as they found it."""
    if request.param == "simulated":
        yield simulated_bed()
        return
    lab = request.getfixturevalue("openstack_lab")
    clouds = connect("openstack:lab", clock=SystemClock())
    try:
        made = {one["name"]: one["id"] for one in lab.servers()}
        if getattr(lab, "contract", None) != made:
            made = dict(lab_servers(lab))
        bed = await lab_bed(lab, clouds.port(DOMAIN), made)
        await bed.port.read()
        yield bed
        await _what_changed_is_what_there_is(bed.port)
        lab.contract = made if request.node.originalname in LEAVE_AS_FOUND else None
    finally:
        await clouds.close()


async def _what_changed_is_what_there_is(port):
    """A read of what has changed since the first, and a whole read by somebody who knows nothing."""
    fresh = connect("openstack:lab", clock=SystemClock())
    try:
        assert (await port.read()).servers == (await fresh.port(DOMAIN).read()).servers
    finally:
        await fresh.close()


async def test_the_domain_and_its_parts_are_read_alike(bed):
    cloud, (first, second, _) = await bed.port.read(), bed.hosts()
    assert set(cloud.resources) == set(DEMAND)
    servers = {server.id: server for server in cloud.servers}
    assert set(servers) == set(bed.ids.values())
    assert {name: servers[bed.ids[name]].host for name in bed.ids} == {
        "s1": first, "s2": first, "stopped": first, "s3": second, "waits": None,
    }  # fmt: skip
    assert all(server.demand == DEMAND and server.task is None for server in servers.values())
    assert servers[bed.ids["stopped"]].state is ServerState.STOPPED
    (group,) = cloud.groups
    assert (group.policy, set(group.members)) == (GroupPolicy.ANTI_AFFINITY, {bed.ids["s2"], bed.ids["s3"]})
    assert await bed.port.host(first) == cloud.host_by_name[first]
    assert await bed.port.server(bed.ids["s2"]) == servers[bed.ids["s2"]]
    assert await bed.port.allocations(bed.ids["s1"]) == {first: DEMAND}
    assert await bed.port.allocations(bed.ids["waits"]) == {}
    assert {word.host for word in await bed.port.heartbeats() if word.alive} >= set(bed.hosts())


async def test_what_does_not_exist_is_not_found(bed):
    first, s1 = bed.hosts()[0], bed.ids["s1"]
    for call in (
        bed.port.host("nowhere"), bed.port.server(NOBODY), bed.port.allocations(NOBODY), bed.port.migrations(NOBODY),
        bed.port.power_state("nowhere"), bed.port.disable("nowhere", reason=""),
        bed.port.live_migrate(NOBODY, to=first, request_id=bed.request()),
        bed.port.live_migrate(s1, to="nowhere", request_id=bed.request()),
    ):  # fmt: skip
        with pytest.raises(NotFoundError):
            await call
    assert (await bed.at_rest(s1)).host == first


async def test_a_live_migration_is_known_by_its_request_and_claims_both_ends_meanwhile(bed):
    (first, second, third), s1, request = bed.hosts(), bed.ids["s1"], bed.request()
    await bed.port.live_migrate(s1, to=third, request_id=request)
    for act in (
        bed.port.live_migrate(s1, to=second, request_id=bed.request()), bed.port.stop(s1, request_id=bed.request()),
    ):  # fmt: skip
        with pytest.raises(PermanentError):
            await act

    async def both():
        return set(await bed.port.allocations(s1)) == {first, third}

    await bed.until("both ends are claimed", both)
    moved = await bed.at_rest(s1)
    assert (moved.host, moved.state) == (third, ServerState.ACTIVE)
    newest = await bed.newest(s1)
    assert (newest.request_id, newest.kind, newest.source, newest.target, newest.status) == (
        request, "live-migrate", first, third, MigrationStatus.COMPLETED,
    )  # fmt: skip
    await bed.claims_come_to(s1, {third: DEMAND})


async def test_a_cold_migration_waits_to_be_confirmed(bed):
    (first, _, third), server, request = bed.hosts(), bed.ids["stopped"], bed.request()
    with pytest.raises(PermanentError):
        await bed.port.confirm_cold_migration(server)
    await bed.port.cold_migrate(server, to=third, request_id=request)

    async def arrived():
        found = await bed.port.server(server)
        return found if found.task == VERIFY else None

    seen = await bed.until("it has arrived", arrived)
    assert (seen.host, seen.state) == (third, ServerState.STOPPED)
    assert (await bed.newest(server)).request_id == request
    assert not (await bed.newest(server)).status.ended
    assert set(await bed.port.allocations(server)) == {first, third}
    await bed.port.confirm_cold_migration(server)
    seen = await bed.at_rest(server)
    assert (seen.host, seen.state) == (third, ServerState.STOPPED)
    newest = await bed.newest(server)
    assert (newest.kind, newest.status) == ("cold-migrate", MigrationStatus.COMPLETED)
    await bed.claims_come_to(server, {third: DEMAND})


async def test_a_target_that_the_scheduler_refuses_is_told_later_as_a_failed_migration(bed):
    (first, second, _), s2, request = bed.hosts(), bed.ids["s2"], bed.request()
    await bed.port.live_migrate(s2, to=second, request_id=request)  # the other of its group is there
    after = await bed.at_rest(s2)
    newest = await bed.newest(s2)
    assert (newest.request_id, newest.status) == (request, MigrationStatus.FAILED)
    assert "No valid host" in newest.reason
    assert (after.host, after.state) == (first, ServerState.ACTIVE)
    await bed.claims_come_to(s2, {first: DEMAND})


async def test_what_a_servers_state_forbids_is_refused_at_once(bed):
    (first, second, _), ids = bed.hosts(), bed.ids
    for act in (
        bed.port.live_migrate(ids["stopped"], to=second, request_id=bed.request()),
        bed.port.live_migrate(ids["waits"], to=second, request_id=bed.request()),
        bed.port.start(ids["s1"], on=None, request_id=bed.request()),
        bed.port.stop(ids["stopped"], request_id=bed.request()),
        bed.port.abort_migration(ids["s1"], migration="1"), bed.port.force_complete(ids["s1"], migration="1"),
        bed.port.evacuate(ids["s1"], to=second, request_id=bed.request()),
    ):  # fmt: skip
        with pytest.raises(PermanentError):
            await act
    assert (await bed.at_rest(ids["s1"])).host == first


async def test_stop_keeps_the_claim_shelve_gives_it_back_and_a_start_names_the_host(bed):
    (first, _, third), s1, waits = bed.hosts(), bed.ids["s1"], bed.ids["waits"]
    await bed.port.stop(s1, request_id=bed.request())
    await bed.port.start(waits, on=third, request_id=bed.request())
    stopped, started = await bed.at_rest(s1), await bed.at_rest(waits)
    assert (stopped.host, stopped.state) == (first, ServerState.STOPPED)
    await bed.claims_come_to(s1, {first: DEMAND})
    assert (started.host, started.state) == (third, ServerState.ACTIVE)
    await bed.claims_come_to(waits, {third: DEMAND})
    await bed.port.start(s1, on=None, request_id=bed.request())
    await bed.port.shelve(waits, request_id=bed.request())
    again = await bed.at_rest(s1)
    assert (again.host, again.state) == (first, ServerState.ACTIVE)

    async def offloaded():
        return (await bed.at_rest(waits)).host is None

    await bed.until("it is offloaded", offloaded)
    await bed.claims_come_to(waits, {})


async def test_a_disabled_host_takes_nothing_in_until_it_is_enabled(bed):
    (first, _, third), s1 = bed.hosts(), bed.ids["s1"]
    await bed.port.disable(third, reason="tests")
    await bed.port.disable(third, reason="tests")
    assert (await bed.port.host(third)).enabled is False
    await bed.port.live_migrate(s1, to=third, request_id=bed.request())
    assert (await bed.at_rest(s1)).host == first
    assert (await bed.newest(s1)).status is MigrationStatus.FAILED
    await bed.port.enable(third)

    async def enabled():
        return (await bed.port.host(third)).enabled

    await bed.until("it is enabled", enabled)
    await bed.port.live_migrate(s1, to=third, request_id=bed.request())
    assert (await bed.at_rest(s1)).host == third


async def test_a_dead_host_gives_its_servers_away_and_keeps_their_claims(bed):
    (first, _, third), s1, stopped, request = bed.hosts(), bed.ids["s1"], bed.ids["stopped"], bed.request()
    with pytest.raises(PermanentError):
        await bed.port.evacuate(s1, to=third, request_id=bed.request())
    await bed.crash(first)
    await bed.port.force_down(first, down=True)
    host = await bed.port.host(first)
    assert (host.state, host.forced_down) == (HostState.DOWN, True)
    await bed.port.evacuate(s1, to=third, request_id=request)
    await bed.port.evacuate(stopped, to=third, request_id=bed.request())
    after, still = await bed.at_rest(s1), await bed.at_rest(stopped)
    assert (after.host, after.state) == (third, ServerState.ACTIVE)
    assert (still.host, still.state) == (third, ServerState.STOPPED), await bed.port.migrations(stopped)
    newest = await bed.newest(s1)
    assert (newest.request_id, newest.kind, newest.status) == (request, "evacuate", MigrationStatus.COMPLETED)
    assert set(await bed.port.allocations(s1)) == {first, third}
    third_now = (await bed.port.read()).host_by_name[third]
    assert third_now.capacity == (await bed.port.host(third)).capacity

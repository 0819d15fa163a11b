"""What every adapter of the cloud port does alike, asked of the simulated cloud here and over real HTTP."""

import inspect

import pytest

from restow.cloud.model import GroupPolicy, HostState, Power, ServerState
from restow.cloud.port import FAULTS, VERIFY, CloudPort, FaultInjection, MigrationStatus
from restow.cloud.simulated import SimulatedCloud, SimulatedClouds, SimulationOptions
from restow.errors import BadInputError, LostAnswerError, NotFoundError, PermanentError, TransientError
from support.builders import a_cloud, a_group, a_host, a_server
from support.clocks import ManualClock
from support.remote_cloud import served

CLOUD = a_cloud(
    [a_host("h1"), a_host("h2"), a_host("h3", zone="az2", traits=frozenset({"CUSTOM_SSD"})), a_host("full", vcpu=1)],
    [
        a_server("s1", on="h1", memory_mib=2048),
        a_server("s2", on="h1"),
        a_server("s3", on="h2"),
        a_server("stopped", on="h1", state=ServerState.STOPPED),
        a_server("locked", on="h1", locked=True),
        a_server("waits"),
        a_server("fills", on="full"),
    ],
    groups=[a_group("g1", GroupPolicy.ANTI_AFFINITY, ["s2", "s3"])],
)
OPTIONS = SimulationOptions(load_daily=0, load_noise=0, crash_powers_off=0.0)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def embedded(clock):
    return SimulatedClouds({CLOUD.domain: SimulatedCloud(CLOUD, clock, seed=1, options=OPTIONS)})


@pytest.fixture(params=["embedded", "remote"])
async def clouds(request, embedded):
    if request.param == "embedded":
        yield embedded
        return
    async with served(embedded) as remote:
        yield remote


@pytest.fixture
def port(clouds):
    return clouds.port(CLOUD.domain)


async def ended(port, server):
    return (await port.migrations(server))[-1]


async def test_it_is_a_whole_port(clouds, port):
    for protocol in (CloudPort, FaultInjection):
        for name, member in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                assert inspect.iscoroutinefunction(getattr(port, name)), name
                wanted = list(inspect.signature(member).parameters)[1:]
                assert list(inspect.signature(getattr(port, name)).parameters) == wanted
    assert port.domain == "region-one"
    assert clouds.domains() == ("region-one",)
    with pytest.raises(NotFoundError):
        clouds.port("elsewhere")


async def test_the_domain_is_read_in_bulk_and_in_order(port):
    cloud = await port.read()
    assert [host.name for host in cloud.hosts] == ["h1", "h2", "h3", "full"]
    assert [server.id for server in cloud.servers] == [server.id for server in CLOUD.servers]
    assert cloud.groups == CLOUD.groups
    assert [one for one in cloud.servers if one.id not in ("stopped", "waits")] == [
        one for one in CLOUD.servers if one.id not in ("stopped", "waits")
    ]
    assert cloud.host_by_name["h3"].traits == {"CUSTOM_SSD"}
    assert cloud.host_by_name["h1"].load["cpu_cores"] == pytest.approx(0.75)  # the stopped one burns nothing
    assert await port.host("h2") == cloud.host_by_name["h2"]
    assert await port.server("s1") == cloud.server_by_id["s1"]


async def test_what_does_not_exist_is_not_found(port):
    for look in (port.host("no"), port.server("no"), port.allocations("no"), port.migrations("no")):
        with pytest.raises(NotFoundError):
            await look
    for act in (
        port.power_state("no"),
        port.live_migrate("no", to="h1", request_id="r"),
        port.live_migrate("s1", to="no", request_id="r"),
        port.disable("no", reason=""),
    ):
        with pytest.raises(NotFoundError):
            await act


async def test_a_live_migration_is_taken_and_its_end_is_seen_by_reading(port, clock):
    await port.live_migrate("s1", to="h2", request_id="req-1")
    assert (await port.server("s1")).task == "migrating"
    clock.forward(1.5)
    (migration,) = await port.migrations("s1")
    assert (migration.request_id, migration.kind, migration.source, migration.target) == (
        "req-1", "live-migrate", "h1", "h2",
    )  # fmt: skip
    assert migration.status is MigrationStatus.RUNNING
    assert set(await port.allocations("s1")) == {"h1", "h2"}
    clock.forward(30)
    assert (await ended(port, "s1")).status is MigrationStatus.COMPLETED
    moved = await port.server("s1")
    assert (moved.host, moved.task, moved.state) == ("h2", None, ServerState.ACTIVE)
    assert await port.allocations("s1") == {"h2": {"vcpu": 1, "memory_mib": 2048}}


async def test_a_cold_migration_ends_as_it_began(port, clock):
    await port.cold_migrate("stopped", to="h2", request_id="req-1")
    with pytest.raises(PermanentError, match="waits to be confirmed"):
        await port.confirm_cold_migration("stopped")
    clock.forward(60)
    server = await port.server("stopped")
    assert (server.host, server.state, server.task) == ("h2", ServerState.STOPPED, VERIFY)
    assert not (await ended(port, "stopped")).status.ended
    assert set(await port.allocations("stopped")) == {"h1", "h2"}
    await port.confirm_cold_migration("stopped")
    clock.forward(60)
    server = await port.server("stopped")
    assert (server.host, server.state, server.task) == ("h2", ServerState.STOPPED, None)
    assert (await ended(port, "stopped")).kind == "cold-migrate"
    assert (await ended(port, "stopped")).status is MigrationStatus.COMPLETED
    assert set(await port.allocations("stopped")) == {"h2"}


@pytest.mark.parametrize(
    ("server", "to", "reason"), [("s1", "full", "vcpu"), ("s2", "h2", "group policy"), ("s1", "h1", "where it is")]
)
async def test_a_target_that_the_scheduler_refuses_is_told_later_as_a_failed_migration(port, clock, server, to, reason):
    await port.live_migrate(server, to=to, request_id="req-1")
    clock.forward(5)
    migration = await ended(port, server)
    assert migration.status is MigrationStatus.FAILED
    assert "No valid host" in migration.reason
    assert reason in migration.reason
    after = await port.server(server)
    assert (after.host, after.task, after.state) == ("h1", None, ServerState.ACTIVE)
    assert set(await port.allocations(server)) == {"h1"}


async def test_what_the_servers_state_forbids_is_refused_at_once(port):
    for act in (
        port.live_migrate("stopped", to="h2", request_id="r"),
        port.live_migrate("locked", to="h2", request_id="r"),
        port.live_migrate("waits", to="h2", request_id="r"),
        port.start("s1", on=None, request_id="r"),
        port.stop("stopped", request_id="r"),
        port.abort_migration("s1", migration="1"),
        port.evacuate("s1", to="h2", request_id="r"),
    ):
        with pytest.raises(PermanentError):
            await act


async def test_while_one_task_is_under_way_another_is_refused(port):
    await port.live_migrate("s1", to="h2", request_id="r1")
    for act in (
        port.live_migrate("s1", to="h3", request_id="r2"),
        port.stop("s1", request_id="r3"),
        port.shelve("s1", request_id="r4"),
    ):
        with pytest.raises(PermanentError, match="under way"):
            await act


async def test_a_running_migration_can_be_aborted(port, clock):
    await port.live_migrate("s1", to="h2", request_id="r1")
    clock.forward(2.2)
    with pytest.raises(PermanentError):
        await port.abort_migration("s1", migration="another")
    await port.abort_migration("s1", migration=(await port.migrations("s1"))[-1].id)
    clock.forward(5)
    assert (await ended(port, "s1")).status is MigrationStatus.CANCELLED
    assert (await port.server("s1")).host == "h1"
    assert set(await port.allocations("s1")) == {"h1"}


async def test_a_running_migration_that_does_not_converge_can_be_brought_to_its_end(port, embedded, clock):
    embedded.port(CLOUD.domain).trouble.never_converges("s1")
    with pytest.raises(PermanentError):
        await port.force_complete("s1", migration="1")
    await port.live_migrate("s1", to="h2", request_id="r1")
    clock.forward(600)
    assert (await ended(port, "s1")).status is MigrationStatus.RUNNING
    with pytest.raises(PermanentError):
        await port.force_complete("s1", migration="another")
    await port.force_complete("s1", migration=(await port.migrations("s1"))[-1].id)
    clock.forward(5)
    assert (await ended(port, "s1")).status is MigrationStatus.COMPLETED
    assert set(await port.allocations("s1")) == {"h2"}


async def test_a_server_that_a_move_left_in_error_is_active_again_once_that_is_cleared(port, embedded, clock):
    with pytest.raises(PermanentError):
        await port.clear_error("s1")
    embedded.port(CLOUD.domain).trouble.fails("s1", in_error=True)
    await port.live_migrate("s1", to="h2", request_id="r1")
    clock.forward(60)
    assert (await port.server("s1")).state is ServerState.ERROR
    assert "h2" in await port.allocations("s1")  # Nova leaves the claim as it was in the middle of the move
    await port.clear_error("s1")
    assert set(await port.allocations("s1")) == {"h1"}
    after = await port.server("s1")
    assert (after.state, after.host, after.task) == (ServerState.ACTIVE, "h1", None)
    with pytest.raises(NotFoundError):
        await port.clear_error("nobody")


async def test_an_error_is_not_cleared_where_no_guest_runs(port, embedded, clock):
    embedded.port(CLOUD.domain).trouble.fails("stopped", in_error=True)
    await port.cold_migrate("stopped", to="h2", request_id="r1")
    clock.forward(120)
    assert (await port.server("stopped")).state is ServerState.ERROR
    with pytest.raises(PermanentError):
        await port.clear_error("stopped")


async def test_stop_keeps_the_claim_and_shelve_gives_it_back(port, clock):
    await port.stop("s1", request_id="r1")
    await port.shelve("s2", request_id="r2")
    clock.forward(30)
    assert ((await port.server("s1")).host, (await port.server("s1")).state) == ("h1", ServerState.STOPPED)
    assert set(await port.allocations("s1")) == {"h1"}
    assert ((await port.server("s2")).host, (await port.server("s2")).state) == (None, ServerState.STOPPED)
    assert await port.allocations("s2") == {}


async def test_a_server_that_runs_nowhere_starts_where_it_is_told(port, clock):
    with pytest.raises(PermanentError):
        await port.start("waits", on="full", request_id="r0")
    await port.start("waits", on="h3", request_id="r1")
    assert set(await port.allocations("waits")) == {"h3"}
    clock.forward(30)
    server = await port.server("waits")
    assert (server.host, server.state) == ("h3", ServerState.ACTIVE)


async def test_a_disabled_host_takes_nothing_in_until_it_is_enabled(port, clock):
    await port.disable("h2", reason="kernel update")
    await port.disable("h2", reason="kernel update")
    assert (await port.host("h2")).enabled is False
    await port.live_migrate("s1", to="h2", request_id="r1")
    clock.forward(5)
    assert (await ended(port, "s1")).status is MigrationStatus.FAILED
    await port.enable("h2")
    await port.live_migrate("s1", to="h2", request_id="r2")
    clock.forward(60)
    assert (await port.server("s1")).host == "h2"


async def test_forced_down_shows_at_once_and_evacuation_is_taken_then(port, clock):
    await port.force_down("h1", down=True)
    host = await port.host("h1")
    assert (host.state, host.forced_down) == (HostState.DOWN, True)
    await port.power("h1", on=False)
    clock.forward(10)
    assert await port.power_state("h1") is Power.OFF
    await port.evacuate("s1", to="h2", request_id="r1")
    server = await port.server("s1")
    assert server.task == "rebuilding"
    while server.task is not None:
        clock.forward(0.1)
        server = await port.server("s1")
    # As Nova does: the guest runs elsewhere, and the record names the old host until the move has ended.
    assert server.host == "h1"
    assert not (await port.migrations("s1"))[-1].status.ended
    clock.forward(60)
    server = await port.server("s1")
    assert (server.host, server.state, server.task) == ("h2", ServerState.ACTIVE, None)
    assert (await ended(port, "s1")).status is MigrationStatus.COMPLETED
    assert set(await port.allocations("s1")) == {"h1", "h2"}  # the dead host keeps its claim until it is back


async def test_every_source_has_a_word_about_every_host(port, clock):
    await port.inject("host-crash", "h1")
    clock.forward(120)
    words = {(word.source, word.host): word.alive for word in await port.heartbeats()}
    assert len(words) == 3 * 4
    assert {source for (source, host), alive in words.items() if host == "h1" and not alive} == {
        "compute-service", "management-network", "storage",
    }  # fmt: skip
    assert all(alive for (_, host), alive in words.items() if host != "h1")


async def test_faults_are_named_and_end(port, clock):
    with pytest.raises(BadInputError, match="host-crash"):
        await port.inject("flood", "h1")
    for kind in FAULTS:
        await port.inject(kind, "h3")
    clock.forward(120)
    assert (await port.host("h3")).state is HostState.DOWN
    await port.clear_faults()
    clock.forward(120)
    assert (await port.host("h3")).state is HostState.UP


async def test_a_lost_answer_leaves_doubt_that_reading_ends(port, clouds, embedded, clock):
    embedded.port(CLOUD.domain).trouble.lose_answers(1, when="after")
    with pytest.raises(LostAnswerError):
        await port.live_migrate("s1", to="h2", request_id="r1")
    assert [migration.request_id for migration in await port.migrations("s1")] == ["r1"]
    embedded.port(CLOUD.domain).trouble.lose_answers(1, when="before")
    with pytest.raises(LostAnswerError):
        await port.live_migrate("s2", to="h3", request_id="r2")
    assert await port.migrations("s2") == ()


async def test_a_board_controller_that_fails_is_transient_and_the_power_unknown(port, embedded):
    embedded.port(CLOUD.domain).trouble.break_fence("h1", how="error")
    with pytest.raises(TransientError):
        await port.power("h1", on=False)
    assert await port.power_state("h1") is Power.UNKNOWN

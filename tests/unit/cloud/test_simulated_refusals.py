import pytest

from restow.cloud.model import HostState, Move, ServerState
from restow.cloud.port import MigrationStatus
from restow.cloud.simulated import SimulatedCloud, SimulationOptions
from restow.errors import PermanentError
from support.builders import a_cloud, a_group, a_host, a_server
from support.clocks import ManualClock


def world(hosts, servers, *, groups=(), seed=1, **options):
    clock = ManualClock()
    cloud = a_cloud(hosts, servers, groups=groups)
    return SimulatedCloud(cloud, clock, seed=seed, options=SimulationOptions(**options)), clock


async def outcome(cloud, clock, server, to, *, move="live_migrate"):
    await getattr(cloud, move)(server, to=to, request_id="r")
    clock.forward(100)
    return (await cloud.migrations(server))[-1]


@pytest.mark.parametrize(
    ("target", "server", "reason"),
    [
        ({"enabled": False}, {}, "disabled"),
        ({"maintenance": True}, {}, "disabled"),
        ({"state": HostState.DOWN}, {}, "unavailable"),
        ({"forced_down": True}, {}, "unavailable"),
        ({"zone": "az9"}, {"zone": "az1"}, "zone az1"),
        ({}, {"requires": frozenset({"CUSTOM_SSD"})}, "lacks traits CUSTOM_SSD"),
        ({"traits": frozenset({"CUSTOM_GPU"})}, {"forbids": frozenset({"CUSTOM_GPU"})}, "forbidden traits"),
        ({"memory_mib": 1000}, {}, "1000 memory_mib free, 1024 asked for"),
        ({}, {"move": Move.COLD}, "cannot be moved so"),
        ({}, {"move": Move.NONE}, "cannot be moved so"),
    ],
)
async def test_a_live_migration_that_may_not_be_fails_a_moment_later(target, server, reason):
    cloud, clock = world([a_host("h1"), a_host("h2", **target)], [a_server("s", on="h1", **server)])
    migration = await outcome(cloud, clock, "s", "h2")
    assert migration.status is MigrationStatus.FAILED
    assert reason in migration.reason
    assert (await cloud.server("s")).task is None
    assert cloud.truth()["s"] == {"h1"}
    assert cloud.violations() == ()


async def test_a_source_that_is_forced_down_sends_nothing():
    cloud, clock = world([a_host("h1"), a_host("h2")], [a_server("s", on="h1")])
    await cloud.force_down("h1", down=True)
    migration = await outcome(cloud, clock, "s", "h2")
    assert migration.reason == "Compute service of h1 is unavailable"


async def test_members_on_their_way_count_for_anti_affinity():
    servers = [a_server("a", on="h1"), a_server("b", on="h2"), a_server("c", on="h4")]
    group = a_group("g", "anti-affinity", ["a", "b", "c"])
    cloud, clock = world([a_host(f"h{n}") for n in (1, 2, 3, 4)], servers, groups=[group])
    await cloud.live_migrate("a", to="h3", request_id="r1")
    clock.forward(1)
    await cloud.live_migrate("b", to="h3", request_id="r2")
    clock.forward(60)
    assert (await cloud.migrations("a"))[-1].status is MigrationStatus.COMPLETED
    assert (await cloud.migrations("b"))[-1].status is MigrationStatus.FAILED


async def test_so_many_members_per_host_are_taken_and_no_more():
    servers = [a_server("a", on="h1"), a_server("b", on="h2"), a_server("c", on="h3")]
    group = a_group("g", "anti-affinity", ["a", "b", "c"], max_per_host=2)
    cloud, clock = world([a_host(f"h{n}") for n in (1, 2, 3)], servers, groups=[group])
    assert (await outcome(cloud, clock, "a", "h3")).status is MigrationStatus.COMPLETED
    assert (await outcome(cloud, clock, "b", "h3")).status is MigrationStatus.FAILED


async def test_a_member_cannot_leave_its_affinity_group():
    servers = [a_server("a", on="h1"), a_server("b", on="h1")]
    cloud, clock = world([a_host("h1"), a_host("h2")], servers, groups=[a_group("g", "affinity", ["a", "b"])])
    assert (await outcome(cloud, clock, "a", "h2")).status is MigrationStatus.FAILED


async def test_an_affinity_group_of_a_dead_host_is_rebuilt_together():
    servers = [a_server("a", on="h1"), a_server("b", on="h1")]
    group = a_group("g", "affinity", ["a", "b"])
    cloud, clock = world([a_host("h1"), a_host("h2"), a_host("h3")], servers, groups=[group])
    await cloud.inject("host-crash", "h1")
    await cloud.force_down("h1", down=True)
    assert (await outcome(cloud, clock, "a", "h2", move="evacuate")).status is MigrationStatus.COMPLETED
    assert (await outcome(cloud, clock, "b", "h3", move="evacuate")).status is MigrationStatus.FAILED
    assert (await outcome(cloud, clock, "b", "h2", move="evacuate")).status is MigrationStatus.COMPLETED


async def test_both_ends_of_a_move_hold_their_claim():
    servers = [a_server("a", on="h1", vcpu=8), a_server("b", on="h2", vcpu=8)]
    cloud, clock = world([a_host("h1"), a_host("h2"), a_host("h3", vcpu=8)], servers)
    await cloud.live_migrate("a", to="h3", request_id="r1")
    clock.forward(1)
    assert "0 vcpu free" in (await outcome(cloud, clock, "b", "h3")).reason
    assert [(held.server, held.hosts) for held in cloud.history()] == [
        ("a", ("h1",)), ("b", ("h2",)), ("a", ("h1", "h3")), ("a", ("h3",)),
    ]  # fmt: skip


async def test_an_evacuation_is_refused_while_the_host_is_in_use():
    cloud, clock = world([a_host("h1"), a_host("h2")], [a_server("s", on="h1")])
    with pytest.raises(PermanentError, match="still in use"):
        await cloud.evacuate("s", to="h2", request_id="r")
    await cloud.inject("host-crash", "h1")
    with pytest.raises(PermanentError, match="still in use"):
        await cloud.evacuate("s", to="h2", request_id="r")
    clock.forward(61)  # service_down_time
    await cloud.evacuate("s", to="h2", request_id="r")


async def test_an_evacuation_to_a_host_that_cannot_take_it_leaves_the_server_in_error_and_may_be_asked_again():
    cloud, clock = world([a_host("h1"), a_host("h2", vcpu=1), a_host("h3")], [a_server("s", on="h1", vcpu=2)])
    await cloud.inject("host-crash", "h1")
    await cloud.force_down("h1", down=True)
    assert (await outcome(cloud, clock, "s", "h2", move="evacuate")).status is MigrationStatus.FAILED
    assert ((await cloud.server("s")).host, (await cloud.server("s")).state) == ("h1", ServerState.ERROR)
    assert (await outcome(cloud, clock, "s", "h3", move="evacuate")).status is MigrationStatus.COMPLETED
    assert (await cloud.server("s")).state is ServerState.ACTIVE


async def test_a_stopped_server_is_stopped_after_its_evacuation():
    cloud, clock = world([a_host("h1"), a_host("h2")], [a_server("s", on="h1", state=ServerState.STOPPED)])
    await cloud.force_down("h1", down=True)
    await outcome(cloud, clock, "s", "h2", move="evacuate")
    assert ((await cloud.server("s")).host, (await cloud.server("s")).state) == ("h2", ServerState.STOPPED)


async def test_an_evacuation_asked_for_twice_corrupts_the_server():
    ends = set()
    for seed in range(12):
        cloud, clock = world([a_host("h1"), a_host("h2"), a_host("h3")], [a_server("s", on="h1")], seed=seed)
        await cloud.inject("host-crash", "h1")
        await cloud.force_down("h1", down=True)
        await cloud.evacuate("s", to="h2", request_id="r1")
        clock.forward(0.7)
        await cloud.evacuate("s", to="h3", request_id="r2")
        clock.forward(200)
        server = await cloud.server("s")
        assert [broken.kind for broken in cloud.violations()] == ["evacuated-twice"]
        ends.add((server.state, server.task))
    assert ends == {(ServerState.ERROR, None), (ServerState.ACTIVE, "rebuilding")}


async def test_every_action_is_on_record_with_its_request_id_and_its_outcome():
    cloud, _ = world([a_host("h1"), a_host("h2")], [a_server("s", on="h1")])
    await cloud.disable("h1", reason="tests")
    await cloud.live_migrate("s", to="h2", request_id="req-1")
    with pytest.raises(PermanentError):
        await cloud.stop("s", request_id="req-2")
    assert [(call.method, call.args, call.request_id) for call in cloud.calls] == [
        ("disable", ("h1", "tests"), ""), ("live_migrate", ("s", "h2"), "req-1"), ("stop", ("s",), "req-2"),
    ]  # fmt: skip
    assert [call.outcome for call in cloud.calls][:2] == ["taken", "taken"]
    assert "under way" in cloud.calls[2].outcome

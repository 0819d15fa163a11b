from contextlib import nullcontext

import pytest

from restow.cloud.model import HostState, Power, ServerState
from restow.cloud.port import MigrationStatus
from restow.cloud.simulated import SimulatedCloud, SimulationOptions
from restow.errors import BadInputError, LostAnswerError, TransientError
from support.builders import a_cloud, a_host, a_server
from support.clocks import ManualClock

STEADY = {"load_daily": 0.0, "load_noise": 0.0, "crash_powers_off": 0.0}


def world(hosts=None, servers=None, *, seed=1, **options):
    clock = ManualClock()
    hosts = hosts or [a_host("h1"), a_host("h2"), a_host("h3")]
    servers = servers or [a_server("s1", on="h1"), a_server("s2", on="h2")]
    options = SimulationOptions(**(STEADY | options))
    return SimulatedCloud(a_cloud(hosts, servers), clock, seed=seed, options=options), clock


async def silent(cloud, host):
    return {word.source for word in await cloud.heartbeats() if word.host == host and not word.alive}


ALL = {"compute-service", "management-network", "storage"}


@pytest.mark.parametrize(
    ("fault", "at_once", "later", "guests"),
    [
        ("host-crash", {"management-network", "storage"}, ALL, set()),
        ("host-hang", {"management-network", "storage"}, ALL, {"h1"}),
        ("network-loss", {"management-network"}, {"compute-service", "management-network"}, {"h1"}),
        ("agent-down", set(), {"compute-service"}, {"h1"}),
        ("hot-host", set(), set(), {"h1"}),
    ],
)
async def test_each_fault_silences_its_sources_and_does_its_harm(fault, at_once, later, guests):
    cloud, clock = world()
    await cloud.inject(fault, "h1")
    assert await silent(cloud, "h1") == at_once
    assert (await cloud.host("h1")).state is HostState.UP
    assert cloud.truth()["s1"] == guests
    assert (await cloud.server("s1")).state is ServerState.ACTIVE  # Nova does not know
    clock.forward(61)
    assert await silent(cloud, "h1") == later
    assert (await cloud.host("h1")).state is (HostState.DOWN if "compute-service" in later else HostState.UP)
    assert await silent(cloud, "h2") == set()


async def test_a_crash_takes_the_power_or_not_by_seed():
    powers = set()
    for seed in range(20):
        cloud, _ = world(seed=seed, crash_powers_off=0.5)
        await cloud.inject("host-crash", "h1")
        powers.add(await cloud.power_state("h1"))
    assert powers == {Power.ON, Power.OFF}


async def test_a_hot_host_is_hot_through_its_servers_and_they_take_the_heat_along():
    cloud, clock = world(
        [a_host("h1"), a_host("h2")], [a_server(f"s{n}", on="h1", vcpu=4, load={"cpu_cores": 0.5}) for n in (1, 2)]
    )
    await cloud.inject("hot-host", "h1")
    assert (await cloud.host("h1")).load["cpu_cores"] == pytest.approx(0.95 * 8)
    await cloud.live_migrate("s1", to="h2", request_id="r")
    clock.forward(30)
    assert (await cloud.host("h1")).load["cpu_cores"] == pytest.approx(0.95 * 4)
    assert (await cloud.host("h2")).load["cpu_cores"] == pytest.approx(0.95 * 4)
    await cloud.clear_faults("h1")
    assert (await cloud.host("h2")).load["cpu_cores"] == pytest.approx(0.5)


@pytest.mark.parametrize("hour", [0, 6, 12, 18])
async def test_a_hot_host_is_as_hot_at_every_hour(hour):
    servers = [a_server(f"s{n}", on="h1", vcpu=4, load={"cpu_cores": 1.5}) for n in (1, 2)]
    cloud, clock = world([a_host("h1")], servers, load_daily=0.4)
    clock.forward(hour * 3600)
    await cloud.inject("hot-host", "h1")
    assert (await cloud.host("h1")).load["cpu_cores"] == pytest.approx(0.95 * 8, abs=0.01)


async def test_what_the_hot_hosts_servers_cannot_burn_is_burnt_beside_them():
    cloud, _ = world([a_host("h1")], [a_server("s1", on="h1", vcpu=2)])
    await cloud.inject("hot-host", "h1")
    assert (await cloud.host("h1")).load["cpu_cores"] == pytest.approx(0.95 * 8)
    assert (await cloud.server("s1")).load["cpu_cores"] == pytest.approx(2.0)


async def recovered(cloud, clock):
    await cloud.power("h1", on=False)
    await cloud.force_down("h1", down=True)
    clock.forward(10)
    await cloud.evacuate("s1", to="h3", request_id="r")
    clock.forward(60)
    assert (await cloud.server("s1")).host == "h3"


async def test_a_host_that_returns_gives_up_what_was_evacuated_and_stays_forced_down():
    cloud, clock = world()
    await cloud.inject("host-crash", "h1")
    await recovered(cloud, clock)
    assert set(await cloud.allocations("s1")) == {"h1", "h3"}
    await cloud.clear_faults("h1")
    clock.forward(91)
    assert set(await cloud.allocations("s1")) == {"h3"}
    assert cloud.truth()["s1"] == {"h3"}
    host = await cloud.host("h1")
    assert (host.state, host.forced_down, host.power) == (HostState.DOWN, True, Power.ON)
    assert await silent(cloud, "h1") == set()
    await cloud.force_down("h1", down=False)
    clock.forward(5)
    assert (await cloud.host("h1")).state is HostState.UP
    assert cloud.violations() == ()


@pytest.mark.parametrize(("resume", "state", "where"), [(True, "active", {"h1"}), (False, "stopped", set())])
async def test_guests_of_a_host_that_boots_again_resume_or_are_stopped(resume, state, where):
    cloud, clock = world(guests_resume=resume)
    await cloud.inject("host-crash", "h1")
    clock.forward(100)
    await cloud.clear_faults()
    clock.forward(91)
    assert (await cloud.server("s1")).state == state
    assert cloud.truth()["s1"] == where
    assert (await cloud.host("h1")).state is HostState.UP


@pytest.mark.parametrize("fault", ["host-hang", "network-loss"])
async def test_evacuating_from_a_host_that_was_not_fenced_runs_a_server_twice(fault):
    cloud, clock = world()
    await cloud.inject(fault, "h1")
    clock.forward(61)
    await cloud.evacuate("s1", to="h3", request_id="r")
    clock.forward(60)
    assert cloud.truth()["s1"] == {"h1", "h3"}
    assert [(broken.kind, broken.server) for broken in cloud.violations()] == [("two-places", "s1")]


@pytest.mark.parametrize("fault", ["host-hang", "network-loss"])
async def test_evacuating_from_a_fenced_host_does_not(fault):
    cloud, clock = world()
    await cloud.inject(fault, "h1")
    await recovered(cloud, clock)
    assert cloud.truth()["s1"] == {"h3"}
    assert cloud.violations() == ()


async def test_power_goes_off_after_a_while_and_asking_again_does_not_start_over():
    cloud, clock = world(power_off_s=3.0)
    await cloud.power("h1", on=False)
    clock.forward(2)
    assert await cloud.power_state("h1") is Power.ON
    await cloud.power("h1", on=False)
    clock.forward(1)
    assert await cloud.power_state("h1") is Power.OFF
    assert cloud.truth()["s1"] == set()


async def test_a_host_that_is_powered_on_boots_before_it_is_up():
    cloud, clock = world([a_host("h1", power=Power.OFF), a_host("h2")], [a_server("s2", on="h2")])
    assert (await cloud.host("h1")).state is HostState.DOWN
    await cloud.power("h1", on=True)
    clock.forward(89)
    assert (await cloud.host("h1")).state is HostState.DOWN
    clock.forward(2)
    assert (await cloud.host("h1")).state is HostState.UP


@pytest.mark.parametrize(("how", "state"), [("ignored", Power.ON), ("error", Power.UNKNOWN)])
async def test_a_broken_fence_leaves_the_guests_alive(how, state):
    cloud, clock = world()
    cloud.trouble.break_fence("h1", how=how)
    with pytest.raises(TransientError) if how == "error" else nullcontext():
        await cloud.power("h1", on=False)
    clock.forward(60)
    assert await cloud.power_state("h1") is state
    assert cloud.truth()["s1"] == {"h1"}
    cloud.trouble.mend_fence("h1")
    await cloud.power("h1", on=False)
    clock.forward(60)
    assert await cloud.power_state("h1") is Power.OFF


@pytest.mark.parametrize("fault", ["host-crash", "host-hang", "network-loss"])
async def test_a_migration_whose_source_dies_stays_under_way_until_the_source_is_back(fault):
    cloud, clock = world(servers=[a_server("s1", on="h1", memory_mib=16_000), a_server("s2", on="h1")])
    await cloud.live_migrate("s1", to="h3", request_id="r1")
    await cloud.live_migrate("s2", to="h3", request_id="r2")
    clock.forward(4)
    await cloud.inject(fault, "h1")
    clock.forward(3600)
    moving = (await cloud.migrations("s1"))[-1]
    await cloud.abort_migration("s1", migration=moving.id)  # taken, and never heard
    clock.forward(60)
    assert (await cloud.migrations("s1"))[-1].status is MigrationStatus.RUNNING
    assert (await cloud.migrations("s2"))[-1].status is MigrationStatus.QUEUED
    assert set(await cloud.allocations("s1")) == {"h1", "h3"}
    assert (await cloud.server("s1")).task == "migrating"
    assert cloud.truth()["s1"] == (frozenset() if fault == "host-crash" else {"h1"})
    await cloud.clear_faults("h1")
    clock.forward(120)
    for server in ("s1", "s2"):
        assert (await cloud.migrations(server))[-1].status is MigrationStatus.FAILED
        assert set(await cloud.allocations(server)) == {"h1"}
        assert (await cloud.server(server)).task is None
    assert cloud.violations() == ()


@pytest.mark.parametrize("fault", ["host-crash", "host-hang", "network-loss"])
async def test_a_migration_whose_target_dies_fails_and_frees_it(fault):
    end = "h3"
    cloud, clock = world(servers=[a_server("s1", on="h1", memory_mib=16_000), a_server("s2", on="h1")])
    await cloud.live_migrate("s1", to="h3", request_id="r1")
    await cloud.live_migrate("s2", to="h3", request_id="r2")
    clock.forward(4)
    await cloud.inject(fault, end)
    clock.forward(60)
    for server in ("s1", "s2"):
        assert (await cloud.migrations(server))[-1].status is MigrationStatus.FAILED
        assert set(await cloud.allocations(server)) == {"h1"}
        assert (await cloud.server(server)).task is None
    assert cloud.violations() == ()


async def test_a_dead_agent_does_not_stop_what_is_being_copied():
    cloud, clock = world()
    await cloud.live_migrate("s1", to="h3", request_id="r1")
    clock.forward(2)
    await cloud.inject("agent-down", "h3")
    clock.forward(60)
    assert (await cloud.server("s1")).host == "h3"


async def test_a_silent_source_repeats_its_last_words():
    cloud, clock = world()
    before = [word for word in await cloud.heartbeats() if word.source == "storage"]
    cloud.trouble.silence("storage")
    await cloud.inject("host-crash", "h1")
    clock.forward(100)
    assert [word for word in await cloud.heartbeats() if word.source == "storage"] == before
    cloud.trouble.hear("storage")
    assert "storage" in await silent(cloud, "h1")
    with pytest.raises(BadInputError, match="management-network"):
        cloud.trouble.silence("rumour")


async def test_stale_reads_show_the_past_and_single_reads_do_not():
    cloud, clock = world()
    cloud.trouble.stale_reads(30)
    await cloud.disable("h1", reason="tests")
    clock.forward(29)
    stale = await cloud.read()
    assert stale.host_by_name["h1"].enabled
    assert (await cloud.host("h1")).enabled is False
    clock.forward(2)
    assert (await cloud.read()).host_by_name["h1"].enabled is False
    cloud.trouble.stale_reads(0)
    await cloud.enable("h1")
    assert (await cloud.read()).host_by_name["h1"].enabled


async def test_what_happens_between_two_looks_is_seen_late_too():
    cloud, clock = world()
    cloud.trouble.stale_reads(30)
    await cloud.live_migrate("s1", to="h3", request_id="r")
    clock.forward(35)  # the move ended some 3 s after it was asked for
    assert (await cloud.read()).server_by_id["s1"].host == "h3"
    await cloud.live_migrate("s1", to="h1", request_id="r")
    clock.forward(20)
    assert (await cloud.server("s1")).host == "h1"
    assert (await cloud.read()).server_by_id["s1"].host == "h3"


async def test_slow_answers_take_the_time_of_the_clock():
    cloud, clock = world()
    cloud.trouble.slow_answers(7, methods=["read"])
    before = clock.now()
    await cloud.read()
    assert (clock.now() - before).total_seconds() == 7
    await cloud.host("h1")
    assert (clock.now() - before).total_seconds() == 7


async def test_lost_answers_are_lost_so_often_and_for_these_methods_only():
    cloud, _ = world()
    cloud.trouble.lose_answers(1, when="before", methods=["disable"])
    await cloud.force_down("h2", down=True)
    with pytest.raises(LostAnswerError):
        await cloud.disable("h1", reason="tests")
    assert (await cloud.host("h1")).enabled
    await cloud.disable("h1", reason="tests")
    assert (await cloud.host("h1")).enabled is False
    assert [call.outcome for call in cloud.calls] == ["taken", "lost before", "taken"]


async def test_users_boot_and_delete_servers_behind_our_back():
    cloud, clock = world()
    cloud.add_server(a_server("new", on="h3"))
    assert (await cloud.server("new")).host == "h3"
    await cloud.live_migrate("new", to="h1", request_id="r")
    clock.forward(1.5)
    cloud.remove_server("new")
    clock.forward(60)
    assert "new" not in (await cloud.read()).server_by_id
    assert "new" not in cloud.truth()
    cloud.add_server(a_server("fits", on="h3", vcpu=16))
    assert cloud.violations() == ()


async def test_an_outage_shorter_than_the_patience_of_nova_is_never_seen():
    cloud, clock = world(service_down_time_s=60.0)
    await cloud.inject("agent-down", "h1")
    clock.forward(40)
    await cloud.clear_faults("h1")
    clock.forward(10)
    await cloud.inject("agent-down", "h1")
    clock.forward(15)  # 65 s after the first outage began, 15 s after the second
    assert (await cloud.host("h1")).state is HostState.UP
    clock.forward(46)
    assert (await cloud.host("h1")).state is HostState.DOWN


async def test_a_host_that_boots_while_its_servers_are_rebuilt_elsewhere_does_not_start_them():
    cloud, clock = world(host_boot_s=5.0, evacuate_s=20.0)
    await cloud.inject("host-crash", "h1")
    await cloud.force_down("h1", down=True)
    await cloud.evacuate("s1", to="h3", request_id="r")
    await cloud.clear_faults("h1")
    clock.forward(60)
    assert cloud.truth()["s1"] == {"h3"}
    assert cloud.violations() == ()
    assert set(await cloud.allocations("s1")) == {"h3"}


async def test_a_host_whose_network_returns_deletes_what_was_rebuilt_elsewhere():
    cloud, clock = world()
    await cloud.inject("network-loss", "h1")
    clock.forward(61)
    await cloud.evacuate("s1", to="h3", request_id="r")
    clock.forward(60)
    await cloud.clear_faults("h1")
    assert cloud.truth()["s1"] == {"h3"}
    assert (await cloud.host("h1")).state is HostState.UP


async def test_a_host_that_was_switched_off_on_purpose_stays_off_when_faults_end():
    cloud, clock = world([a_host("h1"), a_host("h2")], [a_server("s2", on="h2")])
    await cloud.power("h1", on=False)
    await cloud.inject("hot-host", "h1")
    clock.forward(60)
    await cloud.clear_faults()
    clock.forward(200)
    assert await cloud.power_state("h1") is Power.OFF

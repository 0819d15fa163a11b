import pytest

from restow.cloud.model import Move, ServerState
from restow.cloud.port import MigrationStatus
from restow.cloud.simulated import SimulatedCloud, SimulationOptions
from restow.cloud.simulated.engine import MIB_PER_S_OF_MBPS
from restow.cloud.simulated.ledger import Ledger
from support.builders import a_cloud, a_host, a_server
from support.clocks import ManualClock

MBPS_OF_100_MIB_S = round(100 / MIB_PER_S_OF_MBPS)
QUICK = {"decide_s": 0.0, "prepare_s": 0.0, "load_daily": 0.0, "load_noise": 0.0}


def world(hosts, servers, **options):
    clock = ManualClock()
    return SimulatedCloud(a_cloud(hosts, servers), clock, seed=1, options=SimulationOptions(**(QUICK | options))), clock


def slow_host(name, **other):
    return a_host(name, link_mbps=MBPS_OF_100_MIB_S, **other)


async def status(cloud, server):
    return (await cloud.migrations(server))[-1].status


async def seconds_until_moved(cloud, clock, server, *, limit=1000, step=0.25):
    start = clock.now()
    while not (await status(cloud, server)).ended:
        clock.forward(step)
        assert (clock.now() - start).total_seconds() < limit
    return (clock.now() - start).total_seconds()


@pytest.mark.parametrize(("dirty", "seconds"), [(0.0, 10.0), (50.0, 20.0), (90.0, 100.0)])
async def test_a_live_migration_takes_memory_over_bandwidth_less_dirty_rate(dirty, seconds):
    cloud, clock = world(
        [slow_host("h1"), slow_host("h2")], [a_server("s", on="h1", memory_mib=1000, dirty_mib_s=dirty)]
    )
    await cloud.live_migrate("s", to="h2", request_id="r")
    assert await seconds_until_moved(cloud, clock, "s") == pytest.approx(seconds, abs=0.5)


async def test_the_slower_link_decides():
    cloud, clock = world([a_host("h1"), slow_host("h2")], [a_server("s", on="h1", memory_mib=1000, dirty_mib_s=0.0)])
    await cloud.live_migrate("s", to="h2", request_id="r")
    assert await seconds_until_moved(cloud, clock, "s") == pytest.approx(10, abs=0.5)


async def test_two_migrations_into_one_host_share_its_link():
    servers = [a_server(f"s{n}", on=f"h{n}", memory_mib=1000, dirty_mib_s=0.0) for n in (1, 2)]
    cloud, clock = world([slow_host("h1"), slow_host("h2"), slow_host("h3")], servers)
    await cloud.live_migrate("s1", to="h3", request_id="r1")
    clock.forward(5)
    await cloud.live_migrate("s2", to="h3", request_id="r2")
    # s1 has 500 MiB left and half the link: 10 s more; s2 then has 500 MiB left and all of it: 5 s more.
    assert await seconds_until_moved(cloud, clock, "s1") == pytest.approx(10, abs=0.5)
    assert await seconds_until_moved(cloud, clock, "s2") == pytest.approx(5, abs=0.5)


async def test_progress_is_the_share_that_is_copied():
    cloud, clock = world([slow_host("h1"), slow_host("h2")], [a_server("s", on="h1", memory_mib=1000, dirty_mib_s=0.0)])
    await cloud.live_migrate("s", to="h2", request_id="r")
    clock.forward(4)
    assert (await cloud.migrations("s"))[-1].progress == pytest.approx(0.4, abs=0.01)


async def test_more_live_migrations_out_of_one_host_wait_in_a_queue():
    servers = [a_server(f"s{n}", on="h1", memory_mib=1000, dirty_mib_s=0.0) for n in (1, 2, 3)]
    cloud, clock = world([slow_host("h1"), slow_host("h2")], servers)
    for n in (1, 2, 3):
        await cloud.live_migrate(f"s{n}", to="h2", request_id=f"r{n}")
    clock.forward(1)
    assert [await status(cloud, f"s{n}") for n in (1, 2, 3)] == ["running", "queued", "queued"]
    await cloud.abort_migration("s2", migration=(await cloud.migrations("s2"))[-1].id)
    assert await status(cloud, "s2") is MigrationStatus.CANCELLED
    clock.forward(10)
    assert [await status(cloud, f"s{n}") for n in (1, 3)] == ["completed", "running"]
    assert (await cloud.server("s2")).host == "h1"


async def test_a_guest_that_dirties_faster_than_the_link_never_arrives():
    server = a_server("s", on="h1", memory_mib=1000, dirty_mib_s=150.0)
    cloud, clock = world([slow_host("h1"), slow_host("h2")], [server])
    await cloud.live_migrate("s", to="h2", request_id="r")
    clock.forward(100_000)
    assert await status(cloud, "s") is MigrationStatus.RUNNING
    await cloud.abort_migration("s", migration=(await cloud.migrations("s"))[-1].id)
    clock.forward(2)
    assert await status(cloud, "s") is MigrationStatus.CANCELLED
    assert (await cloud.server("s")).host == "h1"


async def test_a_completion_timeout_gives_the_copying_up():
    server = a_server("s", on="h1", memory_mib=1000, dirty_mib_s=1.0)
    cloud, clock = world([slow_host("h1"), slow_host("h2")], [server], completion_timeout_s=60.0)
    cloud.trouble.never_converges("s")
    await cloud.live_migrate("s", to="h2", request_id="r")
    clock.forward(59)
    assert await status(cloud, "s") is MigrationStatus.RUNNING
    clock.forward(2)
    assert await status(cloud, "s") is MigrationStatus.CANCELLED
    assert set(await cloud.allocations("s")) == {"h1"}


@pytest.mark.parametrize(("in_error", "state"), [(False, ServerState.ACTIVE), (True, ServerState.ERROR)])
async def test_a_migration_can_fail_after_copying_and_the_guest_stays(in_error, state):
    cloud, clock = world([slow_host("h1"), slow_host("h2")], [a_server("s", on="h1")])
    cloud.trouble.fails("s", why="post-copy lost", in_error=in_error)
    await cloud.live_migrate("s", to="h2", request_id="r")
    clock.forward(100)
    assert (await cloud.migrations("s"))[-1].reason == "post-copy lost"
    assert ((await cloud.server("s")).host, (await cloud.server("s")).state) == ("h1", state)
    assert cloud.truth()["s"] == {"h1"}


async def test_a_cold_migration_stops_the_guest_meanwhile():
    cloud, clock = world([a_host("h1"), a_host("h2")], [a_server("s", on="h1", move=Move.COLD)], cold_s=20.0)
    await cloud.cold_migrate("s", to="h2", request_id="r")
    clock.forward(10)
    assert cloud.truth()["s"] == set()
    assert set(await cloud.allocations("s")) == {"h1", "h2"}
    clock.forward(11)
    assert cloud.truth()["s"] == {"h2"}
    assert (await cloud.server("s")).state is ServerState.ACTIVE


async def test_load_follows_the_day_is_sampled_and_depends_on_time_alone():
    servers = [a_server(f"s{n}", on="h1", vcpu=4, load={"cpu_cores": 2.0}) for n in range(4)]
    options = {"load_daily": 0.5, "load_noise": 0.1}
    (one, clock), (other, late) = world([a_host("h1")], servers, **options), world([a_host("h1")], servers, **options)
    seen = []
    for _ in range(24):
        seen.append((await one.host("h1")).load["cpu_cores"])
        clock.forward(3600)
    assert max(seen) > 1.3 * min(seen)
    assert all(load <= 16 for load in seen)
    late.forward(5 * 3600)
    assert (await other.host("h1")).load["cpu_cores"] == seen[5]
    late.forward(1)
    assert (await other.host("h1")).load["cpu_cores"] == seen[5]


async def test_the_load_of_a_host_is_that_of_its_servers():
    cloud, clock = world(
        [a_host("h1"), a_host("h2")], [a_server(f"s{n}", on="h1", load={"cpu_cores": 1.5}, vcpu=2) for n in (1, 2)]
    )
    assert (await cloud.host("h1")).load["cpu_cores"] == 3.0
    await cloud.live_migrate("s1", to="h2", request_id="r")
    clock.forward(30)
    assert (await cloud.host("h1")).load["cpu_cores"] == 1.5
    assert (await cloud.host("h2")).load["cpu_cores"] == 1.5


async def test_what_did_not_change_is_the_same_object():
    cloud, clock = world([a_host("h1"), a_host("h2"), a_host("h3")], [a_server("s1", on="h1"), a_server("s2", on="h3")])
    before = await cloud.read()
    clock.forward(1)
    same = await cloud.read()
    assert same.hosts is before.hosts
    assert same.servers is before.servers
    assert same.taken_at > before.taken_at
    await cloud.live_migrate("s1", to="h2", request_id="r")
    after = await cloud.read()
    assert after.server_by_id["s1"] is not before.server_by_id["s1"]
    assert after.server_by_id["s2"] is before.server_by_id["s2"]
    assert after.host_by_name["h3"] is before.host_by_name["h3"]


async def test_two_migrations_out_of_one_host_share_its_link():
    servers = [a_server(f"s{n}", on="h1", memory_mib=1000, dirty_mib_s=0.0) for n in (1, 2)]
    cloud, clock = world([slow_host("h1"), a_host("h2"), a_host("h3")], servers, live_migrations_per_source_max=2)
    await cloud.live_migrate("s1", to="h2", request_id="r1")
    await cloud.live_migrate("s2", to="h3", request_id="r2")
    assert await seconds_until_moved(cloud, clock, "s1") == pytest.approx(20, abs=0.5)
    assert (await status(cloud, "s2")).ended


def test_a_ledger_takes_the_same_claim_once_and_notes_what_is_too_much():
    ledger = Ledger(("vcpu",), {"h1": {"vcpu": 3}})
    for _ in range(2):
        ledger.claim("a", "h1", {"vcpu": 2}, now=1.0)
    assert ledger.used == {"h1": {"vcpu": 2}}
    assert ledger.lacks("h1", {"vcpu": 2})
    assert not ledger.lacks("h1", {"vcpu": 1})
    ledger.claim("b", "h1", {"vcpu": 2}, now=2.0)
    assert [(broken.kind, broken.at, broken.detail) for broken in ledger.broken] == [("capacity", 2.0, "4 of 3 vcpu")]
    ledger.release("b", "h1", now=3.0)
    ledger.release("b", "h1", now=3.0)
    assert ledger.used == {"h1": {"vcpu": 2}}

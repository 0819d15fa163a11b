"""Random but repeatable use of random clouds: what must hold whatever is asked for and whatever breaks."""

from random import Random

import pytest

from restow.cloud.model import Cloud, Power
from restow.cloud.port import FAULTS
from restow.cloud.simulated import SimulatedCloud, SimulationOptions
from restow.cloud.snapshot import dump_cloud
from restow.errors import RestowError
from support.clocks import ManualClock
from support.strategies import random_legal_cloud

CALLS = 150


async def use(cloud: Cloud, *, seed: int, careful: bool) -> tuple[SimulatedCloud, list[object]]:
    """Ask for anything at all. `careful`: evacuate only what stands on fenced hosts, and never twice."""
    random = Random(seed)
    clock = ManualClock()
    sim = SimulatedCloud(cloud, clock, seed=seed, options=SimulationOptions(service_down_time_s=20, host_boot_s=30))
    servers, hosts = [server.id for server in cloud.servers], [host.name for host in cloud.hosts]
    trace: list[object] = []
    for number in range(CALLS):
        clock.forward(random.choice((0, 0.5, 3, 20)))
        server, host, request = random.choice(servers), random.choice(hosts), f"req-{number}"
        if careful and random.random() < 0.1:
            await sim.force_down(host, down=True)
            await sim.power(host, on=False)
        kind = random.choice(("live", "live", "cold", "evacuate", "abort", "stop", "start", "shelve", "host", "fault"))
        try:
            match kind:
                case "live":
                    await sim.live_migrate(server, to=host, request_id=request)
                case "cold":
                    await sim.cold_migrate(server, to=host, request_id=request)
                case "evacuate":
                    now = await sim.server(server)
                    if careful and (now.host is None or now.task or await sim.power_state(now.host) is not Power.OFF):
                        continue
                    await sim.evacuate(server, to=host, request_id=request)
                case "abort":
                    known = await sim.migrations(server)
                    await sim.abort_migration(server, migration=known[-1].id if known else "none")
                case "stop":
                    await sim.stop(server, request_id=request)
                case "start":
                    await sim.start(server, on=host if random.random() < 0.5 else None, request_id=request)
                case "shelve":
                    await sim.shelve(server, request_id=request)
                case "host":
                    chosen = random.choice(("disable", "enable", "on", "up"))
                    if chosen == "disable":
                        await sim.disable(host, reason="tests")
                    elif chosen == "enable":
                        await sim.enable(host)
                    elif chosen == "on":
                        await sim.power(host, on=True)
                    else:
                        await sim.force_down(host, down=False)
                case "fault":
                    if random.random() < 0.4:
                        await sim.inject(random.choice(FAULTS), host)
                    elif random.random() < 0.5:
                        await sim.clear_faults(host)
            trace.append((kind, "taken"))
        except RestowError as error:
            trace.append((kind, str(error)))
        check(sim)
    trace.append(dump_cloud(await sim.read()))
    trace.append(sim.history())
    trace.append(sim.truth())
    trace.append([await sim.migrations(name) for name in servers])
    return sim, trace


def check(sim: SimulatedCloud) -> None:
    """The ledger's sums are those of its claims, and what stands on a host in the records has a claim there."""
    world = sim._world
    for host, used in world.ledger.used.items():
        for resource, amount in used.items():
            assert amount == sum(held[host].get(resource, 0) for held in world.ledger.claims.values() if host in held)
    for server in world.servers.values():
        if server.host is not None:
            assert server.host in world.ledger.claims[server.id]
    for places in world.ledger.guests.values():
        assert all(world.hosts[host].powered for host in places)


@pytest.mark.parametrize("seed", range(25))
async def test_careful_use_never_breaks_a_promise(seed):
    sim, _ = await use(random_legal_cloud(seed), seed=seed, careful=True)
    assert sim.violations() == ()


async def test_careless_use_does():
    kinds = set()
    for seed in range(25):
        sim, _ = await use(random_legal_cloud(seed), seed=seed, careful=False)
        kinds.update(broken.kind for broken in sim.violations())
    assert kinds == {"two-places"}


async def test_the_same_seed_and_the_same_calls_give_the_same_trace():
    one, two = [await use(random_legal_cloud(3), seed=5, careful=False) for _ in range(2)]
    assert one[1] == two[1]
    other = await use(random_legal_cloud(3), seed=6, careful=False)
    assert one[1] != other[1]


async def test_looking_more_often_changes_nothing():
    async def moved(looks: int) -> list[object]:
        cloud, clock = random_legal_cloud(11), ManualClock()
        sim = SimulatedCloud(cloud, clock, seed=1)
        for server in cloud.servers[:10]:
            for host in cloud.hosts:
                try:
                    await sim.live_migrate(server.id, to=host.name, request_id=f"{server.id}-{host.name}")
                except RestowError:
                    continue
        for _ in range(looks):
            clock.forward(120 / looks)
            await sim.read()
        return [(held.server, held.hosts, round(held.at, 3)) for held in sim.history()]

    assert await moved(1) == await moved(240)

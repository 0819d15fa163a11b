"""Seeded simulated days with random faults: promises 1 to 7 hold. The long run is `make simulate`."""

import pytest

from restow.cloud.simulated.cloud import SimulatedCloud
from restow.ids import HostName, ServerId
from restow.simulation.day import play_day
from restow.simulation.witness import report
from support.builders import a_cloud, a_host, a_server
from support.clocks import ManualClock

HOURS = 6.0


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.timeout(600)
def test_a_day_of_trouble_keeps_the_promises(seed: int) -> None:
    day = play_day(seed, hours=HOURS, replays_max=3)
    assert day.plans > 0, "nothing was ever planned: this day proves nothing"
    assert day.held, f"again: restow simulate day --seed {seed} --hours {HOURS:g}\n{report(day.verdicts)}"


@pytest.mark.timeout(600)
def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    first, again, other = (play_day(seed, hours=2, replays_max=1) for seed in (11, 11, 12))
    assert first.trace == again.trace
    assert first.trace != other.trace


async def test_the_witness_sees_an_evacuation_from_a_host_with_power() -> None:
    clock = ManualClock()
    given = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")])
    cloud = SimulatedCloud(given, clock, seed=1)
    await cloud.inject("host-hang", HostName("h1"))
    await cloud.force_down(HostName("h1"), down=True)
    await cloud.evacuate(ServerId("s1"), to=HostName("h2"), request_id="careless")
    assert [broken.server for broken in cloud.unfenced()] == ["s1"]

"""Services that take a connection and never answer, on real sockets: none costs more than the limits say."""

import asyncio

import pytest

from restow.cloud.openstack.settings import OpenStackSettings, PowerSettings
from restow.errors import TransientError
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid

LIMIT_S = 0.5
HANG_S = 20.0
SETTINGS = OpenStackSettings(answer_timeout_s=LIMIT_S, connect_timeout_s=LIMIT_S)
S0, H0, H1 = uuid(0), host_name(0), host_name(1)


@pytest.fixture
def cloud():
    with standing_in(StandIn()) as serving:
        yield serving


@pytest.mark.parametrize(
    "silent", ["POST /identity/v3/auth/tokens", "GET /identity", "GET /compute/v2.1$", "GET /placement$"]
)
async def test_a_service_that_never_answers_fails_the_read_in_time_and_the_next_one_is_good(cloud, connected, silent):
    clouds = connected(cloud, SETTINGS)
    cloud.troubles.append(Trouble(silent, times=99, wait_s=HANG_S))
    async with asyncio.timeout(6 * LIMIT_S):  # keystoneauth looks for versions at more than one address
        with pytest.raises(TransientError):
            await clouds.port("one").read()
    cloud.troubles.clear()
    assert len((await clouds.port("one").read()).hosts) == 3
    await clouds.close()


async def test_all_calls_that_wait_for_one_new_token_wait_once(cloud, connected):
    clouds = connected(cloud, SETTINGS)
    port = clouds.port("one")
    await port.read()
    cloud.expired.add("token-1")
    cloud.troubles.append(Trouble("POST .*/auth/tokens", times=99, wait_s=HANG_S))
    async with asyncio.timeout(4 * LIMIT_S):  # six collections and a server, each of which needs a token
        ends = await asyncio.gather(port.read(), port.server(S0), port.heartbeats(), return_exceptions=True)
    assert all(isinstance(end, TransientError) for end in ends)
    await clouds.close()


class Dead(StandIn):
    """Its first host does not report."""

    def _service(self, number):
        return super()._service(number) | ({"state": "down"} if number == 0 else {})


async def test_a_board_controller_that_never_answers_holds_up_no_read(connected):
    power = PowerSettings(driver="command", command=("sh", "-c", f"exec sleep {HANG_S}"), timeout_s=6)
    with standing_in(Dead()) as cloud:
        clouds = connected(cloud, OpenStackSettings(power=power))
        port = clouds.port("one")
        async with asyncio.timeout(5):
            seen, host, words = await asyncio.gather(port.read(), port.host(H0), port.heartbeats())
        assert seen.host_by_name[H0].power.value == host.power.value == "unknown"
        assert {(word.source, word.alive) for word in words if word.host == H0} == {("compute-service", False)}
        await clouds.close()


async def test_power_that_is_asked_for_on_purpose_is_asked_for_now(tmp_path, connected):
    state, seen = tmp_path / "state", tmp_path / "seen"
    program = f'echo "$1" >> {seen}; exec cat {state}'
    power = PowerSettings(driver="command", command=("sh", "-c", program, "power"), timeout_s=6)
    with standing_in(Dead()) as cloud:
        clouds = connected(cloud, OpenStackSettings(power=power))
        port = clouds.port("one")
        assert (await port.read()).host_by_name[H0].power.value == "unknown"  # there is no state to tell
        state.write_text("off")
        assert (await port.read()).host_by_name[H0].power.value == "unknown"  # it is left alone
        assert len(seen.read_text().splitlines()) == 1
        assert (await port.power_state(H0)).value == "off"
        await clouds.close()

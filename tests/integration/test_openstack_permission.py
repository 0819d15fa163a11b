"""Nothing is sent to a cloud once permission is withdrawn: neither after a slow look nor after a slow new token."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from restow.cloud.model import Power
from restow.cloud.openstack.power.command import CommandPower
from restow.cloud.openstack.power.ipmi import IpmiPower
from restow.cloud.openstack.power.redfish import RedfishPower
from restow.cloud.openstack.settings import Controller, OpenStackSettings
from restow.cloud.permission import act_only_while
from restow.errors import PermanentError, TransientError
from support.board_controllers import PASSWORD, a_controller
from support.openstack_documents import a_migration
from support.openstack_stand_in import StandIn, Trouble, host_name, standing_in, uuid

REQUEST = "00000000-0000-4000-8000-000000000001"
S0, H0, H1 = uuid(0), host_name(0), host_name(1)
SETTINGS = OpenStackSettings(answer_timeout_s=2.0, connect_timeout_s=2.0)


class WithdrawnError(PermanentError):
    """As the holder of a lease raises it."""


@pytest.fixture
def cloud():
    with standing_in(StandIn()) as serving:
        yield serving


@pytest.fixture
async def port(cloud, connected):
    clouds = connected(cloud, SETTINGS)
    yield clouds.port("one")
    await clouds.close()


def lost_once(gone):
    def holds():
        if gone():
            raise WithdrawnError("the lease is lost")

    act_only_while(holds)


def evacuate(port):
    return port.evacuate(S0, to=H1, request_id=REQUEST)


async def test_permission_that_is_withdrawn_during_the_look_before_an_evacuation_sends_nothing(port, cloud):
    await port.read()
    lost_once(lambda: any(S0 in call for call in cloud.calls))
    with pytest.raises(WithdrawnError):
        await evacuate(port)
    assert cloud.taken == []
    assert any(S0 in call for call in cloud.calls)
    assert not any(call.startswith("POST") and "action" in call for call in cloud.calls)


async def test_permission_that_is_withdrawn_while_a_new_token_is_fetched_sends_nothing_again(port, cloud):
    await port.read()
    cloud.troubles += [Trouble("POST .*/action", status=401), Trouble("POST .*/auth/tokens", wait_s=0.3)]
    lost_once(lambda: cloud.tokens == 2)
    with pytest.raises(WithdrawnError):
        await evacuate(port)
    assert cloud.tokens == 2
    assert cloud.taken == []
    assert len([call for call in cloud.calls if call.endswith("/action")]) == 1


async def test_a_keystone_that_hangs_after_a_401_sends_nothing_later(port, cloud):
    await port.read()
    cloud.troubles += [Trouble("POST .*/action", status=401), Trouble("POST .*/auth/tokens", wait_s=2.5)]
    with pytest.raises(TransientError) as caught:
        await evacuate(port)
    assert "token" in str(caught.value)
    assert cloud.taken == []
    assert len([call for call in cloud.calls if call.endswith("/action")]) == 1


async def test_with_permission_what_was_refused_for_its_token_is_sent_once_more(port, cloud):
    await port.read()
    cloud.troubles.append(Trouble("POST .*/action", status=401))
    await evacuate(port)
    assert [body for _, _, body in cloud.taken] == [{"evacuate": {"host": H1}}]
    assert cloud.tokens == 2


EVERY = {
    "live_migrate": lambda port: port.live_migrate(S0, to=H1, request_id=REQUEST),
    "cold_migrate": lambda port: port.cold_migrate(S0, to=H1, request_id=REQUEST),
    "evacuate": evacuate,
    "confirm": lambda port: port.confirm_cold_migration(S0),
    "clear_error": lambda port: port.clear_error(S0),
    "abort": lambda port: port.abort_migration(S0, migration="7"),
    "force": lambda port: port.force_complete(S0, migration="7"),
    "start": lambda port: port.start(S0, on=None, request_id=REQUEST),
    "stop": lambda port: port.stop(S0, request_id=REQUEST),
    "shelve": lambda port: port.shelve(S0, request_id=REQUEST),
    "disable": lambda port: port.disable(H0, reason="test"),
    "enable": lambda port: port.enable(H0),
    "force_down": lambda port: port.force_down(H0, down=True),
}


class Ready(StandIn):
    """In which each of these can be done."""

    def answer(self, method, path, query, body):
        if path == f"/placement/allocations/{S0}":
            return 200, {"allocations": {uuid(0): {"resources": {"VCPU": 1}}}}
        return super().answer(method, path, query, body)


@pytest.mark.parametrize("name", EVERY)
async def test_permission_is_asked_for_with_nothing_between_it_and_what_is_sent(name, connected):
    with standing_in(Ready()) as cloud:
        clouds = connected(cloud, SETTINGS)
        status = {"confirm": "VERIFY_RESIZE", "clear_error": "ERROR"}.get(name, "ACTIVE")
        cloud.changed[S0] = {"status": status}
        kind, state = ("migration", "finished") if name == "confirm" else ("live-migration", "running")
        under_way = name in ("confirm", "abort", "force")
        cloud.migrations = [a_migration(7, migration_type=kind, status=state)] if under_way else []
        asked = []
        act_only_while(lambda: asked.append(len(cloud.calls)))
        await EVERY[name](clouds.port("one"))
        await clouds.close()
        assert len(cloud.taken) == 1
        (before,) = asked  # the first call of all that changes something, and no other after it was asked
        assert [call.split(" ")[0] in ("POST", "PUT", "DELETE") for call in cloud.calls[before:]] == [True]


def withdrawn():
    raise WithdrawnError("the lease is lost")


@pytest.fixture
def without_permission():
    """Runs in a thread of its own, as the adapter does."""

    def run(work):
        def within():
            act_only_while(withdrawn)
            work()

        with ThreadPoolExecutor(1) as threads, pytest.raises(WithdrawnError):
            threads.submit(within).result(30)

    return run


def test_without_permission_redfish_is_given_no_order(without_permission, tmp_path):
    secret = tmp_path / "bmc"
    secret.write_text(PASSWORD)
    with a_controller() as board:
        one = Controller(address=board.address, username="admin", password_file=str(secret))
        driver = RedfishPower({"h1": one}, timeout_s=2)
        without_permission(lambda: driver.switch("h1", on=False))
        assert (board.orders, driver.state("h1")) == ([], Power.ON)
        driver.switch("h1", on=False)
        assert board.orders == ["ForceOff"]


def test_without_permission_no_program_is_run(without_permission, tmp_path, monkeypatch):
    seen = tmp_path / "seen"
    for name in ("ipmitool", "power.sh"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "$*" >> {seen}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = CommandPower([str(tmp_path / "power.sh")], timeout_s=5)
    ipmi = IpmiPower({"h1": Controller(address="10.0.0.1")}, timeout_s=5)
    for driver in (command, ipmi):
        without_permission(lambda driver=driver: driver.switch("h1", on=False))
    assert not seen.exists()
    for driver in (command, ipmi):
        driver.switch("h1", on=False)
    assert len(seen.read_text().splitlines()) == 2

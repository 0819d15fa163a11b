"""Power by Redfish, IPMI and Ironic: switched at once, believed only when seen, unknown where it is not."""

import os

import pytest

from restow.cloud.model import Power
from restow.cloud.openstack.evidence import state_of
from restow.cloud.openstack.power.ipmi import IpmiPower
from restow.cloud.openstack.power.ironic import IronicPower
from restow.cloud.openstack.power.redfish import RedfishPower
from restow.cloud.openstack.settings import Controller
from restow.errors import CredentialError, PermanentError, TransientError
from support.board_controllers import PASSWORD, a_controller


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "bmc"
    file.write_text(f"{PASSWORD}\n")
    return str(file)


@pytest.fixture
def board():
    with a_controller() as controller:
        yield controller


def redfish(board, secret, **more):
    known = {"address": board.address, "username": "admin", "password_file": secret} | more
    return RedfishPower({"h1": Controller(**known)}, timeout_s=2)


def test_redfish_forces_a_host_off_and_on_and_reads_anew_each_time(board, secret):
    driver = redfish(board, secret)
    assert driver.state("h1") is Power.ON
    driver.switch("h1", on=False)
    assert (driver.state("h1"), board.orders) == (Power.OFF, ["ForceOff"])
    board.power = "PoweringOn"
    assert driver.state("h1") is Power.UNKNOWN
    driver.switch("h1", on=True)
    assert (driver.state("h1"), board.orders) == (Power.ON, ["ForceOff", "On"])


def test_an_order_that_is_taken_and_not_obeyed_shows(board, secret):
    board.obeys = False
    driver = redfish(board, secret)
    driver.switch("h1", on=False)
    assert driver.state("h1") is Power.ON


def test_a_controller_that_fails_or_is_gone_is_unknown_never_off(board, secret):
    driver = redfish(board, secret)
    driver.switch("h1", on=False)
    board.fails = True
    with pytest.raises(TransientError):
        driver.state("h1")
    assert state_of(driver, "h1") is Power.UNKNOWN
    board.fails = False
    assert driver.state("h1") is Power.OFF
    gone = redfish(board, secret, address="http://127.0.0.1:9")
    with pytest.raises(TransientError):
        gone.switch("h1", on=False)
    assert state_of(gone, "h1") is Power.UNKNOWN


def test_a_wrong_password_and_an_unknown_host_name_what_to_mend(board, secret, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    with pytest.raises(CredentialError, match="refuses us"):
        redfish(board, str(wrong)).state("h1")
    with pytest.raises(PermanentError, match="RESTOW_OPENSTACK_FILE"):
        redfish(board, secret).state("h2")
    with pytest.raises(PermanentError, match="No such file"):
        redfish(board, str(tmp_path / "none")).state("h1")


def test_ipmi_keeps_its_password_out_of_the_arguments(secret, tmp_path, monkeypatch):
    program, seen = tmp_path / "ipmitool", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$IPMI_PASSWORD $*" >> {seen}\necho "Chassis Power is off"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    driver = IpmiPower({"h1": Controller(address="10.0.0.1", username="admin", password_file=secret)}, timeout_s=5)
    assert driver.state("h1") is Power.OFF
    driver.switch("h1", on=False)
    lines = seen.read_text().splitlines()
    assert lines == [
        f"{PASSWORD} -I lanplus -H 10.0.0.1 -U admin -E chassis power {verb}" for verb in ("status", "off")
    ]


class Answers:
    def __init__(self, **states):
        self.states = {"power_state": "power off", "target_power_state": None, "last_error": None} | states
        self.asked = []

    def get(self, service, path):
        assert (service, path) == ("baremetal", "/nodes/h1/states")
        return self.states

    def act(self, method, path, body, *, service):
        self.asked.append((method, path, body, service))
        return ""


@pytest.mark.parametrize(
    ("states", "power"),
    [
        ({}, Power.OFF), ({"power_state": "power on"}, Power.ON), ({"power_state": None}, Power.UNKNOWN),
        ({"target_power_state": "power off"}, Power.UNKNOWN), ({"last_error": "it failed"}, Power.UNKNOWN),
    ],
)  # fmt: skip
def test_ironic_is_believed_only_when_it_is_sure(states, power):
    assert IronicPower(Answers(**states)).state("h1") is power


def test_ironic_is_asked_for_power():
    answers = Answers()
    IronicPower(answers).switch("h1", on=False)
    assert answers.asked == [("PUT", "/nodes/h1/states/power", {"target": "power off"}, "baremetal")]

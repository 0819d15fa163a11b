"""The file beyond clouds.yaml, and programs that switch power."""

import pytest

from restow.cloud.model import Power
from restow.cloud.openstack.evidence import probe_words, state_of
from restow.cloud.openstack.power.base import NoPower, power_of
from restow.cloud.openstack.power.command import CommandPower
from restow.cloud.openstack.settings import OpenStackSettings, ProbeSettings, read_file
from restow.errors import BadInputError, PermanentError, TransientError
from support.builders import NOON


def test_nothing_given_is_one_domain_for_each_region_and_no_power():
    assert read_file("") == OpenStackSettings()
    assert OpenStackSettings().power.driver == "none"


def test_domains_take_hosts_by_name_and_zone(tmp_path):
    file = tmp_path / "openstack.yaml"
    file.write_text("format: restow.openstack/1\ndomains: {one: {hosts: ['cell1-*'], zones: [az1]}, two: {}}\n")
    one = read_file(str(file)).domains["one"]
    assert one.has("cell1-07", zone="az1")
    assert not one.has("cell1-07", zone="az2")
    assert not one.has("cell2-07", zone="az1")
    assert read_file(str(file)).domains["two"].has("any", zone=None)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("format: restow.openstack/1\npower: {driver: command}", "power"),
        ("format: restow.openstack/1\npower: {driver: redfish}", "power"),
        ("domian: {}", "domian"), ("threads: 0", "threads"),
        ("- a", "RESTOW_OPENSTACK_FILE"), ("{", "RESTOW_OPENSTACK_FILE"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_by_its_field(tmp_path, text, field):
    file = tmp_path / "openstack.yaml"
    file.write_text(text)
    with pytest.raises(BadInputError) as caught:
        read_file(str(file))
    assert [error.field for error in caught.value.errors] == [field]


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInputError, match="No such file"):
        read_file(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "power"),
    [
        ("Chassis Power is off\n", Power.OFF),
        ("ON", Power.ON),
        ("", Power.UNKNOWN),
        ("powering off soon", Power.UNKNOWN),
    ],
)
def test_what_a_controller_prints(text, power):
    assert power_of(text) is power


def a_program(tmp_path, body):
    file = tmp_path / "power.sh"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


def test_a_command_switches_and_tells(tmp_path):
    state = tmp_path / "state"
    state.write_text("on")
    driver = CommandPower(
        [
            a_program(
                tmp_path, f'[ "$1" = h1 ] || exit 3\n[ "$2" = status ] && exec cat {state}\nprintf %s "$2" > {state}'
            )
        ],
        timeout_s=10,
    )
    assert driver.state("h1") is Power.ON
    driver.switch("h1", on=False)
    assert driver.state("h1") is Power.OFF
    with pytest.raises(TransientError, match="ended with 3"):
        driver.state("h2")
    assert state_of(driver, "h2") is Power.UNKNOWN


def test_a_command_that_hangs_or_is_not_there_confirms_nothing(tmp_path):
    slow = CommandPower([a_program(tmp_path, "exec sleep 30")], timeout_s=0.2)
    with pytest.raises(TransientError, match="no answer within"):
        slow.switch("h1", on=False)
    assert state_of(slow, "h1") is Power.UNKNOWN
    with pytest.raises(PermanentError, match="no program"):
        CommandPower([str(tmp_path / "none")], timeout_s=1).switch("h1", on=False)


def test_without_a_driver_nothing_is_off():
    assert NoPower().state("h1") is Power.UNKNOWN
    with pytest.raises(PermanentError, match="RESTOW_OPENSTACK_FILE"):
        NoPower().switch("h1", on=False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("""echo '{"h1": true, "h2": false, "elsewhere": false, "h3": "yes"}'""", [("h1", True), ("h2", False)]),
        ("echo '[1]'", []), ("echo nonsense", []), ("exit 1", []),
    ],
)  # fmt: skip
def test_a_probe_tells_of_our_hosts_and_a_broken_one_of_none(tmp_path, body, words):
    probe = ProbeSettings(source="storage", command=(a_program(tmp_path, body),))
    found = probe_words(probe, frozenset({"h1", "h2", "h3"}), now=NOON)
    assert [(word.host, word.alive) for word in found] == words
    assert {word.source for word in found} <= {"storage"}

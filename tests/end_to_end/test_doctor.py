"""`restow doctor` on a real OpenStack: each fault that it knows is planted, one after the other, and found alone."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from support.openstack_lab import FOLDER, HOSTS, until

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
NOBODY = "00000000-0000-4000-8000-00000000dead"
MACHINE = [sys.executable, str(FOLDER / "machine.py")]
PROBE = {"source": "storage", "command": [*MACHINE, "alive"]}
SETTINGS = {
    "format": "restow.openstack/1", "disks": "shared", "probes": [PROBE],
    "power": {"driver": "command", "command": MACHINE},
}  # fmt: skip
# What no cloud can be made to do for a test: an older Nova, another time.
RUN = """
import sys
from datetime import UTC, datetime, timedelta
import restow.clock
from restow.cloud.openstack import api
from restow.commands.main import main

newest, late_s = int(sys.argv.pop()), float(sys.argv.pop())
api.NEWEST = {**api.NEWEST, "compute": (2, newest)}
restow.clock.SystemClock.now = lambda self: datetime.now(UTC) + timedelta(seconds=late_s)
main()
"""


@pytest.fixture
def lab(openstack_lab):
    openstack_lab.clean()
    yield openstack_lab
    openstack_lab.machine("mend")


@pytest.fixture
def doctor(lab, tmp_path):
    """Its findings that are not good, by what they are about; and its exit code."""

    def look(*, late_s=0.0, newest=100, user=None, **settings):
        file = tmp_path / "openstack.yaml"
        file.write_text(yaml.safe_dump({**SETTINGS, **settings}))
        environment = {
            **os.environ, "OS_CLIENT_CONFIG_FILE": str(user or lab.clouds_file), "RESTOW_OPENSTACK_FILE": str(file),
        }  # fmt: skip
        command = [sys.executable, "-c", RUN, "doctor", "--cloud", "lab", "--json", str(late_s), str(newest)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode in (0, 1), done.stderr
        if not done.stdout:
            return {"error": done.stderr}, done.returncode
        found = [json.loads(line) for line in done.stdout.splitlines()]
        bad = [one for one in found if one["grade"] != "good"]
        assert all(one["consequence"] and one["remedy"] for one in bad)
        if "metrics" not in settings:  # the lab measures nothing
            bad = [one for one in bad if one["about"] != "metrics"]
        return {one["about"]: one["what"] for one in bad}, done.returncode

    return look


def restart(lab, host):
    lab.machine(host, "off")
    lab.machine(host, "on")


def test_a_healthy_cloud_has_no_finding(doctor):
    assert doctor() == ({}, 0)


def test_what_the_machines_and_the_settings_lack_is_found(doctor, lab):
    lab.machine(HOSTS[0], "mute")
    assert doctor() == ({"power": f"the board controller of {HOSTS[0]} does not tell whether it is on"}, 1)
    lab.machine(HOSTS[0], "well")
    assert doctor(power={"driver": "none"}) == ({"power": "no way to switch hosts off is known"}, 1)
    silent = {"source": "storage", "command": ["echo", json.dumps(dict.fromkeys(HOSTS[1:], True))]}
    assert doctor(probes=[silent]) == ({"evidence": f"the probe storage does not tell of {HOSTS[0]}"}, 1)
    assert doctor(probes=[], power={"driver": "none"})[0]["evidence"] == "only compute-service tells whether hosts live"
    told, code = doctor(metrics={"url": "http://127.0.0.1:9", "timeout_s": 2})
    assert (list(told), code) == (["metrics"], 0)
    assert "loads are not all known: metrics at http://127.0.0.1:9" in told["metrics"]
    nobody = [{"kind": "reserve", "hosts": ["gpu-*"], "keep_free": {"vcpu": 4}}]
    assert doctor(rules=nobody) == ({"rules": "rules.0 (reserve) names no host or server of this domain"}, 0)
    assert doctor(domains={"empty": {"zones": ["nowhere"]}}) == ({"hosts": "this domain has no hosts"}, 1)


def test_clocks_and_versions_that_differ_are_found(doctor):
    told, code = doctor(late_s=120)
    assert (list(told), code) == (["clock"], 0)
    assert "s from our clock" in told["clock"]
    told, code = doctor(newest=90)
    assert (told, code) == ({"versions": "Nova knows 2.90"}, 0)


def test_hosts_that_are_closed_or_unlike_the_others_are_found(doctor, lab):
    service = lab.services()[HOSTS[0]]
    lab.switch(service, {"status": "disabled"})
    assert doctor() == ({"hosts": f"{HOSTS[0]} is disabled"}, 0)
    lab.switch(service, {"status": "enabled"})
    until("it is open", lambda: doctor() == ({}, 0), within_s=240)

    told = lab.run / "nova" / HOSTS[1] / "cpu.json"
    told.write_text(json.dumps({"arch": "x86_64", "model": "Icelake-Server"}))
    try:
        restart(lab, HOSTS[1])
        wanted = {"cpu": "the hosts have 2 CPU models: Icelake-Server, Nehalem"}
        until("its processor is told", lambda: doctor() == (wanted, 0), within_s=240)
    finally:
        told.unlink()
        restart(lab, HOSTS[1])

    lab.machine(HOSTS[4], "agent-crash")
    until("it is down", lambda: lab.services()[HOSTS[4]]["state"] == "down")
    assert doctor()[0]["hosts"] == f"{HOSTS[4]} is down"
    lab.switch(lab.services()[HOSTS[4]], {"forced_down": True})
    assert doctor()[0]["hosts"] == f"{HOSTS[4]} is declared down"


def test_claims_moves_and_servers_left_in_a_bad_way_are_found(doctor, lab):
    providers = {one["name"]: one["uuid"] for one in lab.placement("/resource_providers")["resource_providers"]}
    claim = {
        "allocations": {providers[HOSTS[1]]: {"resources": {"VCPU": 3}}}, "project_id": "p", "user_id": "u",
        "consumer_generation": None, "consumer_type": "INSTANCE",
    }  # fmt: skip
    answer = lab.cloud.placement.put(f"/allocations/{NOBODY}", json=claim, microversion="1.38")
    assert answer.status_code == 204, answer.text
    assert doctor() == ({"claims": f"Placement holds 3 vcpu on {HOSTS[1]} for {NOBODY}, which is not there"}, 0)
    lab.cloud.placement.delete(f"/allocations/{NOBODY}", microversion="1.39")

    slow = {"lab_live_migration_seconds": "60"}
    made = lab.boot({"resized": HOSTS[2], "bad": HOSTS[2]}) | lab.boot({"slow": HOSTS[3]}, metadata=slow)
    local = "the disks of 3 servers count as part of their hosts"
    assert doctor(disks="local") == ({"disks": local}, 0)

    assert lab.act(made["bad"], {"os-resetState": {"state": "error"}}) == 202
    assert doctor() == ({"servers": f"{made['bad']} is in error"}, 0)
    lab.cloud.compute.delete(f"/servers/{made['bad']}")

    assert lab.act(made["slow"], {"os-migrateLive": {"host": HOSTS[4], "block_migration": "auto"}}) == 202
    (moving,) = until("it moves", lambda: [one for one in lab.migrations(made["slow"]) if one["status"] == "running"])
    told, _ = doctor(late_s=3 * 3600)
    assert f"of server {made['slow']} is running for 3 h" in told["moves"]
    # Deleted while it moves it would leave its guest behind on the target.
    lab.cloud.compute.delete(f"/servers/{made['slow']}/migrations/{moving['id']}", microversion="2.65")
    until("it stays", lambda: lab.migrations(made["slow"])[-1]["status"] == "cancelled")

    assert lab.act(made["resized"], {"migrate": {"host": HOSTS[3]}}) == 202
    until("it waits to be confirmed", lambda: lab.server(made["resized"])["status"] == "VERIFY_RESIZE")
    assert doctor()[0]["moves"] == f"server {made['resized']} waits for its resize to be confirmed"


def test_a_host_to_which_every_migration_fails_is_found(doctor, lab):
    made = lab.boot({f"f{n}": HOSTS[5] for n in range(3)}, metadata={"lab_live_migration_fail": "true"})
    for server in made.values():
        assert lab.act(server, {"os-migrateLive": {"host": HOSTS[6], "block_migration": "auto"}}) == 202
    ends = lambda: [lab.migrations(server)[-1]["status"] for server in made.values()]  # noqa: E731
    until("they have failed", lambda: all(end in ("failed", "error") for end in ends()))
    assert doctor() == ({"failures": f"the last 3 live migrations to {HOSTS[6]} have failed"}, 0)


def test_a_user_who_is_no_admin_but_may_look_is_told_what_he_may_not(doctor, lab, tmp_path):
    user = lab.user("looker", role="reader")
    rules = ("context_is_admin", "admin_api", "admin_or_service_api")
    may_look = json.dumps(dict.fromkeys(rules, "role:admin or role:reader"))
    files = [lab.run / service / "policy.yaml" for service in ("nova", "placement")]
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(yaml.safe_dump(lab.clouds_of(**user)))
    for file in files:
        file.write_text(may_look)
    try:
        wanted = {"rights": "the user has not the role admin (but: reader)"}
        until("he may look", lambda: doctor(user=clouds) == (wanted, 0), within_s=90)
    finally:
        for file in files:
            file.write_text("{}")  # were it gone, the services would complain of it for ever

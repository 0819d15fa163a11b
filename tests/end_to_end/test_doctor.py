"""`restow doctor` on a real OpenStack, with faults planted one after the other."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from support.openstack_lab import FOLDER, HOSTS, until
from support.processes import RESTOW

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(300)]
NOBODY = "00000000-0000-4000-8000-00000000dead"


def doctor(lab, tmp_path):
    """Its findings that are not good, by what they are about; and its exit code."""
    machine = [sys.executable, str(FOLDER / "machine.py")]
    probe = {"source": "storage", "command": [*machine, "alive"]}
    settings = {
        "format": "restow.openstack/1",
        "disks": "shared",
        "power": {"driver": "command", "command": machine},
        "probes": [probe],
    }
    file = tmp_path / "openstack.yaml"
    file.write_text(yaml.safe_dump(settings))
    environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(lab.clouds_file), "RESTOW_OPENSTACK_FILE": str(file)}
    command = [RESTOW, "doctor", "--cloud", "lab", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    told = {one["about"]: one["what"] for one in found if one["grade"] != "good" and one["about"] != "metrics"}
    return told, done.returncode


def test_each_fault_of_the_lab_is_found(openstack_lab, tmp_path):
    lab = openstack_lab
    lab.clean()
    assert doctor(lab, tmp_path) == ({}, 0)

    lab.machine(HOSTS[0], "mute")
    assert doctor(lab, tmp_path) == ({"power": f"the board controller of {HOSTS[0]} does not tell whether it is on"}, 1)
    lab.machine(HOSTS[0], "well")

    providers = {one["name"]: one["uuid"] for one in lab.placement("/resource_providers")["resource_providers"]}
    claim = {
        "allocations": {providers[HOSTS[1]]: {"resources": {"VCPU": 3}}}, "project_id": "p", "user_id": "u",
        "consumer_generation": None, "consumer_type": "INSTANCE",
    }  # fmt: skip
    answer = lab.cloud.placement.put(f"/allocations/{NOBODY}", json=claim, microversion="1.38")
    assert answer.status_code == 204, answer.text
    told, code = doctor(lab, tmp_path)
    assert (told, code) == ({"claims": f"Placement holds 3 vcpu on {HOSTS[1]} for {NOBODY}, which is not there"}, 0)
    lab.cloud.placement.delete(f"/allocations/{NOBODY}", microversion="1.39")

    (server,) = lab.boot({"resized": HOSTS[2]}).values()
    assert lab.act(server, {"migrate": {"host": HOSTS[3]}}) == 202
    until("it waits to be confirmed", lambda: lab.server(server)["status"] == "VERIFY_RESIZE")
    told, _ = doctor(lab, tmp_path)
    assert told["moves"] == f"server {server} waits for its resize to be confirmed"

    lab.machine(HOSTS[4], "agent-crash")
    until("it is down", lambda: lab.services()[HOSTS[4]]["state"] == "down")
    assert doctor(lab, tmp_path)[0]["hosts"] == f"{HOSTS[4]} is down"

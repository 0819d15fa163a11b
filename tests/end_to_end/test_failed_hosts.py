"""Hosts that die on a real OpenStack: fenced before anything is evacuated, or not evacuated at all."""

import time
from datetime import datetime

import pytest

from support.openstack_lab import HOSTS, until
from support.restow_up import restow_up
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
DEAD = HOSTS[0]
STORY = [
    "incident.opened", "plan.requested", "plan.proposed", "plan.approved", "plan.started", "host.disabled",
    "host.fenced", "plan.finished", "incident.closed",
]  # fmt: skip


@pytest.fixture
def lab(openstack_lab):
    openstack_lab.clean()
    with Watcher(openstack_lab) as watcher:
        yield openstack_lab
    openstack_lab.machine("mend")
    assert watcher.looks > 0
    assert watcher.broken == []


@pytest.fixture
def restow(lab, real_kafka, postgres_url, tmp_path):
    """Over a real broker and a real database, as in production."""
    with restow_up(lab, real_kafka, tmp_path, database=postgres_url) as running:
        yield running


def closed_incident(restow, *, within_s):
    def look():
        found = [one for one in restow.incidents() if one["state"] == "closed"]
        return found[0] if found else None

    return until("the incident is closed", look, within_s=within_s)


def evacuations(lab):
    return [one for one in lab.migrations() if one["migration_type"] == "evacuation"]


def told_by(events, opened):
    """The chapters of this incident's story on the public topic, in their order: all but the single steps."""
    mine = [one["type"].removeprefix("restow.") for one in events if one["correlationid"] == opened["correlationid"]]
    return [one for one in mine if not one.startswith("step.") and one != "incident.updated"]


def refusals(restow):
    return [one["data"]["why"] for one in restow.events() if one["type"] == "restow.refusal"]


def at(text):
    return datetime.fromisoformat(text).timestamp()


def test_a_dead_host_is_fenced_its_servers_run_elsewhere_and_nothing_is_left_when_it_returns(lab, restow, capsys):
    ids = lab.boot({f"s{n}": DEAD for n in range(4)})
    assert lab.act(ids["s3"], {"os-stop": None}) == 202
    until("s3 is stopped", lambda: lab.server(ids["s3"])["status"] == "SHUTOFF")
    lab.boot({"bystander": HOSTS[1]})
    known = len(evacuations(lab))

    lab.machine(DEAD, "crash")
    incident = closed_incident(restow, within_s=300)

    assert incident["outcome"] == "healed", incident
    assert DEAD not in lab.places().values()
    states = {one["name"]: one["status"] for one in lab.servers()}
    assert states == {"s0": "ACTIVE", "s1": "ACTIVE", "s2": "ACTIVE", "s3": "SHUTOFF", "bystander": "ACTIVE"}
    assert lab.machine(DEAD, "status").strip() == "off"
    assert lab.services()[DEAD]["forced_down"] is True
    assert len(evacuations(lab)) - known == 4  # each asked for once

    events = restow.events()
    opened = next(one for one in events if one["type"] == "restow.incident.opened")
    assert told_by(events, opened) == STORY
    fenced = next(number for number, one in enumerate(events) if one["type"] == "restow.host.fenced")
    moves = [
        (number, one) for number, one in enumerate(events)
        if one["type"].startswith("restow.step.") and one["data"]["action"] == "evacuate"
    ]  # fmt: skip
    assert all(number > fenced for number, _ in moves)
    first, last = moves[0][1], moves[-1][1]
    assert (first["type"], last["type"]) == ("restow.step.started", "restow.step.finished")
    with capsys.disabled():
        print(
            f"\n  evidence suffices -> first evacuate {at(first['time']) - at(opened['time']):.1f} s, "
            f"-> last ACTIVE {at(last['time']) - at(opened['time']):.1f} s"
        )

    assert all(DEAD in lab.holders(one) for one in ids.values())  # until it is back
    here = lab.places()["s0"]
    onwards = next(host for host in HOSTS if host not in (DEAD, here))
    end = restow.carry_out({"goal": "reach", "targets": {ids["s0"]: onwards}})
    assert end["state"] == "finished", end
    assert lab.places()["s0"] == onwards

    lab.machine(DEAD, "on")
    until("the dead host's claims are gone", lambda: all(DEAD not in lab.holders(one) for one in ids.values()))
    until("its guests are gone", lambda: lab.guests(DEAD) == set())
    everywhere = [guest for host in HOSTS for guest in lab.guests(host)]
    assert len(everywhere) == len(set(everywhere)) == 5  # no server runs twice
    assert lab.services()[DEAD]["status"] == "disabled"  # back in service only by policy or by a person


def test_without_a_confirmed_power_off_nothing_is_evacuated_and_a_person_is_asked_for(lab, restow):
    lab.boot({"s0": DEAD})
    known = len(evacuations(lab))
    lab.machine(DEAD, "deaf")
    lab.machine(DEAD, "crash")
    incident = closed_incident(restow, within_s=300)
    assert incident["outcome"] == "needs-a-person", incident
    assert len(evacuations(lab)) == known
    assert lab.places() == {"s0": DEAD}
    assert "power-off" in incident["why"]


def test_when_only_the_agent_dies_nothing_is_fenced_and_nothing_evacuated(lab, restow):
    lab.boot({"s0": DEAD})
    known = len(evacuations(lab))
    lab.machine(DEAD, "agent-crash")
    until("Nova believes it dead", lambda: lab.services()[DEAD]["state"] == "down")
    said = "compute-service says dead; power says alive; storage says alive"
    why = f"{said}: not enough independent evidence that {DEAD} is dead"
    until("it is told why nothing is done", lambda: why in refusals(restow))
    quiet = time.monotonic() + 8  # far longer than the patience of this policy
    until("quiet", lambda: time.monotonic() > quiet, within_s=20)
    assert restow.incidents() == []
    assert len(evacuations(lab)) == known
    assert lab.machine(DEAD, "status").strip() == "on"

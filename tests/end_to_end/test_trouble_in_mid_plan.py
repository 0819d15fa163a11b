"""A real OpenStack that changes while a plan runs: the goal is reached or the end told, and nothing is done twice."""

import pytest

from support.openstack_lab import HOSTS, until
from support.restow_up import POLICY, restow_up
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
FROM = HOSTS[0]
SLOW = {"lab_live_migration_seconds": "4"}


@pytest.fixture
def lab(openstack_lab):
    openstack_lab.clean()
    with Watcher(openstack_lab) as watcher:
        yield openstack_lab
    assert watcher.looks > 0
    assert watcher.broken == []


@pytest.fixture
def restow(lab, real_kafka, tmp_path):
    policy = {**POLICY, "execution": {**POLICY["execution"], "replans_max": 2}}
    with restow_up(lab, real_kafka, tmp_path, policy=policy) as running:
        yield running


def under_way(lab):
    return [one for one in lab.migrations() if one["status"] in ("queued", "preparing", "running")]


def outcomes(lab, server):
    return [one["status"] for one in lab.migrations(server)]


def test_killed_at_once_while_servers_move_it_goes_on_and_asks_for_no_second_migration(lab, restow):
    ids = lab.boot({f"s{n}": FROM for n in range(4)}, metadata=SLOW)
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM]})
    for kill in range(2):
        until("a server moves", lambda: under_way(lab))
        restow.running.kill()
        assert restow.running.kills == kill + 1
        restow.running.start()
        restow.running.wait_ready()
    end = restow.end_of(plan)
    assert end["state"] == "finished", end
    assert end["id"] == plan  # the same plan, not another one
    assert FROM not in lab.places().values()
    assert {name: outcomes(lab, one) for name, one in ids.items()} == {name: ["completed"] for name in ids}


def test_a_migration_that_somebody_aborts_is_planned_again_for_another_host(lab, restow):
    ids = lab.boot({"s0": FROM}, metadata={"lab_live_migration_seconds": "5"})
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM]})
    (moving,) = until("it moves", lambda: [one for one in under_way(lab) if one["status"] == "running"])
    path = f"/servers/{ids['s0']}/migrations/{moving['id']}"
    assert lab.cloud.compute.delete(path, microversion="2.65").status_code == 202
    end = restow.end_of(plan)
    assert end["state"] == "finished", end
    assert outcomes(lab, ids["s0"]) == ["cancelled", "completed"]
    first, second = lab.migrations(ids["s0"])
    assert first["dest_compute"] != second["dest_compute"] == lab.places()["s0"]


def test_a_migration_that_always_fails_ends_with_the_reason_and_the_server_where_it_was(lab, restow):
    ids = lab.boot({"s0": FROM}, metadata={"lab_live_migration_fail": "true"})
    end = restow.carry_out({"goal": "evacuate", "hosts": [FROM]})
    assert end["state"] == "failed", end
    assert "a person must look" in end["why"]
    assert (lab.places(), lab.server(ids["s0"])["status"]) == ({"s0": FROM}, "ACTIVE")
    assert outcomes(lab, ids["s0"]) == ["failed"] * 3  # the first plan and the two that the policy allows
    assert len({one["dest_compute"] for one in lab.migrations(ids["s0"])}) == 3


def test_servers_that_are_moved_by_hand_or_deleted_meanwhile_are_left_as_they_are(lab, restow):
    ids = lab.boot({f"s{n}": FROM for n in range(5)}, metadata=SLOW)
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM], "mode": "propose"})
    until("it is proposed", lambda: restow.get(f"/v1/plans/{plan}")["state"] == "proposed")
    by_hand, target = ids["s0"], HOSTS[-1]
    assert lab.act(by_hand, {"os-migrateLive": {"host": target, "block_migration": "auto"}}) == 202
    until("it is moved", lambda: outcomes(lab, by_hand) == ["completed"])
    restow.post(f"/v1/plans/{plan}/approve")
    first_two = until("two servers move", lambda: under_way(lab) if len(under_way(lab)) == 2 else [])
    moving = {one["instance_uuid"] for one in first_two}  # two at once from one host, no more
    deleted, taken = [one for one in ids.values() if one not in {*moving, by_hand}][-2:]
    lab.cloud.compute.delete(f"/servers/{deleted}")
    assert lab.act(taken, {"os-migrateLive": {"host": HOSTS[-2], "block_migration": "auto"}}) == 202
    end = restow.end_of(plan)
    assert end["state"] == "finished", end
    assert FROM not in lab.places().values()
    assert lab.server(by_hand)["OS-EXT-SRV-ATTR:host"] == target
    assert lab.server(taken)["OS-EXT-SRV-ATTR:host"] == HOSTS[-2]
    assert {tuple(outcomes(lab, one)) for one in ids.values() if one != deleted} == {("completed",)}
    assert all(one["status"] == "ACTIVE" for one in lab.servers())

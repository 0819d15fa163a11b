"""A real OpenStack that does not do as the plan expects: moves that do not end, room that goes, servers in error."""

import pytest

from support.openstack_lab import HOSTS, until
from support.restow_up import POLICY, restow_up
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
FROM = HOSTS[0]
NEVER = {"lab_live_migration_seconds": "600"}
SLOW = {"lab_live_migration_seconds": "8"}
EXECUTION = {**POLICY["execution"], "replans_max": 1, "migration_timeout_s": 3}


@pytest.fixture(scope="module")
def restow(openstack_lab, real_kafka, tmp_path_factory):
    openstack_lab.clean()
    with restow_up(openstack_lab, real_kafka, tmp_path_factory.mktemp("restow")) as running:
        yield running


@pytest.fixture
def lab(openstack_lab):
    openstack_lab.clean()
    return openstack_lab


@pytest.fixture
def watched(lab):
    with Watcher(lab) as watcher:
        yield watcher
    assert watcher.looks > 0
    assert watcher.broken == []


def in_force(restow, **execution):
    answer = restow.http.put("/v1/policies", json={**POLICY, "execution": {**EXECUTION, **execution}})
    assert answer.status_code < 300, answer.text


def outcomes(lab, server):
    return [one["status"] for one in lab.migrations(server)]


def proposed(restow, **request):
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM], "mode": "propose", **request})
    return until("it is proposed", lambda: found if (found := restow.get(f"/v1/plans/{plan}"))["plan"] else None)


def failures(restow, plan):
    return [
        one["data"]["why"] for one in restow.events()
        if one["type"] == "restow.step.failed" and one["data"]["plan"] == plan
    ]  # fmt: skip


def test_a_move_that_never_converges_is_given_up_and_the_server_stays_where_it_was(lab, restow, watched):
    in_force(restow, overdue="abort")
    (server,) = lab.boot({"s0": FROM}, metadata=NEVER).values()
    end = restow.carry_out({"goal": "evacuate", "hosts": [FROM]})
    assert end["state"] == "failed", end
    assert "cancelled" in end["why"]
    assert outcomes(lab, server) == ["cancelled"] * 2  # the first plan and the one more that the policy allows
    assert len({one["dest_compute"] for one in lab.migrations(server)}) == 2
    assert (lab.places(), lab.server(server)["status"], lab.holders(server)) == ({"s0": FROM}, "ACTIVE", {FROM})


def test_a_move_that_never_converges_is_brought_to_its_end_where_the_policy_says_so(lab, restow, watched):
    in_force(restow, overdue="force-complete")
    (server,) = lab.boot({"s0": FROM}, metadata=NEVER).values()
    end = restow.carry_out({"goal": "evacuate", "hosts": [FROM]})
    assert end["state"] == "finished", end
    assert outcomes(lab, server) == ["completed"]
    assert lab.places()["s0"] != FROM
    assert lab.holders(server) == {lab.places()["s0"]}


NEARLY_FULL = {"huge": 1, "large": 3}  # of a host's memory there remain 7,680 MiB: three small servers


@pytest.mark.parametrize("trouble", ["new servers take the room", "the target is disabled"])
def test_a_target_that_is_lost_in_mid_plan_leads_to_another_one(lab, restow, watched, trouble):
    in_force(restow, migration_timeout_s=60)
    ids = lab.boot({"s0": FROM, "s1": FROM}, metadata=SLOW)
    plan = proposed(restow, limits={"per_host": 1})
    targets = {one["server"]: one["to"] for one in plan["plan"]["steps"] if one["action"] == "live-migrate"}
    if trouble == "new servers take the room":
        for target in set(targets.values()):
            for flavor, count in NEARLY_FULL.items():
                lab.boot({f"{target}-{flavor}-{n}": target for n in range(count)}, flavor=flavor)
    restow.post(f"/v1/plans/{plan['id']}/approve")
    (moving,) = until("one moves", lambda: [one for one in ids.values() if outcomes(lab, one) == ["running"]])
    (second,) = set(ids.values()) - {moving}
    lost = targets[second]
    if trouble == "new servers take the room":
        lab.boot({f"new-{n}": lost for n in range(2 if targets[moving] == lost else 3)}, wait=False)
    else:
        service = lab.services()[lost]
        lab.cloud.compute.put(f"/os-services/{service['id']}", json={"status": "disabled"}, microversion="2.96")
    end = restow.end_of(plan["id"])
    assert end["state"] == "finished", end
    assert end["id"] != plan["id"]
    assert {one: outcomes(lab, server) for one, server in ids.items()} == {one: ["completed"] for one in ids}
    assert lab.server(second)["OS-EXT-SRV-ATTR:host"] not in (FROM, lost)
    assert lab.server(moving)["OS-EXT-SRV-ATTR:host"] == targets[moving]


BREAKS = {"lab_live_migration_break": "true"}


def test_a_server_that_a_move_leaves_in_error_is_named_and_left_to_a_person(lab, restow):
    in_force(restow, migration_timeout_s=60)
    (server,) = lab.boot({"s0": FROM}, metadata=BREAKS).values()
    end = restow.carry_out({"goal": "evacuate", "hosts": [FROM]})
    assert end["state"] == "failed", end
    assert f"{server} is in error on {FROM}: a person must look" in end["why"]
    assert f"openstack server set --state active {server}" in end["why"]
    assert (lab.places(), lab.server(server)["status"]) == ({"s0": FROM}, "ERROR")
    assert outcomes(lab, server) == ["error"]
    assert lab.holders(server) != {FROM}  # Nova leaves it so
    assert "execution.clear_errors does both" in end["why"]


def test_it_is_active_again_and_goes_elsewhere_where_the_policy_lets_us(lab, restow):
    in_force(restow, migration_timeout_s=60, clear_errors=True)
    (server,) = lab.boot({"s0": FROM}).values()
    plan = proposed(restow)
    (target,) = [one["to"] for one in plan["plan"]["steps"] if one["action"] == "live-migrate"]
    breaks = {"metadata": {"lab_live_migration_break": target}}
    assert lab.cloud.compute.post(f"/servers/{server}/metadata", json=breaks).status_code == 200
    restow.post(f"/v1/plans/{plan['id']}/approve")
    end = restow.end_of(plan["id"])
    assert end["state"] == "finished", end
    assert outcomes(lab, server) == ["error", "completed"]
    assert lab.server(server)["status"] == "ACTIVE"
    assert lab.holders(server) == {lab.places()["s0"]} != {FROM}

"""Emptying, evening out, consolidating and reaching a placement on a real OpenStack, through the HTTP API alone."""

from collections import Counter

import pytest

from support.openstack_lab import HOSTS, until
from support.restow_up import restow_up
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
SERVERS = 40


@pytest.fixture(scope="module")
def skewed(openstack_lab):
    """Forty servers on the first four hosts, three of them kept apart."""
    openstack_lab.clean()
    group = openstack_lab.group("apart")
    openstack_lab.boot({f"apart-{n}": HOSTS[n] for n in range(3)}, group=group)
    openstack_lab.boot({f"s-{n:02}": HOSTS[n % 4] for n in range(SERVERS - 3)})
    return openstack_lab


@pytest.fixture(scope="module")
def restow(skewed, real_kafka, tmp_path_factory):
    with restow_up(skewed, real_kafka, tmp_path_factory.mktemp("restow")) as running:
        yield running


@pytest.fixture
def watched(skewed):
    with Watcher(skewed) as watcher:
        yield watcher
    assert watcher.looks > 0
    assert watcher.broken == []


def told(restow, plan):
    """The events of this plan's steps, and that each that was started came to its end."""
    mine = [event for event in restow.events() if event["data"].get("plan") == plan["id"]]
    steps = [event for event in mine if event["type"].startswith("restow.step.")]
    started = {event["data"]["step"] for event in steps if event["type"].endswith("started")}
    ended = {event["data"]["step"] for event in steps if not event["type"].endswith("started")}
    assert started <= ended
    assert all(event["data"]["request_ids"] for event in steps if event["type"].endswith("finished"))
    assert [event["type"] for event in mine if event["type"].startswith("restow.plan.")][-1] == "restow.plan.finished"
    return steps


def test_a_skewed_cloud_is_evened_out(skewed, restow, watched):
    plan = restow.carry_out({"goal": "rebalance", "resources": ["memory_mib"], "threshold": 0.05})
    assert plan["state"] == "finished", plan
    counts = Counter(skewed.places().values())
    assert sum(counts.values()) == SERVERS
    assert max(counts.values()) - min(counts.get(host, 0) for host in HOSTS) <= 3, counts
    assert all(one["status"] == "ACTIVE" for one in skewed.servers())
    moved = {one["instance_uuid"] for one in skewed.migrations()}
    assert len(skewed.migrations()) == len(moved) == len(told(restow, plan)) / 2  # nobody was moved twice


def test_a_host_is_emptied_and_stays_disabled(skewed, restow, watched):
    full = skewed.places()["apart-0"]
    plan = restow.carry_out({"goal": "evacuate", "hosts": [full], "reason": "new kernel"})
    assert plan["state"] == "finished", plan
    assert full not in skewed.places().values()
    assert skewed.guests(full) == set()
    assert skewed.services()[full]["status"] == "disabled"
    assert skewed.services()[full]["disabled_reason"] == "restow: new kernel"
    assert restow.get("/v1/hosts/" + full)["takes_servers"] is False
    told(restow, plan)


def test_a_host_is_handed_over_for_maintenance_taken_back_and_the_plan_undone(skewed, restow, watched):
    before, host = skewed.places(), skewed.places()["apart-1"]
    restow.post(f"/v1/hosts/{host}/maintenance", {"reason": "new fans"})
    until("it is disabled", lambda: skewed.services()[host]["status"] == "disabled")
    until("it is empty", lambda: host not in skewed.places().values())
    plan = restow.end_of(restow.get("/v1/plans")["items"][0]["id"])  # the newest: maintenance asks for its own
    assert (plan["state"], plan["request"]["hosts"]) == ("finished", [host])
    restow.delete(f"/v1/hosts/{host}/maintenance")
    until("it is enabled", lambda: restow.get(f"/v1/hosts/{host}")["takes_servers"])
    restow.post(f"/v1/plans/{plan['id']}/undo")
    until("everything is where it was", lambda: skewed.places() == before, within_s=400)


def test_a_consolidation_frees_hosts_within_its_limit_of_moves(skewed, restow, watched):
    before = Counter(skewed.places().values())
    request = {"goal": "consolidate", "max_utilisation": 0.9, "limits": {"moves": 12}}
    plan = restow.carry_out(request)
    assert plan["state"] == "finished", plan
    after = Counter(skewed.places().values())
    assert len(after) < len(before), (before, after)
    freed = set(before) - set(after)
    assert all(skewed.services()[host]["status"] == "disabled" for host in freed)  # nothing arrives there again
    done = [one["data"]["action"] for one in told(restow, plan) if one["type"] == "restow.step.finished"]
    assert done.count("live-migrate") <= 12


def test_two_servers_that_do_not_fit_beside_each_other_change_places(openstack_lab, restow):
    """Each fills more than half of its host: one must wait on a third."""
    openstack_lab.clean()
    ids = openstack_lab.boot({"left": HOSTS[0], "right": HOSTS[1]}, flavor="huge")
    with Watcher(openstack_lab) as watcher:
        targets = {ids["left"]: HOSTS[1], ids["right"]: HOSTS[0]}
        plan = restow.carry_out({"goal": "reach", "targets": targets})
    assert plan["state"] == "finished", plan
    assert openstack_lab.places() == {"left": HOSTS[1], "right": HOSTS[0]}
    assert [len(openstack_lab.migrations(one)) for one in ids.values()] in ([1, 2], [2, 1])
    assert {step["purpose"] for step in plan["plan"]["steps"]} >= {"parking"}
    assert watcher.broken == []


def test_servers_whose_user_wanted_them_apart_are_not_brought_together(openstack_lab, restow):
    openstack_lab.clean()
    first = openstack_lab.boot({"first": HOSTS[0]})["first"]
    second = openstack_lab.boot({"second": HOSTS[1]}, hints={"different_host": [first]})["second"]
    end = restow.carry_out({"goal": "reach", "targets": {first: HOSTS[1]}})
    assert end["plan"]["outcome"] == "impossible", end
    assert [one["rule"] for one in end["plan"]["blockers"]] == ["at-most 0"]
    end = restow.carry_out({"goal": "reach", "targets": {first: HOSTS[1], second: HOSTS[2]}})
    assert end["state"] == "finished", end
    assert openstack_lab.places() == {"first": HOSTS[1], "second": HOSTS[2]}

"""A Nova that answers wrongly, late or not at all, by a proxy before the real one: nothing is asked for twice."""

import pytest

from support.between import between_restow_and_nova
from support.openstack_lab import HOSTS, until
from support.openstack_stand_in import Trouble
from support.restow_up import POLICY, restow_up
from support.watcher import Watcher

pytestmark = [pytest.mark.real, pytest.mark.openstack, pytest.mark.timeout(900)]
FROM = HOSTS[0]
SILENT_S = 30.0
ACTION = "POST .*/action"


@pytest.fixture(scope="module")
def through(openstack_lab, real_kafka, tmp_path_factory):
    """Restow, and the proxy through which alone it knows Nova."""
    openstack_lab.clean()
    folder = tmp_path_factory.mktemp("restow")
    with between_restow_and_nova(openstack_lab, folder) as (between, clouds_file):
        execution = {**POLICY["execution"], "replans_max": 2}
        with restow_up(
            openstack_lab, real_kafka, folder, policy={**POLICY, "execution": execution}, clouds_file=clouds_file,
            answer_timeout_s=10,
        ) as restow:  # fmt: skip
            yield restow, between


@pytest.fixture
def lab(openstack_lab, through):
    _, between = through
    between.troubles.clear()
    openstack_lab.clean()
    between.taken.clear()
    with Watcher(openstack_lab) as watcher:
        yield openstack_lab
    assert watcher.looks > 0
    assert watcher.broken == []


def outcomes(lab, ids):
    return [[one["status"] for one in lab.migrations(server)] for server in ids.values()]


def moves(between):
    return [one for one in between.taken if "os-migrateLive" in one]


def emptied(lab, restow, **more):
    ids = lab.boot({f"s{n}": FROM for n in range(2)}, **more)
    end = restow.carry_out({"goal": "evacuate", "hosts": [FROM]})
    assert end["state"] == "finished", end
    assert FROM not in lab.places().values()
    return ids


@pytest.mark.parametrize(
    "troubles",
    [
        [Trouble(ACTION, times=2, cut="after")],
        [Trouble(ACTION, status=503), Trouble(ACTION, status=500), Trouble("GET", times=3, status=500)],
        [Trouble("", times=20, wait_s=3.0)],
    ],
    ids=["answers cut off after Nova took the request", "500 and 503", "slow answers"],
)  # fmt: skip
def test_whatever_becomes_of_its_answers_nova_is_asked_for_each_move_once(lab, through, troubles):
    restow, between = through
    between.troubles[:] = troubles
    ids = emptied(lab, restow)
    assert not any(one.times for one in troubles)  # all of it was met
    assert outcomes(lab, ids) == [["completed"]] * 2
    assert len(moves(between)) == 2


def test_a_nova_that_is_silent_for_half_a_minute_in_mid_plan_is_waited_for(lab, through):
    restow, between = through
    ids = lab.boot({f"s{n}": FROM for n in range(3)}, metadata={"lab_live_migration_seconds": "3"})
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM]})
    until("one moves", lambda: moves(between))
    between.be_silent(SILENT_S)
    end = restow.end_of(plan)
    assert (end["state"], end["id"]) == ("finished", plan)
    assert outcomes(lab, ids) == [["completed"]] * 3
    assert len(moves(between)) == 3


def test_a_token_that_expires_in_mid_plan_is_renewed_and_nothing_asked_twice(lab, through):
    restow, between = through
    ids = lab.boot({f"s{n}": FROM for n in range(3)}, metadata={"lab_live_migration_seconds": "3"})
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM]})
    until("one moves", lambda: moves(between))
    between.refuse_tokens()
    end = restow.end_of(plan)
    assert (end["state"], end["id"]) == ("finished", plan)
    assert between.tokens - between.refused, "a new one was fetched"
    assert outcomes(lab, ids) == [["completed"]] * 3
    assert len(moves(between)) == 3


def test_a_move_that_is_accepted_and_refused_later_goes_to_another_host(lab, through):
    """The target is disabled after Restow has looked at it, and before Nova's scheduler does."""
    restow, between = through
    ids = lab.boot({"s0": FROM})
    between.hold_moves.set()
    plan = restow.ask({"goal": "evacuate", "hosts": [FROM]})
    until("the request is on its way", lambda: between.waiting)
    target = between.waiting[-1].split('"host":')[1].split('"')[1]
    service = lab.services()[target]
    lab.cloud.compute.put(f"/os-services/{service['id']}", json={"status": "disabled"}, microversion="2.96")
    between.hold_moves.clear()
    end = restow.end_of(plan)
    assert end["state"] == "finished", end
    assert outcomes(lab, ids) == [["error", "completed"]]
    assert lab.places()["s0"] not in (FROM, target)

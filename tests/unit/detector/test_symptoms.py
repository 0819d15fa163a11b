"""Symptoms that a value shows: duration, hysteresis, cool-down, missing data; row by row and over hours."""

from datetime import timedelta
from itertools import pairwise

import pytest

from restow.messages.events import HostMaintenance, PlanState
from restow.policy import Policy, PolicyRule, Thresholds
from restow_detector.memory import Phase, Tracker
from restow_detector.tracking import Due, Level, after_incident, track
from support.builders import NOON, a_cloud, a_host, a_server
from support.detecting import Watch, auto

TEN_MINUTES = Thresholds(
    hot=0.9, hot_clear=0.8, hot_for_s=600, imbalance=0.5, imbalance_clear=0.3, imbalance_for_s=600,
    underused=0.4, underused_clear=0.5, underused_for_s=600,
)  # fmt: skip
QUIET_USE = {"underused": 0.0001, "underused_clear": 0.0001}
HOT = Policy(
    rules=(auto("hot-host", "rebalance", cool_down_s=1800.0),),
    thresholds=TEN_MINUTES.model_copy(update={"imbalance": 2.0, "imbalance_clear": 2.0, **QUIET_USE}),
)
UNEVEN = Policy(
    rules=(auto("imbalance", "rebalance", options={"threshold": 0.2}),),
    thresholds=TEN_MINUTES.model_copy(update={"hot": 2.0, "hot_clear": 2.0, **QUIET_USE}),
)
HOLD, COOL = timedelta(seconds=600), timedelta(seconds=1800)


def ago(seconds):
    return NOON - timedelta(seconds=seconds)


RISING = Tracker(Phase.RISING, ago(599))
RIPE = Tracker(Phase.RISING, ago(600))
RIPE_TOO_SOON = Tracker(Phase.RISING, ago(600), quiet_until=ago(-1))
ACTIVE = Tracker(Phase.ACTIVE, ago(700), quiet_until=ago(-1700), incident="i1")
ACTIVE_OLD = Tracker(Phase.ACTIVE, ago(9000), quiet_until=ago(1), incident="i1")
QUIET = Tracker(Phase.QUIET, ago(5), quiet_until=ago(-100))


@pytest.mark.parametrize(
    ("known", "level", "after"),
    [
        (None, Level.OVER, Tracker(Phase.RISING, NOON)),
        (None, Level.BETWEEN, None),
        (None, Level.QUIET, None),
        (None, Level.UNKNOWN, None),
        (RISING, Level.OVER, RISING),
        (RISING, Level.BETWEEN, None),
        (RISING, Level.QUIET, None),
        (RISING, Level.UNKNOWN, None),
        (RIPE, Level.OVER, Due(Tracker(Phase.ACTIVE, ago(600), NOON + COOL), ago(600))),
        (RIPE, Level.UNKNOWN, None),
        (RIPE_TOO_SOON, Level.OVER, RIPE_TOO_SOON),
        (ACTIVE, Level.OVER, ACTIVE),
        (ACTIVE, Level.BETWEEN, ACTIVE),
        (ACTIVE, Level.UNKNOWN, ACTIVE),
        (ACTIVE, Level.QUIET, Tracker(Phase.QUIET, NOON, ACTIVE.quiet_until)),
        (ACTIVE_OLD, Level.QUIET, None),
        (QUIET, Level.OVER, Tracker(Phase.RISING, NOON, QUIET.quiet_until)),
        (QUIET, Level.BETWEEN, QUIET),
        (QUIET, Level.QUIET, QUIET),
        (QUIET, Level.UNKNOWN, QUIET),
    ],
)
def test_every_phase_and_level_has_one_next_phase(known, level, after):
    assert track(known, level, now=NOON, hold=HOLD, cool_down=COOL) == after


def test_what_goes_on_after_its_incident_must_hold_anew():
    assert after_incident(ACTIVE, now=NOON) == Tracker(Phase.RISING, NOON, ACTIVE.quiet_until)


def a_watch(policy=HOT, *, servers=()):
    hosts = [a_host(f"h{n}", load={"cpu_cores": 2.0}, physical={"cpu_cores": 10.0}) for n in range(4)]
    return Watch(a_cloud(hosts, servers), policy=policy)


def test_nine_minutes_of_heat_are_nothing_and_ten_are_one_incident():
    watch = a_watch(servers=[a_server("s1", on="h1")])
    watch.load(h1=9.1)
    watch.look(540)
    assert not watch.opened
    watch.look(60)
    (opened,), (asked,) = watch.opened, watch.requests
    assert (opened["symptom"], opened["hosts"], opened["servers"]) == ("hot-host", ["h1"], ["s1"])
    assert "91%" in opened["evidence"][0]
    assert asked["request"]["goal"] == "rebalance"
    assert asked["request"]["hosts"] == ["h1"]
    watch.look(3600)
    assert len(watch.opened) == len(watch.requests) == 1


def test_heat_that_pauses_starts_anew():
    watch = a_watch()
    watch.load(h1=9.1)
    watch.look(540)
    watch.load(h1=8.9)
    watch.look(5)
    watch.load(h1=9.1)
    watch.look(540)
    assert not watch.opened


@pytest.mark.parametrize("low", [8.5, 7.0])
def test_a_saw_tooth_is_at_most_one_incident_in_a_cool_down(low):
    watch = a_watch()
    for _ in range(20):  # 4 hours: 11 minutes up, one down
        watch.load(h1=9.5)
        watch.look(660)
        watch.load(h1=low)
        watch.look(60)
    assert 1 <= len(watch.opened) <= 4 * 3600 / 1800
    openings = [event.time for event in watch.events if event.type == "restow.incident.opened"]
    apart = [later - earlier for earlier, later in pairwise(openings)]
    assert all(one >= COOL for one in apart)


def test_heat_ends_only_below_the_clearing_value():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    watch.load(h1=8.5)
    watch.look(600)
    assert not watch.ended
    watch.load(h1=7.9)
    watch.look(5)
    assert watch.ended[0]["outcome"] == "cleared"


def test_a_plan_that_waits_for_approval_is_taken_back_when_the_heat_is_over():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    watch.load(h1=2.0)
    watch.look(5)
    (cancel,) = watch.of("restow.command.plan.cancel")
    assert cancel["plan"] == watch.requests[0]["plan"]


def test_an_incident_waits_for_a_plan_that_is_at_work_although_the_heat_is_over():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    incident = watch.incident
    watch.hear("restow.plan.started", PlanState(plan=incident.plan, by="executor", incident=incident.id))
    watch.load(h1=2.0)
    watch.look(60)
    assert not watch.ended
    watch.hear("restow.plan.finished", PlanState(plan=incident.plan, by="executor", incident=incident.id))
    assert watch.ended[0]["outcome"] == "healed"


def test_heat_that_outlasts_its_plan_is_a_new_incident_after_the_cool_down():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    incident = watch.incident
    watch.hear("restow.plan.finished", PlanState(plan=incident.plan, by="executor", incident=incident.id))
    watch.look(1790)
    assert len(watch.opened) == 1
    watch.look(20)
    assert len(watch.opened) == 2
    assert len(watch.requests) == 2


def test_a_missing_metric_is_no_decision_and_is_said_once():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(590)
    watch.set_hosts(h1={"load": {}})
    watch.look(3600)
    assert not watch.opened
    (refusal,) = watch.refused("no-data")
    assert refusal["hosts"] == ["h1"]
    watch.load(h1=9.5)
    watch.look(590)
    assert not watch.opened  # what was not seen has not held


def test_an_outside_alarm_of_heat_is_the_same_incident_as_our_own_finding():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(300)
    watch.signal("hot-host", host="h1", source="aodh")
    watch.look(5)
    watch.signal("hot-host", host="h1", source="alertmanager")
    watch.look(600)
    assert len(watch.opened) == 1
    assert "hot-host of host h1 (says alertmanager)" in watch.incident.evidence
    watch.signal("hot-host", host="h1", source="aodh", firing=False)
    watch.signal("hot-host", host="h1", source="alertmanager", firing=False)
    watch.load(h1=2.0)
    watch.look(5)
    assert len(watch.ended) == 1


def test_a_host_in_maintenance_is_not_hot():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    assert watch.memory.incidents
    watch.hear("restow.command.host.maintenance", HostMaintenance(host="h1", on=True, by="ann"))
    watch.look(5)
    assert "ann" in watch.ended[0]["why"]
    watch.look(3600)
    assert len(watch.opened) == 1


def test_imbalance_is_the_distance_of_the_highest_from_the_lowest():
    watch = a_watch(UNEVEN)
    watch.load(h0=1.0, h1=6.0)
    watch.look(540)
    assert not watch.opened
    watch.look(60)
    (opened,), (asked,) = watch.opened, watch.requests
    assert opened["symptom"] == "imbalance"
    assert "hosts" not in asked["request"]
    assert asked["request"]["threshold"] == 0.2
    watch.load(h0=2.0, h1=6.0)
    watch.look(600)
    assert not watch.ended
    watch.load(h0=2.0, h1=4.0)
    watch.look(5)
    assert watch.ended[0]["outcome"] == "cleared"


def test_hosts_that_take_no_servers_do_not_make_a_domain_uneven():
    watch = a_watch(UNEVEN)
    watch.set_hosts(h0={"enabled": False, "load": {"cpu_cores": 0.0}})
    watch.load(h1=6.0, h2=5.0, h3=5.0)
    watch.look(3600)
    assert not watch.opened


def test_a_domain_is_underused_by_its_scarcest_resource():
    policy = Policy(
        rules=(
            PolicyRule(incident="underused-hosts", goal="consolidate", mode="propose", options={"power_off": True}),
        ),
        thresholds=TEN_MINUTES,
    )
    few = [a_server(f"s{n}", on=f"h{n}", vcpu=4) for n in range(4)]
    watch = a_watch(policy, servers=few)
    watch.look(540)
    assert not watch.opened
    watch.look(60)
    assert watch.opened[0]["symptom"] == "underused-hosts"
    assert watch.requests[0]["request"]["goal"] == "consolidate"
    assert watch.requests[0]["request"]["power_off"] is True
    assert watch.requests[0]["request"]["mode"] == "propose"
    full_of_memory = [a_server(f"s{n}", on=f"h{n}", vcpu=1, memory_mib=20_000) for n in range(4)]
    other = a_watch(policy, servers=full_of_memory)
    other.look(3600)
    assert not other.opened


def test_in_shadow_mode_what_would_have_been_done_is_told_once():
    rules = (PolicyRule(incident="hot-host", goal="rebalance", mode="observe"),)
    watch = a_watch(HOT.model_copy(update={"rules": rules}))
    watch.load(h1=9.5)
    watch.look(3600)
    assert not watch.requests
    (refusal,) = watch.refused("observe")
    assert refusal["why"].startswith("would have requested rebalance of h1")


def test_a_second_hot_host_waits_for_the_cool_down_of_the_rule():
    watch = a_watch()
    watch.load(h1=9.5)
    watch.look(600)
    watch.load(h2=9.5)
    watch.look(900)
    assert len(watch.opened) == 2
    assert len(watch.requests) == 1
    assert len(watch.refused("cool-down")) == 1
    watch.look(900)
    assert len(watch.requests) == 2

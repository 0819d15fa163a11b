"""How incidents are correlated, go on and end; each ends once, with an outcome that a person can read."""

from dataclasses import replace

import pytest

from restow.messages.events import HostMaintenance, IncidentOrder, PlanProposed, PlanRequested, PlanState
from restow.messages.request import RecoverRequest
from restow.policy import Policy, PolicyRule, Scope, Thresholds
from restow_detector.decide import rule_for
from restow_detector.memory import OpenIncident
from support.builders import NOON, a_cloud, a_host, a_server
from support.detecting import FULL_ENOUGH, Watch, auto


def a_watch(servers=3, **other):
    hosts = [a_host(f"h{n}", load={"cpu_cores": 2.0}, physical={"cpu_cores": 10.0}) for n in range(6)]
    return Watch(a_cloud(hosts, [a_server(f"s{n}", on="h1") for n in range(servers)]), **other)


def failed(servers=3, **other):
    watch = a_watch(servers, **other)
    watch.look(10)
    watch.crash("h1")
    watch.look(40)
    return watch


def state(watch, to, *, plan=None, **other):
    (incident,) = watch.memory.incidents.values()
    message = PlanState(plan=plan or incident.plan, incident=incident.id, **({"by": "executor"} | other))
    watch.hear(f"restow.plan.{to}", message, correlation=incident.id)


def proposed(watch, *, outcome="plan", steps=5, blockers=0, mode="auto"):
    message = PlanProposed(
        plan=watch.incident.plan, outcome=outcome, mode=mode, document="sha256:1", snapshot="sha256:2", goal="recover",
        steps=steps, moved_mib=1, makespan_s=1.0, blockers=blockers, incident=watch.incident.id,
    )  # fmt: skip
    watch.hear("restow.plan.proposed", message)


def test_a_host_with_forty_servers_and_forty_alarms_is_one_incident_that_lists_them():
    watch = a_watch(40)
    watch.look(10)
    watch.crash("h1")
    for n in range(20):
        watch.signal("server-down", server=f"s{n}")
    watch.look(40)
    for n in range(20, 40):
        watch.signal("server-down", server=f"s{n}")
    watch.look(600)
    assert len(watch.opened) == 1
    incident = watch.incident
    assert incident.servers == tuple(f"s{n}" for n in range(40))
    assert set(incident.explains) == {f"server-down of server s{n} (says alertmanager)" for n in range(40)}
    assert len(watch.requests) == 1


def test_the_same_failure_from_two_adapters_is_one_incident_and_a_repetition_is_not_told():
    watch = failed()
    watch.signal("host-down", host="h1", source="alertmanager")
    watch.signal("host-down", host="h1", source="masakari")
    watch.now += (watch.now - NOON) / 10
    watch.signal("host-down", host="h1", source="masakari")
    watch.look(60)
    assert len(watch.opened) == 1
    assert len(watch.of("restow.incident.updated")) == 2
    assert sum("host-down" in line for line in watch.incident.evidence) == 2


def test_heat_of_a_host_that_then_fails_is_listed_under_the_failure():
    policy = Policy(
        rules=(auto("failed-host", "recover"), PolicyRule(incident="hot-host", goal="rebalance", mode="propose")),
        thresholds=FULL_ENOUGH.model_copy(update={"hot_for_s": 60.0, "imbalance": 2.0}),
    )
    watch = a_watch(policy=policy)
    watch.load(h1=9.5)
    watch.look(60)
    (hot,) = watch.opened
    watch.crash("h1")
    watch.look(40)
    (ended,) = watch.ended
    assert (ended["id"], ended["outcome"]) == (hot["id"], "cleared")
    assert watch.incident.symptom == "failed-host"
    assert hot["id"] in watch.incident.explains[0]
    assert watch.of("restow.command.plan.cancel")[0]["plan"] == watch.requests[0]["plan"]


def test_load_that_shifts_because_a_host_failed_is_no_incident_of_its_own():
    watch = failed(policy=Policy(rules=(auto("failed-host", "recover"),),
                                 thresholds=FULL_ENOUGH.model_copy(update={"imbalance_for_s": 60.0})))  # fmt: skip
    watch.load(h2=8.0)
    watch.look(600)
    assert len(watch.opened) == 1
    assert watch.incident.explains == ("imbalance of h2",)


@pytest.mark.parametrize(
    ("ends", "outcome", "says"),
    [
        (lambda w: state(w, "finished", counts={"finished": 5}), "healed", "5 finished"),
        (lambda w: state(w, "failed", why="fence of h1 not confirmed"), "needs-a-person", "fence of h1 not confirmed"),
        (lambda w: state(w, "rejected", by="bob", why="not now"), "refused", "rejected by bob: not now"),
        (lambda w: state(w, "cancelled", by="bob"), "refused", "cancelled by bob"),
    ],
)
def test_the_end_of_a_plan_is_the_end_of_its_incident(ends, outcome, says):
    watch = failed()
    proposed(watch)
    state(watch, "approved", by="policy")
    ends(watch)
    (ended,) = watch.ended
    assert ended["outcome"] == outcome
    assert says in ended["why"]
    watch.look(3600)
    assert len(watch.ended) == len(watch.opened) == 1
    assert not watch.memory.incidents


@pytest.mark.parametrize(
    ("answer", "counts", "outcome", "says"),
    [
        ({"outcome": "nothing-to-do", "steps": 0}, {}, "healed", "nothing is left to do for h1"),
        ({"blockers": 2}, {"finished": 5}, "mitigated", "2 servers could not be placed"),
        ({"blockers": 3, "steps": 0}, {}, "needs-a-person", "3 servers could not be placed"),
        ({}, {"finished": 4, "failed": 1}, "mitigated", "1 steps failed"),
    ],
)
def test_what_a_finished_plan_left_undone_is_told(answer, counts, outcome, says):
    watch = failed()
    proposed(watch, **answer)
    state(watch, "finished", counts=counts)
    (ended,) = watch.ended
    assert ended["outcome"] == outcome
    assert says in ended["why"]


def test_a_failed_host_without_servers_is_healed_by_having_nothing_to_do():
    watch = failed(servers=0)
    proposed(watch, outcome="nothing-to-do", steps=0)
    state(watch, "finished", by="planner")
    assert watch.ended[0]["outcome"] == "healed"
    assert "no servers were on h1" in watch.ended[0]["why"]


def test_a_stale_plan_hands_its_incident_to_the_replacement():
    watch = failed()
    first = watch.incident.plan
    state(watch, "started")
    request = RecoverRequest(goal="recover", hosts=("h1",))
    again = PlanRequested(
        plan="p2", request=request, requested_by="executor", incident=watch.incident.id, replaces=first
    )
    watch.hear("restow.plan.requested", again)
    state(watch, "stale", plan=first, replaced_by="p2")
    assert watch.incident.plan == "p2"
    state(watch, "stale", plan="p2", replaced_by="p3", why="the world moved")
    assert watch.incident.plan == "p3"
    state(watch, "finished", plan="p2")
    assert not watch.ended
    state(watch, "finished", plan="p3")
    assert watch.ended[0]["outcome"] == "healed"


def test_a_plan_that_went_stale_without_a_replacement_is_asked_for_again():
    watch = failed()
    state(watch, "stale", why="gave way")
    watch.look(5)
    assert len({one["plan"] for one in watch.requests}) == 2


def test_a_proposal_leaves_the_incident_open_until_somebody_approves():
    watch = failed(policy=Policy(rules=(PolicyRule(incident="failed-host", goal="recover", mode="propose"),),
                                 thresholds=FULL_ENOUGH))  # fmt: skip
    proposed(watch, mode="propose")
    assert "waits for approval" in watch.of("restow.incident.updated")[0]["why"]
    watch.look(7200)
    assert watch.memory.incidents
    assert len(watch.requests) == 1


def test_people_acknowledge_and_close_but_not_while_a_plan_is_at_work():
    watch = failed()
    incident = watch.incident.id
    watch.hear("restow.command.incident.acknowledge", IncidentOrder(incident=incident, by="bob", why="on it"))
    assert watch.of("restow.incident.updated")[-1]["why"] == "acknowledged by bob: on it"
    state(watch, "started")
    watch.hear("restow.command.incident.close", IncidentOrder(incident=incident, by="bob"))
    assert watch.refused("incident-state")
    state(watch, "stale", why="gave way")
    watch.hear("restow.command.incident.close", IncidentOrder(incident=incident, by="bob", why="a fire"))
    (ended,) = watch.ended
    assert (ended["outcome"], ended["why"]) == ("needs-a-person", "closed by bob: a fire")
    watch.hear("restow.command.incident.close", IncidentOrder(incident=incident, by="bob"))
    assert len(watch.ended) == 1
    watch.look(600)
    assert len(watch.opened) == 1  # the host is still the same dead host


def test_plans_of_others_are_no_business_of_an_incident():
    watch = failed()
    before = watch.memory
    state(watch, "failed", plan="another")
    watch.hear("restow.plan.failed", PlanState(plan="p", by="executor"))
    assert watch.memory is before


def test_maintenance_on_empties_the_host_with_approval_of_who_asked_and_off_ends_it():
    watch = a_watch()
    watch.hear("restow.command.host.maintenance", HostMaintenance(host="h2", on=True, by="ann", reason="disks"))
    (asked,) = watch.requests
    assert (asked["approved_by"], asked["requested_by"]) == ("ann", "ann")
    assert asked["request"]["goal"] == "evacuate"
    assert asked["request"]["mode"] == "auto"
    assert watch.memory.maintenance["h2"].by == "ann"
    watch.hear("restow.command.host.maintenance", HostMaintenance(host="h2", on=False, by="ann"))
    assert not watch.memory.maintenance
    assert len(watch.of("restow.host.maintenance")) == 2


def test_the_first_rule_whose_scope_fits_decides():
    here = PolicyRule(incident="failed-host", goal="recover", mode="auto", scope=Scope(zones=("az1",)))
    there = PolicyRule(incident="failed-host", goal="recover", mode="propose", scope=Scope(domains=("two",)))
    policy = Policy(rules=(there, here))
    incident = OpenIncident("i", "failed-host", NOON, NOON, hosts=("h1",), zones=("az1",))
    assert rule_for(incident, policy, domain="one") is here
    assert rule_for(incident, policy, domain="two") is there
    assert rule_for(replace(incident, zones=("az1", "az2")), policy, domain="one") is None


def test_the_same_judgement_made_twice_tells_the_same_events():
    first, second = failed(), failed()
    assert [event.id for event in first.events] == [event.id for event in second.events]
    assert len({event.id for event in first.events}) == len(first.events)


def test_imbalance_because_of_a_hot_host_is_listed_under_it():
    policy = Policy(thresholds=Thresholds(hot_for_s=60, imbalance_for_s=120, underused=0.0001, underused_clear=0.0001))
    watch = a_watch(policy=policy)
    watch.load(h1=9.5)
    watch.look(600)
    assert [one["symptom"] for one in watch.opened] == ["hot-host"]
    assert watch.incident.explains == ("imbalance of h1",)

"""From evidence to the incident of a failed host and its plan: quorum, blindness, blast radius, return."""

from datetime import timedelta

import pytest

from restow.cloud.model import Power
from restow.messages.events import HostEvent, HostMaintenance
from restow.policy import BlastRadius, MaintenanceWindow, Policy
from restow_detector.memory import Health
from support.builders import NOON, a_cloud, a_host, a_server
from support.detecting import FULL_ENOUGH, SOURCES, Watch, auto


def hosts(count, **other):
    return [a_host(f"h{n}", load={"cpu_cores": 2.0}, **other) for n in range(count)]


def a_watch(count=10, servers=(), **other):
    return Watch(a_cloud(hosts(count), servers), **other)


def test_a_crashed_host_is_one_incident_and_one_request_after_the_patience():
    watch = a_watch(servers=[a_server("s1", on="h3"), a_server("s2", on="h4")])
    watch.look(60)
    watch.crash("h3")
    watch.look(29)
    assert not watch.opened
    watch.look(6)
    (opened,), (asked,) = watch.opened, watch.requests
    assert (opened["symptom"], opened["hosts"], opened["servers"]) == ("failed-host", ["h3"], ["s1"])
    assert opened["fault_class"] == "hardware"
    assert opened["remediation_class"] == "reactive"
    assert any("storage says dead" in line for line in opened["evidence"])
    assert asked["request"]["goal"] == "recover"
    assert asked["request"]["hosts"] == ["h3"]
    assert asked["request"]["mode"] == "auto"
    assert asked["incident"] == opened["id"]
    watch.look(600)
    assert len(watch.opened) == len(watch.requests) == 1


def test_the_request_and_the_incident_are_of_one_story():
    watch = a_watch()
    watch.crash("h3")
    watch.look(40)
    opened, asked = watch.events
    assert asked.correlation == opened.correlation == opened.subject == opened.data["id"]
    assert asked.causation == opened.id
    assert asked.subject == asked.data["plan"]


@pytest.mark.parametrize(
    "dead", [{"compute-service"}, {"compute-service", "management-network"}, {"storage"}, {"management-network"}]
)
def test_too_little_evidence_never_leads_to_recovery_and_the_reason_is_told_once(dead):
    watch = a_watch()
    watch.dead["h3"] = dead
    watch.look(3600)
    assert not watch.opened
    assert not watch.requests
    (refusal,) = watch.refused("quorum")
    assert refusal["hosts"] == ["h3"]
    assert "not enough independent evidence" in refusal["why"]


def test_signals_alone_never_make_a_host_dead_and_with_another_source_they_do():
    watch = a_watch()
    for _ in range(12):
        watch.signal("host-down", host="h3")
        watch.signal("host-down", host="h3", source="aodh")
        watch.look(10)
    assert not watch.opened
    watch.silent = {"management-network", "compute-service"}
    watch.dead["h3"] = {"storage"}
    for _ in range(12):
        watch.signal("host-down", host="h3")
        watch.look(10)
    assert len(watch.opened) == 1


def test_a_signal_taken_back_is_no_evidence_any_more():
    watch = a_watch()
    watch.signal("host-down", host="h3")
    watch.look()
    assert watch.memory.health["h3"].health is Health.SUSPECT
    watch.signal("host-down", host="h3", firing=False)
    watch.look(5)
    assert not watch.memory.health
    assert not watch.memory.signals


def test_sources_that_are_silent_say_nothing_about_hosts():
    watch = a_watch()
    watch.look(10)
    watch.silent = set(SOURCES)
    watch.look(600)
    assert not watch.events


def test_patience_starts_anew_after_blindness_and_the_outage_is_told_once():
    watch = a_watch()
    watch.crash("h3")
    watch.look(25)
    watch.blind(300)
    assert not watch.opened
    (refusal,) = watch.refused("cloud-unreachable")
    assert "do not know" in refusal["why"]
    watch.now += timedelta(seconds=5)
    watch.look(25)
    assert not watch.opened
    watch.look(10)
    assert len(watch.opened) == 1
    watch.blind(10)
    assert len(watch.refused("cloud-unreachable")) == 2


def test_time_in_which_this_process_was_dead_is_blind_time_too():
    watch = a_watch()
    watch.crash("h3")
    watch.look(25)
    watch.now += timedelta(seconds=600)
    watch.look(25)
    assert not watch.opened
    watch.look(10)
    assert len(watch.opened) == 1


def test_too_many_failures_at_once_are_one_incident_that_nobody_heals():
    watch = a_watch(servers=[a_server(f"s{n}", on=f"h{n}") for n in range(10)])
    watch.look(10)
    watch.crash(*(f"h{n}" for n in range(6)))
    watch.look(120)
    (opened,) = watch.opened
    assert not watch.requests
    assert len(opened["hosts"]) == 6
    (refusal,) = watch.refused("blast-radius")
    assert refusal["why"].startswith("6 of 10 hosts failed within 30 s: this looks like the network or us")
    watch.look(3600)
    assert not watch.ended
    (reminder,) = watch.of("restow.incident.updated")
    assert "a person must decide" in reminder["why"]
    watch.boot(*(f"h{n}" for n in range(6)))
    watch.look(120)
    (ended,) = watch.ended
    assert ended["outcome"] == "cleared"
    assert not watch.requests


def test_failures_that_come_one_after_the_other_join_the_held_incident():
    watch = a_watch()
    watch.crash("h0", "h1", "h2", "h3")
    watch.look(40)
    watch.crash("h4")
    watch.look(600)
    watch.crash("h5")  # much later, while the first are still down
    watch.look(60)
    assert len(watch.opened) == 1
    assert watch.incident.hosts == ("h0", "h1", "h2", "h3", "h4", "h5")
    assert not watch.requests


def test_hosts_about_to_fail_count_before_the_first_is_healed():
    watch = a_watch()
    watch.crash("h0")
    watch.look(10)
    watch.crash("h1", "h2", "h3")
    watch.look(60)
    assert not watch.requests
    assert watch.refused("blast-radius")


def test_a_plan_for_the_first_of_many_is_taken_back_and_its_incident_stays():
    watch = a_watch()
    watch.crash("h0")
    watch.look(40)
    (asked,) = watch.requests
    watch.crash("h1", "h2", "h3")
    watch.look(60)
    (cancel,) = watch.of("restow.command.plan.cancel")
    assert cancel["plan"] == asked["plan"]
    assert not watch.ended


@pytest.mark.parametrize(("count", "failing", "heals"), [(2, 1, True), (3, 2, False), (8, 2, True), (8, 3, False)])
def test_in_a_small_domain_one_host_may_always_fail(count, failing, heals):
    watch = a_watch(count)
    watch.crash(*(f"h{n}" for n in range(failing)))
    watch.look(60)
    assert bool(watch.requests) is heals


def test_the_limit_in_hosts_holds_in_a_large_domain():
    watch = a_watch(
        100,
        policy=Policy(
            rules=(auto("failed-host", "recover"),), thresholds=FULL_ENOUGH, blast_radius=BlastRadius(hosts=3)
        ),
    )
    watch.crash("h0", "h1", "h2", "h3")
    watch.look(60)
    assert not watch.requests


def test_a_failed_host_is_not_told_again_until_it_returned_and_failed_anew():
    watch = a_watch()
    watch.crash("h3")
    watch.look(40)
    watch.hear(*plan_state("finished", watch))
    assert watch.ended[0]["outcome"] == "healed"
    watch.look(7200)
    assert len(watch.opened) == 1
    watch.boot("h3")
    watch.look(120)
    (returned,) = watch.of("restow.host.returned")
    assert returned["host"] == "h3"
    watch.crash("h3")
    watch.look(60)
    assert [one["symptom"] for one in watch.opened] == ["failed-host", "failed-host"]


def test_a_returned_host_that_takes_no_servers_is_an_incident_until_somebody_enables_it():
    watch = a_watch()
    watch.crash("h3")
    watch.look(40)
    watch.hear(*plan_state("finished", watch))
    watch.set_hosts(h3={"enabled": False, "forced_down": True})
    watch.look(60)
    watch.boot("h3")
    watch.look(120)
    assert watch.opened[-1]["symptom"] == "returned-host"
    assert "enable it" in watch.opened[-1]["why"]
    assert len(watch.requests) == 1
    watch.set_hosts(h3={"enabled": True, "forced_down": False})
    watch.look(5)
    assert watch.ended[-1]["outcome"] == "cleared"
    assert not watch.memory.health


def test_a_host_that_comes_back_before_anything_was_done_is_cleared_and_its_plan_taken_back():
    watch = a_watch(policy=Policy(rules=(), thresholds=FULL_ENOUGH))  # no rule: nothing is asked for
    watch.crash("h3")
    watch.look(40)
    assert watch.refused("no-rule")
    watch.boot("h3")
    watch.look(120)
    assert watch.ended[0]["outcome"] == "cleared"
    auto_watch = a_watch()
    auto_watch.crash("h3")
    auto_watch.look(40)
    auto_watch.boot("h3")
    auto_watch.look(5)
    assert len(auto_watch.of("restow.command.plan.cancel")) == 1
    auto_watch.look(20)
    assert len(auto_watch.of("restow.command.plan.cancel")) == 1


def plan_state(state, watch, **other):
    from restow.messages.events import PlanState

    message = PlanState(plan=watch.incident.plan, by="executor", incident=watch.incident.id, **other)
    return f"restow.plan.{state}", message


@pytest.mark.parametrize("how", ["window", "zone", "command", "cloud", "switched-off", "idle-and-off"])
def test_maintenance_silences_what_it_explains(how):
    watch = a_watch()
    ends = NOON + timedelta(hours=1)
    windows = {"window": {"hosts": ("h3",)}, "zone": {"zones": ("az1",)}}
    match how:
        case "window" | "zone":
            window = MaintenanceWindow(starts_at=NOON, ends_at=ends, reason="new disks", **windows[how])
            watch.policy = Policy(rules=watch.policy.rules, thresholds=FULL_ENOUGH, windows=(window,))
        case "command":
            watch.hear("restow.command.host.maintenance", HostMaintenance(host="h3", on=True, by="ann", reason="disks"))
        case "cloud":
            watch.set_hosts(h3={"maintenance": True})
        case "switched-off":
            watch.hear("restow.host.powered-off", HostEvent(host="h3", plan="p1"))
        case "idle-and-off":
            watch.set_hosts(h3={"enabled": False, "power": Power.OFF})
    watch.crash("h3")
    watch.look(600)
    assert not watch.opened
    assert [one["request"]["goal"] for one in watch.requests] == (["evacuate"] if how == "command" else [])
    assert len(watch.refused("maintenance")) == 1


def test_a_host_that_is_still_dead_when_its_maintenance_ends_is_healed():
    watch = a_watch()
    window = MaintenanceWindow(hosts=("h3",), starts_at=NOON, ends_at=NOON + timedelta(minutes=10))
    watch.policy = Policy(rules=watch.policy.rules, thresholds=FULL_ENOUGH, windows=(window,))
    watch.crash("h3")
    watch.look(590)
    assert not watch.opened
    watch.look(20)
    assert len(watch.requests) == 1


def test_nothing_is_written_while_nothing_changes():
    watch = a_watch()
    watch.look(3600)
    assert watch.writes == 0
    watch.crash("h3")
    watch.look(3600)
    assert watch.writes < 10

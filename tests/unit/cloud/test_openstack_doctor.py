"""The doctor: each fault that it knows is found when it is planted, with what follows and what to do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from restow.cloud.model import Host, HostState, Power, ServerState
from restow.cloud.openstack.doctor import Grade, Seen, findings
from restow.cloud.openstack.hosts import Node
from restow.cloud.openstack.metrics import Loads
from restow.cloud.openstack.settings import MetricsSettings, OpenStackSettings, PowerSettings, ProbeSettings
from restow.cloud.port import VERIFY, Heartbeat
from restow.messages.base import parse
from support.builders import NOON, a_cloud, a_host, a_server
from support.openstack_documents import a_migration, a_service

SETTINGS = OpenStackSettings(
    power=PowerSettings(driver="command", command=("power",)),
    probes=(ProbeSettings(source="storage", command=("probe",)),),
)


def a_look(*, hosts=None, servers=(), services=None, **more):
    hosts = hosts or [a_host("h1", load={"cpu_cores": 1.0}), a_host("h2", load={"cpu_cores": 1.0})]
    names = [host.name for host in hosts]
    known = Seen(
        cloud=a_cloud(hosts, servers), services=services or [a_service(name) for name in names],
        nodes=[Node(f"u-{name}", name, "", {}) for name in names], versions={"compute": (2, 100), "placement": (1, 39)},
        words=[Heartbeat(one, name, alive=True, at=NOON) for name in names for one in ("compute-service", "storage")],
        powers=dict.fromkeys(names, Power.ON), told={"storage": frozenset(names)}, held={},
        moves=[], roles=frozenset({"admin"}), loads=Loads(),
        cpu_models=dict.fromkeys(names, "Cascadelake"), now=NOON,
    )  # fmt: skip
    return replace(known, **more)


def troubles(seen, settings=SETTINGS):
    return [one for one in findings(seen, settings) if one.grade is not Grade.GOOD]


def test_a_healthy_cloud_has_one_good_line_for_each_check():
    found = findings(a_look(), SETTINGS)
    assert {one.grade for one in found} == {Grade.GOOD}
    assert len({one.about for one in found}) == len(found) == 14


LIVES = {"cpu_cores": 1.0}
PLANTED = [
    ("2.90", a_look(versions={"compute": (2, 93), "placement": (1, 39)}), "versions", Grade.NOTE, "Nova knows 2.93"),
    ("late clock", a_look(now=NOON + timedelta(minutes=5)), "clock", Grade.NOTE, "+300 s"),
    ("early clock", a_look(now=NOON - timedelta(minutes=5)), "clock", Grade.NOTE, "-300 s"),
    ("no provider", a_look(nodes=[Node("u", "h1", "", {})]), "hosts", Grade.WRONG, "nothing of h2"),
    ("no memory", a_look(hosts=[a_host("h1", memory_mib=0, load=LIVES)]), "hosts", Grade.WRONG, "nothing of h1"),
    ("down", a_look(hosts=[a_host("h1", state=HostState.DOWN, load=LIVES)]), "hosts", Grade.NOTE, "h1 is down"),
    ("forced", a_look(hosts=[a_host("h1", state=HostState.DOWN, forced_down=True, load=LIVES)]), "hosts", Grade.NOTE,
     "h1 is declared down"),
    ("disabled", a_look(hosts=[a_host("h1", enabled=False, load=LIVES)]), "hosts", Grade.NOTE, "h1 is disabled"),
    ("closed", a_look(hosts=[a_host("h1", withheld=True, load=LIVES)]), "hosts", Grade.NOTE, "keeps it closed"),
    ("silent probe", a_look(told={"storage": frozenset({"h1"})}), "evidence", Grade.WRONG, "does not tell of h2"),
    ("mute", a_look(powers={"h1": Power.UNKNOWN, "h2": Power.ON}), "power", Grade.WRONG, "controller of h1"),
    ("another's", a_look(powers={"h1": Power.OFF, "h2": Power.ON}), "power", Grade.WRONG, "h1 reports to Nova"),
    ("cpu", a_look(cpu_models={"h1": "Icelake", "h2": "Cascadelake"}), "cpu", Grade.NOTE, "Cascadelake, Icelake"),
    ("claims", a_look(held={"h1": {"c1": {"vcpu": 2}}}), "claims", Grade.NOTE, "2 vcpu on h1 for c1"),
    ("resize", a_look(servers=[a_server("s1", on="h1", task=VERIFY)]), "moves", Grade.NOTE, "s1 waits"),
    ("stuck", a_look(moves=[a_migration(7, status="accepted", instance_uuid="s1")], now=NOON + timedelta(hours=3),
                     services=[a_service("h1", updated_at="2026-11-22T15:00:00.000000")]),
     "moves", Grade.NOTE, "migration 7 of server s1 is accepted for 3 h"),
    ("local disks", a_look(servers=[a_server("s1", on="h1", storage="local")]), "disks", Grade.NOTE, "1 servers"),
    ("error", a_look(servers=[a_server("s1", on="h1", state=ServerState.ERROR)]), "servers", Grade.NOTE,
     "s1 is in error"),
    ("a reader", a_look(roles=frozenset({"reader", "member"})), "rights", Grade.NOTE, "(but: member, reader)"),
    ("all fail", a_look(moves=[a_migration(n, status="error", dest_compute="h2") for n in range(3)]),
     "failures", Grade.NOTE, "3 live migrations to h2 have failed"),
    ("no loads", a_look(hosts=[a_host("h1")]), "metrics", Grade.NOTE, "not known"),
    ("no answer", a_look(loads=Loads(trouble="metrics at http://m: refused")), "metrics", Grade.NOTE, "m: refused"),
    ("one is silent", a_look(hosts=[a_host("h1", load=LIVES), a_host("h2")]), "metrics", Grade.NOTE, "measured on h2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "seen", "about", "grade", "what"), PLANTED, ids=[one[0] for one in PLANTED])
def test_a_planted_fault_is_found_alone_with_its_consequence_and_its_remedy(name, seen, about, grade, what):
    found = troubles(seen)
    assert [(one.about, one.grade) for one in found] == [(about, grade)] * len(found)
    assert what in found[0].what
    assert all(one.consequence and one.remedy for one in found)


def test_without_power_and_a_second_source_nothing_can_be_healed():
    words = [Heartbeat("compute-service", "h1", alive=True, at=NOON)]
    found = troubles(a_look(words=words, told={}, powers={}), OpenStackSettings())
    assert [(one.about, one.grade) for one in found] == [("evidence", Grade.WRONG), ("power", Grade.WRONG)]
    assert "nothing is healed" in found[0].consequence
    assert "nothing is evacuated" in found[1].consequence


def test_controllers_as_the_only_second_source_are_told():
    found = troubles(a_look(words=[], told={}), SETTINGS.model_copy(update={"probes": ()}))
    assert [(one.about, one.grade) for one in found] == [("evidence", Grade.NOTE)]


def test_a_domain_without_hosts_is_told():
    seen = replace(a_look(), cloud=a_cloud([]))
    assert ("hosts", Grade.WRONG) in [(one.about, one.grade) for one in troubles(seen)]


def test_moves_that_fail_now_and_then_are_no_finding():
    failed = [a_migration(n, status="error") for n in range(3)]
    assert troubles(a_look(moves=[*failed, a_migration(9)])) == []
    assert troubles(a_look(moves=failed[:2])) == []
    assert troubles(a_look(moves=[a_migration(n, status="error", dest_compute="elsewhere") for n in range(3)])) == []


def test_a_server_that_the_metrics_do_not_tell_of_is_named():
    settings = SETTINGS.model_copy(update={"metrics": MetricsSettings(url="http://m")})
    servers = [a_server("s1", on="h1", load={}), a_server("s2", on="h1", load=LIVES)]
    (found,) = troubles(a_look(servers=servers), settings)
    assert (found.about, found.what) == ("metrics", "no load is known of server s1")


def test_a_rule_that_binds_nobody_here_is_named():
    rules = [{"kind": "survive", "failures": 1, "of": "host"}, {"kind": "isolate", "servers": ["tier=db"]}]
    settings = parse(OpenStackSettings, SETTINGS.model_dump(mode="json") | {"rules": rules}, what="settings")
    (found,) = troubles(a_look(), settings)
    assert (found.about, found.what) == ("rules", "rules.1 (isolate) names no host or server of this domain")


def test_many_names_are_counted():
    hosts = [Host(f"h{n}", capacity={"memory_mib": 1}, state=HostState.DOWN, load=LIVES) for n in range(8)]
    (found,) = troubles(a_look(hosts=hosts))
    assert found.what == "h0, h1, h2, h3, h4 and 3 more is down"

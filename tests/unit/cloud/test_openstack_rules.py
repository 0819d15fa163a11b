"""Rules of a real cloud that Nova has no word for: hints of its users, and the operator's own in the settings."""

import pytest

from restow.cloud.model import Allow, Among, AtMostPer, Ban, NearTo, Reserve, Residency, SpreadOver, Survive, TogetherIn
from restow.cloud.openstack.rules import chosen_rules, hints_of, rules_of_hints
from restow.cloud.openstack.settings import OpenStackSettings
from restow.cloud.snapshot import dump_cloud, read_cloud
from restow.errors import BadInputError
from restow.messages.base import parse
from support.builders import a_cloud, a_host, a_server

HOSTS = (a_host("db-1", zone="az1"), a_host("db-2", zone="az2"), a_host("web-1", zone="az2"))
SERVERS = (
    a_server("s1", on="db-1", metadata={"app": "db"}), a_server("s2", on="db-2", metadata={"app": "db"}),
    a_server("s3", on="web-1", project="p2"),
)  # fmt: skip


def chosen(*rules, hosts=HOSTS, servers=SERVERS):
    settings = parse(OpenStackSettings, {"format": "restow.openstack/1", "rules": list(rules)}, what="settings")
    return chosen_rules(settings.rules, hosts, servers)


# --- the operator's own ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"kind": "survive", "failures": 1, "of": "host"}, Survive(1, "host")),
        ({"kind": "reserve", "hosts": ["db-*"], "keep_free": {"vcpu": 8}}, Reserve(("db-1", "db-2"), {"vcpu": 8})),
        ({"kind": "spread", "servers": ["app=db"], "over": "zone", "at_least": 2}, SpreadOver(("s1", "s2"), "zone", 2)),
        ({"kind": "ban", "servers": ["s3", "gone"], "hosts": ["db-?"]}, Ban(("s3",), ("db-1", "db-2"))),
        ({"kind": "near", "servers": ["s3"], "to": ["app=db"], "per": "zone"}, NearTo(("s3",), ("s1", "s2"), "zone")),
        (
            {"kind": "among", "servers": ["app=db"], "host_sets": [["db-*"], ["elsewhere"]]},
            Among(("s1", "s2"), (("db-1", "db-2"), ())),
        ),
        (
            {"kind": "residency", "zones": ["az2", "az9", "az2"], "projects": ["p2"], "soft": 3.0},
            Residency(("az2",), (), ("p2",), 3.0),
        ),
        (  # a choice that takes in the company itself
            {"kind": "near", "servers": ["app=db"], "to": ["s1", "s3"], "per": "zone"},
            NearTo(("s1", "s2"), ("s3",), "zone"),
        ),
        (  # named, and of the project too
            {"kind": "residency", "zones": ["az9"], "servers": ["s1"], "projects": ["p1"]},
            Allow(("s1", "s2"), ()),
        ),
    ],
)
def test_names_patterns_and_metadata_are_those_of_this_cloud(rule, expected):
    found, idle = chosen(rule)
    assert (found, idle) == ((expected,), ())
    cloud = a_cloud(HOSTS, SERVERS, rules=found)
    assert read_cloud(dump_cloud(cloud)) == cloud


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "spread", "servers": ["app=web", "gone"], "over": "zone", "at_least": 2},
        {"kind": "reserve", "hosts": ["gpu-*"], "keep_free": {"vcpu": 8}},
        {"kind": "near", "servers": ["s3"], "to": ["gone"], "per": "zone"},
        {"kind": "near", "servers": ["app=db"], "to": ["app=db"], "per": "zone"},
        {"kind": "residency", "zones": ["az1"], "projects": ["p9"]},
        {"kind": "residency", "zones": ["az9"], "projects": ["p9"]},
    ],
)
def test_a_rule_that_names_nobody_here_binds_nobody_and_is_told(rule):
    assert chosen({"kind": "survive", "failures": 1, "of": "host"}, rule) == ((Survive(1, "host"),), (1,))


@pytest.mark.parametrize(
    ("rule", "confined"),
    [
        ({"kind": "allow", "servers": ["s1"], "hosts": ["gpu-*"]}, ("s1",)),
        ({"kind": "residency", "zones": ["az9"], "servers": ["s1"], "projects": ["p2"]}, ("s1", "s3")),
    ],
)
def test_who_is_confined_to_what_is_not_here_may_not_move(rule, confined):
    assert chosen(rule) == ((Allow(confined, ()),), ())


def test_a_rule_of_an_unknown_kind_or_with_a_wrong_field_is_refused_by_its_place():
    with pytest.raises(BadInputError, match=r"rules\.1"):
        chosen({"kind": "survive", "failures": 1, "of": "host"}, {"kind": "scatter", "servers": ["s1"]})
    with pytest.raises(BadInputError, match=r"rules\.0.*failures"):
        chosen({"kind": "survive", "failures": 0, "of": "host"})


# --- hints ----------------------------------------------------------------------------------------------------


def test_hints_are_read_as_nova_tells_them():
    assert hints_of({}) == hints_of({"scheduler_hints": None}) == hints_of({"scheduler_hints": {"group": "g"}}) == {}
    hints = {"different_host": "a", "same_host": ["b", "c"], "query": "[]"}
    assert hints_of({"scheduler_hints": hints}) == {"different_host": ("a",), "same_host": ("b", "c")}


def test_servers_that_are_to_be_apart_stay_apart_both_ways():
    at = {"a": "h1", "b": "h2", "c": "h3"}
    hints = {"a": {"different_host": ("b", "c", "gone", "a")}, "b": {"different_host": ("a",)}}
    assert rules_of_hints(hints, at) == (AtMostPer(("a", "b"), "host", 1), AtMostPer(("a", "c"), "host", 1))


def test_servers_that_are_to_be_together_stay_with_those_that_they_stand_with():
    at = {"a": "h1", "b": "h1", "c": "h2", "d": None, "e": None}
    hints = {"a": {"same_host": ("b", "c")}, "d": {"same_host": ("e",)}, "gone": {"same_host": ("a",)}}
    assert rules_of_hints(hints, at) == (TogetherIn(("a", "b"), "host"),)

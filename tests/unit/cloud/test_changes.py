"""What-if: each change does what it says to a cloud, and every wrong one is named."""

import json

import pytest

from restow.cloud.changes import changed
from restow.cloud.model import HostState
from restow.errors import BadInputError
from restow.messages.base import parse
from restow.messages.request import Changes, parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_host, a_server

CLOUD = a_cloud(
    [a_host("h1", vcpu=4, rack="r1"), a_host("h2", vcpu=4, rack="r2", enabled=False), a_host("h3", vcpu=4, rack="r2")],
    [a_server("s1", on="h1", vcpu=3), a_server("s2", on="h3", vcpu=2)],
)

HOST = {"name": "new", "capacity": {"vcpu": 1, "memory_mib": 1}}


def if_changed(**body):
    return parse(Changes, json.dumps(body), what="changes")


def the(cloud, name):
    return cloud.host_by_name[name]


def test_nothing_changed_is_the_same_cloud():
    assert changed(CLOUD, None) is CLOUD
    assert changed(CLOUD, Changes()) == CLOUD


def test_copies_are_empty_hosts_of_the_same_kind_that_take_servers():
    after = changed(CLOUD, if_changed(copy_hosts=[{"like": "h2", "count": 2}]))
    assert [host.name for host in after.hosts] == ["h1", "h2", "h3", "h2-copy-1", "h2-copy-2"]
    assert (the(after, "h2-copy-1").capacity, the(after, "h2-copy-1").rack) == (the(CLOUD, "h2").capacity, "r2")
    assert the(after, "h2-copy-2").takes_servers
    assert not after.servers_on["h2-copy-1"]


def test_a_lost_host_or_rack_is_down_with_its_servers_on_it():
    after = changed(CLOUD, Changes(lose_hosts=("h1",)))
    assert (the(after, "h1").state, the(after, "h3").state) == (HostState.DOWN, HostState.UP)
    assert [server.id for server in after.servers_on["h1"]] == ["s1"]
    after = changed(CLOUD, Changes(lose_racks=("r2",)))
    assert [host.name for host in after.hosts if host.state is HostState.DOWN] == ["h2", "h3"]


def test_head_room_is_taken_off_every_capacity_and_growth_is_rounded_up():
    after = changed(CLOUD, if_changed(head_room=0.25, grow=[{"factor": {"vcpu": 1.5}}]))
    assert the(after, "h1").capacity["vcpu"] == 3
    assert [server.demand["vcpu"] for server in after.servers] == [5, 3]
    one = changed(CLOUD, if_changed(grow=[{"servers": ["s2"], "factor": {"memory_mib": 2}}]))
    assert [server.demand["memory_mib"] for server in one.servers] == [1024, 2048]


def test_what_has_no_way_out_has_one_with_one_more_host():
    request = parse_request({"goal": "evacuate", "hosts": ["h1"]})
    assert plan_for(CLOUD, request, plan_id="now").outcome.value == "impossible"
    after = changed(CLOUD, if_changed(copy_hosts=[{"like": "h1"}]))
    plan = plan_for(after, request, plan_id="then")
    assert plan.outcome.value == "plan"
    assert check(after, plan) == ()


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"copy_hosts": [{"like": "h9"}]}, "changes.copy_hosts.0.like", "name of a host"),
        ({"copy_hosts": [{"like": "h1"}, {"like": "h1"}]}, "changes.copy_hosts.1.like", "copied once"),
        ({"remove_hosts": ["h1"]}, "changes.remove_hosts.0", "a host without servers"),
        ({"remove_hosts": ["h9"]}, "changes.remove_hosts.0", "name of a host"),
        ({"lose_hosts": ["h9"]}, "changes.lose_hosts.0", "name of a host"),
        ({"lose_racks": ["r9"]}, "changes.lose_racks.0", "name of a rack"),
        ({"grow": [{"servers": ["s9"], "factor": {"vcpu": 2}}]}, "changes.grow.0.servers.0", "id of a server"),
        ({"grow": [{"factor": {"gpu": 2}}]}, "changes.grow.0.factor.gpu", "one of vcpu"),
        ({"add_hosts": [HOST | {"name": "h1"}]}, "changes.add_hosts.0.name", "no host"),
        ({"add_hosts": [{"name": "h4", "capacity": {"vcpu": 1}}]}, "changes.add_hosts.0.capacity", "every resource"),
    ],
)  # fmt: skip
def test_a_wrong_change_names_its_field(changes, field, expected):
    with pytest.raises(BadInputError) as caught:
        changed(CLOUD, if_changed(**changes))
    (error,) = caught.value.errors
    assert error.field.startswith(field)
    assert expected in error.expected

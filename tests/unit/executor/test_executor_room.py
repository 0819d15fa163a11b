"""Room on a target, told from fresh reads: what is there, what is on its way, what was claimed a moment ago."""

from restow.cloud.model import HostState, Power
from restow_executor.room import Claims, group_forbids, lacks, why_closed
from support.builders import a_cloud, a_group, a_host, a_server


def short(cloud, server, *, claims=None, in_flight=None):
    host = cloud.host_by_name["h2"]
    return lacks(cloud, host, server, claims=claims or Claims(), step="x", in_flight=in_flight or {})


def test_room_is_capacity_less_what_is_there():
    cloud = a_cloud([a_host("h2", vcpu=4)], [a_server("there", on="h2", vcpu=2)])
    assert short(cloud, a_server("s", vcpu=2)) is None
    assert short(cloud, a_server("s", vcpu=3)) == "h2 lacks 1 vcpu for s"


def test_a_server_on_its_way_there_takes_its_room_already_and_only_once():
    cloud = a_cloud([a_host("h1"), a_host("h2", vcpu=4)], [a_server("coming", on="h1", vcpu=3, task="migrating")])
    in_flight = {"coming": {"h1": {"vcpu": 3}, "h2": {"vcpu": 3}}}
    claims = Claims()
    claims.hold("other", "h2", cloud.servers[0])
    assert short(cloud, a_server("s", vcpu=1), in_flight=in_flight, claims=claims) is None
    assert short(cloud, a_server("s", vcpu=2), in_flight=in_flight, claims=claims) is not None


def test_what_another_step_claimed_a_moment_ago_counts_and_ones_own_claim_does_not():
    cloud = a_cloud([a_host("h1"), a_host("h2", vcpu=4)], [a_server("one", on="h1", vcpu=3)])
    claims = Claims()
    claims.hold("other", "h2", cloud.servers[0])
    assert short(cloud, a_server("s", vcpu=2), claims=claims) is not None
    claims.drop("other")
    claims.hold("x", "h2", cloud.servers[0])
    assert short(cloud, a_server("s", vcpu=2), claims=claims) is None


def test_a_resource_that_the_server_does_not_claim_is_no_obstacle():
    cloud = a_cloud([a_host("h2", vcpu=1, capacity={"vgpu": 0})], [a_server("a", on="h2", demand={"vgpu": 1})])
    assert short(cloud, a_server("s", vcpu=0)) is None


def test_a_closed_host_says_why():
    assert why_closed(a_host("h")) is None
    assert why_closed(a_host("h", enabled=False)) == "h is disabled"
    assert why_closed(a_host("h", maintenance=True)) == "h is in maintenance"
    assert why_closed(a_host("h", state=HostState.DOWN)) == "h is down"
    assert why_closed(a_host("h", forced_down=True)) == "h is down"
    assert why_closed(a_host("h", power=Power.OFF)) == "h is powered off"


def test_a_group_that_is_kept_apart_counts_those_on_their_way_too():
    servers = [a_server("a", on="h1"), a_server("b", on="h1"), a_server("c", on="h1")]
    cloud = a_cloud([a_host("h1"), a_host("h2")], servers, groups=[a_group("g", "anti-affinity", ["a", "b"])])
    host, claims = cloud.host_by_name["h2"], Claims()
    assert group_forbids(cloud, host, servers[0], claims=claims, step="x") is None
    claims.hold("other", "h2", servers[1])
    assert "group g" in (group_forbids(cloud, host, servers[0], claims=claims, step="x") or "")
    assert group_forbids(cloud, host, servers[2], claims=claims, step="x") is None

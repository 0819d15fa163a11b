import json

import pytest
from hypothesis import given, settings

from restow.cloud.model import (
    Allow,
    Among,
    AtMostPer,
    Ban,
    Budget,
    Dedicate,
    Isolate,
    Licence,
    LoadBelow,
    NearTo,
    Reserve,
    Residency,
    SpreadOver,
    Survive,
    TogetherIn,
)
from restow.cloud.snapshot import cloud_schema, dump_cloud, read_cloud, read_host
from restow.errors import BadInputError
from support.builders import a_cloud, a_group, a_host, a_server
from support.strategies import legal_clouds

RULES = (
    Allow(("s1",), ("h1",), soft=2.5),
    Ban(("s1",), ("h2",)),
    SpreadOver(("s1", "s2"), "rack", 2),
    AtMostPer(("s1", "s2"), "host", 1),
    TogetherIn(("s1",), "zone"),
    Among(("s1",), (("h1",), ("h2",))),
    Reserve(("h1",), {"vcpu": 2}),
    Survive(1, "host"),
    LoadBelow(("h1",), {"cpu_cores": 0.9}),
    NearTo(("s1",), ("s2",), "rack"),
    Licence(("s1", "s2"), 1, "rack"),
    Residency(("az1",), projects=("p1",)),
    Dedicate(("h2",), ("p1", "p2"), exclusive=True),
    Isolate(("s1", "s2")),
    Budget(("s1", "s2"), 1),
)
CELL = {"pcpu": 8, "memory_mib": 4096}
CLOUD = a_cloud(
    [
        a_host("h1", forced_down=True, cpu=frozenset({"Cascadelake", "avx2"}), storage=frozenset({"ceph"})),
        a_host("h2", traits=frozenset({"B", "A"}), aggregates=("ssd",), numa=(CELL, CELL)),
    ],
    [
        a_server("s1", on="h1", locked=True, metadata={"owner": "ä"}, cpu=frozenset({"avx2"}), storage="local"),
        a_server("s2", task="migrating", extra_specs={"disk": "ssd"}, image={"os": "linux"}, cool_down_s=0.0),
        a_server("s3", on="h2", numa=({"pcpu": 2}, {"pcpu": 2}), numa_at=(1, 0)),
    ],
    groups=[a_group("g1", "anti-affinity", ["s1", "s2"], max_per_host=2)],
    rules=RULES,
    aggregates={"ssd": {"disk": "ssd"}},
)


def errors_of(change):
    document = json.loads(dump_cloud(CLOUD))
    change(document)
    with pytest.raises(BadInputError) as caught:
        read_cloud(json.dumps(document))
    return {error.field: error for error in caught.value.errors}


def test_what_is_written_reads_back_equal():
    assert read_cloud(dump_cloud(CLOUD)) == CLOUD


def test_the_text_is_canonical():
    text = dump_cloud(CLOUD)
    assert dump_cloud(read_cloud(text)) == text
    shuffled = json.dumps(dict(reversed(json.loads(text).items())), indent=1)
    assert dump_cloud(read_cloud(shuffled)) == text


@given(legal_clouds())
@settings(max_examples=50, deadline=None)
def test_any_legal_cloud_reads_back_equal(cloud):
    assert read_cloud(dump_cloud(cloud)) == cloud


def test_the_published_example_needs_only_what_is_required():
    least = {
        "format": "restow.cloud/1",
        "taken_at": "2026-11-22T12:00:00Z",
        "domain": "d",
        "resources": ["vcpu"],
        "hosts": [{"name": "h", "capacity": {"vcpu": 1}}],
        "servers": [{"id": "s"}],
    }
    cloud = read_cloud(json.dumps(least))
    assert cloud.servers[0].host is None
    assert cloud.hosts[0].enabled


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("servers.1.host", lambda d: d["servers"][1].update(host="nowhere")),
        ("servers.0.hots", lambda d: d["servers"][0].update(hots="h1")),
        ("servers.1.id", lambda d: d["servers"][1].update(id="s1")),
        ("servers.0.demand.vcpu", lambda d: d["servers"][0]["demand"].update(vcpu=-1)),
        ("servers.0.demand.vcpu", lambda d: d["servers"][0]["demand"].update(vcpu=True)),
        ("servers.0.load.cpu_cores", lambda d: d["servers"][0]["load"].update(cpu_cores=float("nan"))),
        ("hosts.1.name", lambda d: d["hosts"][1].update(name="h1")),
        ("hosts.0.capacity.vcpu", lambda d: d["hosts"][0]["capacity"].pop("vcpu")),
        ("hosts.0.capacity.vcpu", lambda d: d["hosts"][0]["capacity"].update(vcpu="8")),
        ("hosts.0.state", lambda d: d["hosts"][0].update(state="UP")),
        ("hosts.0.load", lambda d: d["hosts"][0].update(load=[1])),
        ("groups.0.members.1", lambda d: d["groups"][0].update(members=["s1", "gone"])),
        ("groups.0.policy", lambda d: d["groups"][0].update(policy="anti affinity")),
        ("groups.0.max_per_host", lambda d: d["groups"][0].update(policy="affinity")),
        ("rules.0.servers.0", lambda d: d["rules"][0].update(servers=["gone"])),
        ("rules.0.servers.1", lambda d: d["rules"][0].update(servers=["s1", "s1"])),
        ("rules.1.hosts.0", lambda d: d["rules"][1].update(hosts=["gone"])),
        ("rules.0.hosst", lambda d: d["rules"][0].update(hosst=[])),
        ("rules.2.over", lambda d: d["rules"][2].update(over="room")),
        ("rules.5.host_sets.1.0", lambda d: d["rules"][5].update(host_sets=[["h1"], ["gone"]])),
        ("rules.8.hosts.0", lambda d: d["rules"][8].update(hosts=["gone"])),
        ("rules.8.hosts", lambda d: d["rules"][8].update(hosts=[])),
        ("rules.8.at_most.cpu_cores", lambda d: d["rules"][8].update(at_most={"cpu_cores": 1.5})),
        ("rules.8.at_most.cpu_cores", lambda d: d["rules"][8].update(at_most={"cpu_cores": -0.1})),
        ("rules.9.to.0", lambda d: d["rules"][9].update(to=["gone"])),
        ("rules.9.to.0", lambda d: d["rules"][9].update(to=["s1"])),
        ("rules.9.to", lambda d: d["rules"][9].update(to=[])),
        ("rules.10.servers.0", lambda d: d["rules"][10].update(servers=["gone"])),
        ("rules.10.count", lambda d: d["rules"][10].update(count=0)),
        ("rules.11.zones.0", lambda d: d["rules"][11].update(zones=["az9"])),
        ("rules.11.servers", lambda d: d["rules"][11].update(projects=[])),
        ("rules.12.projects", lambda d: d["rules"][12].update(projects=[])),
        ("rules.12.exclusive", lambda d: d["rules"][12].update(exclusive="yes")),
        ("rules.13.servers.0", lambda d: d["rules"][13].update(servers=["gone"])),
        ("rules.14.at_once", lambda d: d["rules"][14].update(at_once=0)),
        ("rules.14.soft", lambda d: d["rules"][14].update(soft=-1)),
        ("hosts.1.numa.0.pcpu", lambda d: d["hosts"][1]["numa"][0].update(pcpu=-1)),
        ("servers.2.numa_at", lambda d: d["servers"][2].update(numa_at=[0])),
        ("servers.2.numa_at", lambda d: d["servers"][2].update(numa_at=[0, 0])),
        ("servers.2.numa_at.1", lambda d: d["servers"][2].update(numa_at=[0, 2])),
        ("servers.0.extra_specs.disk", lambda d: d["servers"][0].update(extra_specs={"disk": 1})),
        ("servers.1.cool_down_s", lambda d: d["servers"][1].update(cool_down_s=-1)),
        ("aggregates.ssd.disk", lambda d: d["aggregates"]["ssd"].update(disk=True)),
        ("rules.0.kind", lambda d: d["rules"][0].update(kind="alow")),
        ("resources.1", lambda d: d.update(resources=["vcpu", "vcpu"])),
        ("taken_at", lambda d: d.update(taken_at="2026-11-22T12:00:00")),
        ("taken_at", lambda d: d.update(taken_at="0001-01-01T00:00:00+14:00")),
        ("format", lambda d: d.update(format="restow.cloud/2")),
    ],
)
def test_a_wrong_field_is_named_by_its_path(field, change):
    assert field in errors_of(change)


def test_all_wrong_fields_are_told_at_once_but_not_without_end():
    def change(document):
        for server in document["servers"]:
            server["host"] = "nowhere"
        document["groups"][0]["members"] = [f"gone-{number}" for number in range(100)]

    found = errors_of(change)
    assert {"servers.0.host", "servers.1.host", "groups.0.members.0"} <= set(found)
    assert len(found) == 20
    assert found["servers.0.host"].value == "nowhere"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", "x" * 100_000])
def test_what_is_no_snapshot_is_refused_in_few_words(text):
    with pytest.raises(BadInputError) as caught:
        read_cloud(text, what="day.json")
    assert str(caught.value).startswith("day.json: (document)")
    assert len(str(caught.value)) < 300


def test_metadata_takes_anything_and_is_text_afterwards():
    document = json.loads(dump_cloud(CLOUD))
    document["servers"][0]["metadata"] = {"tier": "gold", "size": 3, "tags": ["a", "b"]}
    cloud = read_cloud(json.dumps(document))
    assert cloud.servers[0].metadata == {"tier": "gold", "size": "3", "tags": '["a","b"]'}
    assert read_cloud(dump_cloud(cloud)) == cloud


def test_alike_demands_share_one_mapping():
    cloud = a_cloud([a_host("h1")], [a_server("s1", on="h1"), a_server("s2", on="h1")])
    read = read_cloud(dump_cloud(cloud))
    assert read.servers[0].demand is read.servers[1].demand


def test_a_host_is_read_alone():
    host = read_host({"name": "extra", "capacity": {"vcpu": 4}, "zone": "az1"}, resources=["vcpu"])
    assert (host.name, host.capacity, host.takes_servers) == ("extra", {"vcpu": 4}, True)
    with pytest.raises(BadInputError, match=r"capacity\.memory_mib"):
        read_host({"name": "extra", "capacity": {"vcpu": 4}}, resources=["vcpu", "memory_mib"])
    with pytest.raises(BadInputError, match="capcity"):
        read_host({"name": "extra", "capcity": {}})
    with pytest.raises(BadInputError):
        read_host({"name": object()})


def test_the_schema_forbids_unknown_fields():
    schema = cloud_schema()
    assert schema["$defs"]["HostDocument"]["additionalProperties"] is False
    assert set(schema["required"]) == {"format", "taken_at", "domain", "resources", "hosts"}

"""Hosts, capacity, and what placement holds beyond a host's own servers."""

from datetime import timedelta

import pytest

from restow.cloud.model import Host, HostState, Power
from restow.cloud.openstack.evidence import service_words
from restow.cloud.openstack.hosts import (
    Aggregates,
    Node,
    Provider,
    common_resources,
    host_of,
    nodes_of,
    provider_of,
    providers_of,
)
from restow.cloud.openstack.reading import Answers, assemble, stale_claims
from restow.cloud.openstack.rules import groups_of, metadata_of
from restow.cloud.openstack.servers import Flavors, server_of
from restow.cloud.openstack.settings import OpenStackSettings
from support.builders import NOON
from support.openstack_documents import a_document, a_flavor, a_service

NO_AGGREGATES = Aggregates.of([])


def summary(root, traits=(), **resources):
    found = {name: {"capacity": capacity, "used": used} for name, (capacity, used) in resources.items()}
    return {"resources": found, "traits": list(traits), "root_provider_uuid": root}


def test_nested_providers_count_with_their_root_and_only_the_roots_traits_are_the_hosts():
    found = providers_of({
        "r1": summary("r1", ["A"], VCPU=(64, 2), MEMORY_MB=(1000, 10)),
        "gpu": summary("r1", ["B"], VGPU=(4, 1)), "gpu2": summary("r1", VGPU=(4, 0)),
    })  # fmt: skip
    assert found == {
        "r1": Provider({"vcpu": 64, "memory_mib": 1000, "vgpu": 8}, {"vcpu": 2, "memory_mib": 10, "vgpu": 1}, {"A"})
    }


def test_capacity_is_the_total_less_the_reserve_times_the_ratio():
    inventories = {"VCPU": {"total": 17, "reserved": 1, "allocation_ratio": 1.5}}
    assert provider_of(inventories, {"VCPU": 3}, ["T"]) == Provider({"vcpu": 24}, {"vcpu": 3}, {"T"})


def test_a_host_by_its_service_its_node_and_its_aggregates():
    aggregates = Aggregates.of([
        {"name": "ssd", "hosts": ["h1"], "metadata": {"rack": "r7"}},
        {"name": "az1", "hosts": ["h1", "h2"], "metadata": {}},
    ])  # fmt: skip
    node = Node("u1", "h1", "10.0.0.1", {"cpu_cores": 16.0})
    host = host_of(a_service(), node, Provider({"vcpu": 8}, {}, {"T"}), aggregates, rack_key="rack")
    assert (host.name, host.state, host.enabled, host.zone, host.rack) == ("h1", HostState.UP, True, "az1", "r7")
    assert (host.aggregates, host.traits, host.capacity, host.power) == (("az1", "ssd"), {"T"}, {"vcpu": 8}, Power.ON)
    assert host.physical == {"cpu_cores": 16.0}


@pytest.mark.parametrize(
    ("service", "state", "maintenance", "power"),
    [
        ({"state": "down"}, HostState.DOWN, False, Power.UNKNOWN),
        ({"forced_down": True}, HostState.DOWN, False, Power.UNKNOWN),
        ({"status": "disabled", "disabled_reason": "Maintenance of the fans"}, HostState.UP, True, Power.ON),
        ({"status": "disabled", "disabled_reason": None}, HostState.UP, False, Power.ON),
    ],
)
def test_states_of_hosts(service, state, maintenance, power):
    host = host_of(a_service(**service), None, Provider(), NO_AGGREGATES, rack_key="rack")
    assert (host.state, host.maintenance, host.power) == (state, maintenance, power)


@pytest.mark.parametrize(
    ("status", "traits", "enabled", "withheld"),
    [
        ("enabled", {"COMPUTE_STATUS_DISABLED"}, True, True), ("enabled", set(), True, False),
        ("disabled", {"COMPUTE_STATUS_DISABLED"}, False, False), ("disabled", set(), False, False),
    ],
)  # fmt: skip
def test_what_the_service_says_and_what_placement_offers_are_told_apart(status, traits, enabled, withheld):
    service = a_service(status=status)
    host = host_of(service, None, Provider(traits=traits), NO_AGGREGATES, rack_key="rack")
    assert (host.enabled, host.withheld, host.takes_servers) == (enabled, withheld, enabled and not withheld)


def test_bare_metal_nodes_are_no_hosts():
    one = {"id": "u1", "service": {"host": "h1"}, "host_ip": "10.0.0.1", "vcpus": 16, "memory_mb": 100}
    assert [node.uuid for node in nodes_of([one, one | {"id": "u2", "hypervisor_type": "ironic"}])] == ["u1"]


def test_what_counts():
    hosts = [
        Host("h1", capacity={"vcpu": 1, "memory_mib": 1, "disk_gib": 1, "vgpu": 1}),
        Host("h2", capacity={"vcpu": 1, "memory_mib": 1}),
    ]
    assert common_resources(hosts, ["disk_gib", "vgpu"]) == ("vcpu", "memory_mib", "vgpu")  # h2's disks are elsewhere
    assert common_resources(hosts[:1], []) == ("vcpu", "memory_mib", "disk_gib")  # nobody wants a vgpu


def a_picture(
    *, used=0, servers=None, domain_hosts=("h1", "h2"), shelved=True, providers=None, images=None, metadata=None
):
    documents = (
        servers if servers is not None else [a_document("s1"), a_document("s2", **{"OS-EXT-SRV-ATTR:host": "h2"})]
    )
    capacity = {"vcpu": 64, "memory_mib": 65536, "disk_gib": 1000}
    own = {"vcpu": 2, "memory_mib": 4096, "disk_gib": 10}
    found = providers or {
        f"u-{host}": Provider(
            dict(capacity), {name: amount + (used if name == "vcpu" else 0) for name, amount in own.items()}
        )
        for host in ("h1", "h2")
    }
    answers = Answers(
        services=[a_service(host) for host in domain_hosts],
        nodes=tuple(Node(f"u-{host}", host, "", {}) for host in ("h1", "h2")),
        aggregates=NO_AGGREGATES, providers=found,
        servers=tuple(server_of(one, Flavors(), priority_key="p") for one in documents), images=images or {}, groups=[],
        metadata=metadata or {},
    )  # fmt: skip
    return assemble(answers, OpenStackSettings(), domain="d", taken_at=NOON, shelved=shelved, powers={"h2": Power.OFF})


def test_a_cloud_at_rest_has_all_its_capacity():
    cloud = a_picture()
    assert cloud.resources == ("vcpu", "memory_mib", "disk_gib")
    assert [host.capacity["vcpu"] for host in cloud.hosts] == [64, 64]
    assert [host.power for host in cloud.hosts] == [Power.ON, Power.OFF]


def test_what_placement_holds_beyond_a_hosts_own_servers_is_no_room():
    assert [host.capacity["vcpu"] for host in a_picture(used=5).hosts] == [59, 59]


def test_servers_of_other_domains_and_of_no_host_are_left_to_them():
    servers = [
        a_document("s1"),
        a_document("s2", **{"OS-EXT-SRV-ATTR:host": "h2"}),
        a_document("s3", status="SHELVED_OFFLOADED"),
    ]
    assert [one.id for one in a_picture(servers=servers, domain_hosts=("h1",), shelved=False).servers] == ["s1"]
    assert [one.id for one in a_picture(servers=servers, domain_hosts=("h1",)).servers] == ["s1", "s3"]


def test_claims_in_flight_and_stale_ones_are_told_apart():
    claim = {"resources": {"VCPU": 2, "MEMORY_MB": 10}}
    held = {"own": claim, "arriving": claim, "nobody": claim, "gone": claim}
    found = stale_claims(held, own=frozenset({"own"}), in_flight=frozenset({"arriving"}))
    assert found == {one: {"vcpu": 2, "memory_mib": 10} for one in ("nobody", "gone")}


def test_groups_of_other_domains_are_none_of_ours():
    documents = [
        {"id": "g2", "policy": "anti-affinity", "rules": {"max_server_per_host": 3}, "members": ["s1", "x"]},
        {"id": "g1", "policy": "soft-affinity", "rules": {}, "members": ["s1"]},
        {"id": "g3", "policy": "affinity", "rules": {}, "members": ["x"]},
    ]
    assert [(one.id, one.policy, one.members, one.max_per_host) for one in groups_of(documents, frozenset({"s1"}))] == [
        ("g1", "soft-affinity", ("s1",), 1), ("g2", "anti-affinity", ("s1",), 3),
    ]  # fmt: skip


def test_flavors_and_aggregates_tell_what_they_say_of_each_other():
    specs = {
        "aggregate_instance_extra_specs:ssd": "true",
        "fast": "yes",
        "trait:X": "required",
        "hw:cpu_policy": "shared",
    }
    server = server_of(a_document(flavor=a_flavor(extra_specs=specs)), Flavors(), priority_key="p")
    assert server.extra_specs == {"aggregate_instance_extra_specs:ssd": "true", "fast": "yes"}
    documents = [
        {"name": "b", "metadata": {"availability_zone": "az1", "ssd": "true"}},
        {"name": "a", "metadata": {"availability_zone": "az1"}}, {"name": "c", "metadata": {}},
    ]  # fmt: skip
    assert metadata_of(documents) == {"b": {"ssd": "true"}}


def test_of_an_image_only_what_some_aggregate_names_is_told():
    servers = [a_document("s1"), a_document("s2")]
    images = {"s1": {"os_distro": "x", "hw_disk_bus": "scsi"}, "s2": {"hw_disk_bus": "scsi"}}
    cloud = a_picture(servers=servers, images=images, metadata={"a": {"os_distro": "x"}})
    assert [dict(server.image) for server in cloud.servers] == [{"os_distro": "x"}, {}]
    assert cloud.aggregates == {"a": {"os_distro": "x"}}


def test_the_age_of_a_word_is_counted_by_novas_clock_not_by_ours():
    ours = NOON + timedelta(hours=1)
    words = service_words([a_service("h1"), a_service("h2", updated_at="2026-11-22T11:59:50.000000")], now=ours)
    assert [(word.host, word.alive, (ours - word.at).total_seconds()) for word in words] == [
        ("h1", True, 0),
        ("h2", True, 10),
    ]


@pytest.mark.parametrize(
    ("service", "alive"),
    [
        ({"state": "down"}, False),
        ({"state": "down", "forced_down": True}, True),
        ({"state": "down", "forced_down": True, "updated_at": "2026-11-22T11:59:00.000000"}, False),
        ({"state": "down", "forced_down": True, "updated_at": None}, False),
    ],
)
def test_the_word_about_a_host_that_was_forced_down_is_whether_it_reports(service, alive):
    words = service_words([a_service("h1"), a_service("h2", **service)], now=NOON)
    assert words[1].alive is alive

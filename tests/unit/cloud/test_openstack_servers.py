"""A server of Nova as the model has it: claims, traits, states, kinds of move."""

import pytest

from restow.cloud.model import Move, ServerState
from restow.cloud.openstack.servers import Flavors, server_of
from restow.errors import CredentialError, TransientError
from support.openstack_documents import a_document, a_flavor


def read(**changes):
    return server_of(a_document(**changes), Flavors(), priority_key="restow_priority")


def test_a_plain_server():
    server = read(metadata={"a": "b", "restow_priority": "7"}, pinned_availability_zone="az2", locked=True)
    assert (server.id, server.host, server.project, server.state) == ("s1", "h1", "p1", ServerState.ACTIVE)
    assert server.demand == {"vcpu": 2, "memory_mib": 4096, "disk_gib": 10}
    assert (server.zone, server.locked, server.priority, server.move) == ("az2", True, 7, Move.LIVE)
    assert server.metadata["a"] == "b"


@pytest.mark.parametrize(
    ("flavor", "image", "demand"),
    [
        ({"ephemeral": 3, "swap": 1025}, {"id": "i"}, {"vcpu": 2, "memory_mib": 4096, "disk_gib": 15}),
        ({}, "", {"vcpu": 2, "memory_mib": 4096}),  # booted from a volume
        ({"extra_specs": {"hw:cpu_policy": "dedicated"}}, "", {"pcpu": 2, "memory_mib": 4096}),
        ({}, {"id": "i", "properties": {"hw_cpu_policy": "dedicated"}},
         {"pcpu": 2, "memory_mib": 4096, "disk_gib": 10}),
        ({"extra_specs": {"resources:VGPU": "1", "resources2:CUSTOM_FPGA": "2"}}, "",
         {"vcpu": 2, "memory_mib": 4096, "vgpu": 1, "custom_fpga": 2}),
        ({"extra_specs": {"resources:VCPU": "0", "resources:MEMORY_MB": "0"}}, "", {}),
    ],
)  # fmt: skip
def test_what_a_flavor_claims(flavor, image, demand):
    assert read(flavor=a_flavor(**flavor), image=image).demand == demand


@pytest.mark.parametrize(
    ("flavor", "image", "disks", "storage"),
    [
        ({}, {"id": "i"}, "local", "local"), ({}, {"id": "i"}, "shared", None), ({}, "", "local", None),
        ({"ephemeral": 1}, "", "local", "local"), ({"disk": 0}, {"id": "i"}, "local", "local"),
        ({"disk": 0}, "", "local", None), ({"disk": 0, "swap": 1}, "", "local", "local"),
        ({"extra_specs": {"resources:DISK_GB": "0"}}, {"id": "i"}, "local", "local"),
        ({"disk": 0}, {"id": "i"}, "shared", None),
    ],
)  # fmt: skip
def test_a_disk_that_is_no_volume_dies_with_its_host_unless_we_are_told_otherwise(flavor, image, disks, storage):
    document = a_document(flavor=a_flavor(**flavor), image=image)
    assert server_of(document, Flavors(), priority_key="p", disks=disks).storage == storage


def test_traits_of_flavor_and_image():
    specs = {"trait:A": "required", "trait:B": "forbidden", "trait1:C": "required", "traits": "D", "trait:E": "maybe"}
    image = {"id": "i", "properties": {"trait:F": "required", "os": "x"}}
    server = read(flavor=a_flavor(extra_specs=specs), image=image)
    assert (server.requires, server.forbids) == ({"A", "C", "F"}, {"B"})


@pytest.mark.parametrize(
    ("status", "state", "move"),
    [
        ("ACTIVE", ServerState.ACTIVE, Move.LIVE), ("PAUSED", ServerState.PAUSED, Move.LIVE),
        ("SUSPENDED", ServerState.PAUSED, Move.NONE), ("SHUTOFF", ServerState.STOPPED, Move.LIVE),
        ("SHELVED", ServerState.STOPPED, Move.NONE), ("RESCUE", ServerState.ACTIVE, Move.NONE),
        ("ERROR", ServerState.ERROR, Move.LIVE), ("MIGRATING", ServerState.ACTIVE, Move.LIVE),
        ("A_NEW_ONE", ServerState.ERROR, Move.LIVE),
    ],
)  # fmt: skip
def test_states(status, state, move):
    server = read(status=status)
    assert (server.state, server.move) == (state, move)


def test_a_finished_resize_is_a_task_of_its_own_and_tells_whether_the_guest_runs():
    assert (read(status="VERIFY_RESIZE").task, read(status="VERIFY_RESIZE").state) == ("verify_resize", "active")
    assert read(status="VERIFY_RESIZE", **{"OS-EXT-STS:power_state": 4}).state is ServerState.STOPPED
    assert read(**{"OS-EXT-STS:task_state": "migrating"}).task == "migrating"


def test_a_shelved_and_offloaded_server_is_on_no_host_whatever_its_record_still_names():
    assert read(status="SHELVED_OFFLOADED").host is None


@pytest.mark.parametrize("key", ["pci_passthrough:alias", "hw:mem_encryption", "resources:VGPU"])
def test_devices_cannot_be_moved_live(key):
    assert read(flavor=a_flavor(extra_specs={key: "1"})).move is Move.COLD


def test_a_nova_that_does_not_tell_the_pinned_zone_pins_to_the_zone_it_is_in():
    document = a_document()
    del document["pinned_availability_zone"]
    assert server_of(document, Flavors(), priority_key="p").zone == "az1"


def test_a_silent_cell_and_a_missing_right_are_no_servers():
    with pytest.raises(TransientError, match="cell"):
        read(status="UNKNOWN")
    document = a_document()
    del document["OS-EXT-SRV-ATTR:host"]
    with pytest.raises(CredentialError, match="role admin"):
        server_of(document, Flavors(), priority_key="p")


def test_a_priority_that_is_no_number_is_none():
    assert read(metadata={"restow_priority": "high"}).priority == 0
    assert read(metadata={"restow_priority": "9" * 30}).priority == 1_000_000


def test_equal_flavors_share_their_values():
    flavors = Flavors()
    first, second = (server_of(a_document(one), flavors, priority_key="p") for one in ("a", "b"))
    assert first.demand is second.demand
    assert first.requires is second.requires

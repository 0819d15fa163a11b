"""CPU, storage, devices, aggregates, healers and groups: what they do to plans, and what the blockers say."""

import pytest

from restow.cloud.model import LOCAL_STORAGE, HostState, Move, ServerState
from restow.messages.plan import Action, Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.extra_specs import matches
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_group, a_host, a_server

PLAIN, NEW = frozenset({"sse4"}), frozenset({"sse4", "avx512"})


def planned(cloud, **request: object) -> Plan:
    plan = plan_for(cloud, parse_request(request), plan_id="p", seconds=5)
    assert check(cloud, plan) == ()
    return plan


def moves(plan: Plan) -> dict[str, tuple[Action, str | None]]:
    return {step.server: (step.action, step.target) for step in plan.steps if step.server}


def hosts(**first: object):
    """h0 is what is said, h1 is plain, h2 is new."""
    return [a_host("h0", **({"cpu": NEW} | first)), a_host("h1", cpu=PLAIN), a_host("h2", cpu=NEW, vcpu=4)]


def test_a_running_guest_goes_where_its_cpu_is_and_a_cold_one_anywhere():
    servers = [
        a_server("live", on="h0", vcpu=2, cpu=NEW),
        a_server("cold", on="h0", vcpu=5, cpu=NEW, move=Move.COLD),
        a_server("off", on="h0", vcpu=5, cpu=NEW, state=ServerState.STOPPED),
    ]
    found = moves(planned(a_cloud(hosts(), servers), goal="evacuate", hosts=["h0"]))
    assert found["live"] == (Action.LIVE_MIGRATE, "h2")
    assert (found["cold"][1], found["off"][1]) == ("h1", "h1")


def test_a_guest_whose_cpu_is_nowhere_else_stays_and_the_rule_is_named():
    servers = [a_server("s0", on="h0", cpu=frozenset({"amx"}))]
    (blocker,) = planned(a_cloud(hosts(), servers), goal="evacuate", hosts=["h0"]).blockers
    assert blocker.rule == "cpu"
    assert "relax cpu" in blocker.relaxation


def test_what_died_starts_anew_and_needs_no_such_cpu():
    servers = [a_server("s0", on="h0", cpu=frozenset({"amx"}))]
    plan = planned(a_cloud(hosts(state=HostState.DOWN), servers), goal="recover", hosts=["h0"])
    assert moves(plan)["s0"][0] is Action.EVACUATE


@pytest.mark.parametrize("goal", ["evacuate", "recover"])
def test_a_server_goes_where_the_pool_of_its_disks_is(goal):
    state = HostState.DOWN if goal == "recover" else HostState.UP
    racks = [a_host("h0", state=state, storage=frozenset({"ceph"})), a_host("h1"), a_host("h2")]
    racks.append(a_host("h3", storage=frozenset({"ceph", "nfs"}), vcpu=2))
    plan = planned(a_cloud(racks, [a_server("s0", on="h0", storage="ceph")]), goal=goal, hosts=["h0"])
    assert moves(plan)["s0"][1] == "h3"


def test_a_disk_that_died_with_its_host_is_not_replaced_by_an_empty_one_unless_asked():
    dead = [a_host("h0", state=HostState.DOWN), a_host("h1")]
    servers = [a_server("local", on="h0", storage=LOCAL_STORAGE), a_server("shared", on="h0", storage=None)]
    cloud = a_cloud(dead, servers)
    plan = planned(cloud, goal="recover", hosts=["h0"])
    assert set(moves(plan)) == {"shared"}
    (blocker,) = plan.blockers
    assert (blocker.server, blocker.rule) == ("local", "storage")
    assert "empty_disks" in blocker.relaxation
    asked = planned(cloud, goal="recover", hosts=["h0"], empty_disks=True)
    assert set(moves(asked)) == {"local", "shared"}
    assert not asked.blockers
    smuggled = asked.model_copy(update={"request": plan.request})
    assert [one.kind for one in check(cloud, smuggled)] == ["goal"]
    alive = a_cloud([a_host("h1"), a_host("h2")], [a_server("s", on="h1", storage=LOCAL_STORAGE)])
    assert set(moves(planned(alive, goal="evacuate", hosts=["h1"]))) == {"s"}, "a move copies it"


def test_a_device_is_not_moved_live_but_cold_stopped_or_rebuilt():
    gpu = {"pci_gpu": 4}
    racks = [a_host("h0", capacity=gpu), a_host("h1", capacity=gpu)]
    servers = [
        a_server("live", on="h0", demand={"pci_gpu": 1}),
        a_server("cold", on="h0", demand={"pci_gpu": 1}, move=Move.COLD),
        a_server("off", on="h0", demand={"pci_gpu": 1}, state=ServerState.STOPPED),
    ]
    plan = planned(a_cloud(racks, servers), goal="evacuate", hosts=["h0"])
    assert {one: what for one, (what, _) in moves(plan).items()} == {
        "cold": Action.COLD_MIGRATE, "off": Action.COLD_MIGRATE,
    }  # fmt: skip
    (blocker,) = plan.blockers
    assert (blocker.server, blocker.rule) == ("live", "devices")
    assert "pci_gpu" in blocker.why
    assert "cold" in blocker.relaxation
    died = [a_host("h0", capacity=gpu, state=HostState.DOWN), racks[1]]
    assert len(moves(planned(a_cloud(died, servers), goal="recover", hosts=["h0"]))) == 3


@pytest.mark.parametrize("resource", ["pcpu", "hugepages_1gib", "vgpu"])
def test_what_is_pinned_or_huge_is_counted_at_both_ends(resource):
    """h1 has room for one of the two, h2 for the other; cold moves, so that a device is no objection."""
    racks = [a_host(f"h{n}", capacity={resource: room}) for n, room in enumerate((8, 5, 4))]
    servers = [a_server(f"s{n}", on="h0", demand={resource: n}, move=Move.COLD) for n in (4, 5)]
    servers[0] = a_server("s4", on="h0", demand={resource: 3}, move=Move.COLD)
    plan = planned(a_cloud(racks, servers), goal="evacuate", hosts=["h0"])
    assert {one: to for one, (_, to) in moves(plan).items()} == {"s4": "h2", "s5": "h1"}


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({"metadata": {"restow:healed-by": "Trove"}}, "Trove"),
        ({"metadata": {"cluster_node_id": "1"}}, "Senlin"),
        ({"metadata": {"metering.server_group": "x"}}, "Heat"),
        ({"name": "amphora-2f9a3c1e-1111-4222-8333-944455556666"}, "Octavia"),
    ],
)
@pytest.mark.parametrize("goal", ["evacuate", "recover"])
def test_who_is_healed_by_another_service_is_left_to_it(fields, who, goal):
    state = HostState.DOWN if goal == "recover" else HostState.UP
    cloud = a_cloud([a_host("h0", state=state), a_host("h1")], [a_server("s0", on="h0", **fields)])
    plan = planned(cloud, goal=goal, hosts=["h0"])
    assert not moves(plan)
    (blocker,) = plan.blockers
    assert blocker.rule == "services"
    assert who in blocker.why


def test_an_affinity_group_is_a_blocker_that_says_what_to_relax():
    cloud = a_cloud(
        [a_host("h0"), a_host("h1")], [a_server("s0", on="h0"), a_server("s1", on="h0")],
        groups=[a_group("g", "affinity", ["s0", "s1"])],
    )  # fmt: skip
    plan = planned(cloud, goal="evacuate", hosts=["h0"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert {one.rule for one in plan.blockers} == {"affinity g"}
    assert all("soft-affinity" in one.relaxation for one in plan.blockers)


def test_an_aggregate_that_is_closed_to_a_project_takes_none_of_its_servers():
    racks = [a_host("h0"), a_host("h1", aggregates=("theirs",)), a_host("h2", vcpu=1)]
    cloud = a_cloud(racks, [a_server("s0", on="h0")], aggregates={"theirs": {"filter_tenant_id": "p2"}})
    assert moves(planned(cloud, goal="evacuate", hosts=["h0"]))["s0"][1] == "h2"
    full = a_cloud(racks, [a_server("s0", on="h0", vcpu=2)], aggregates={"theirs": {"filter_tenant_id": "p2"}})
    assert planned(full, goal="evacuate", hosts=["h0"]).outcome is Outcome.IMPOSSIBLE


@pytest.mark.parametrize(
    ("value", "wanted", "met"),
    [
        ("ssd", "ssd", True), ("ssd", "hdd", False), ("4", "= 4", True), ("5", "= 4", True), ("3", "= 4", False),
        ("4", "== 4.0", True), ("4", "!= 4", False), ("3", "<= 4", True), ("x", ">= 4", False), ("4", ">=", False),
        ("b", "<or> a <or> b", True), ("c", "<or> a <or> b", False), ("a-ssd", "<in> ssd", True),
        ("ab", "<all-in> a b", True), ("a", "<all-in> a b", False), ("b", "s> a", True), ("a", "s== a", True),
        ("", "", True),
    ],
)  # fmt: skip
def test_extra_specs_speak_the_language_of_nova(value, wanted, met):
    assert matches(value, wanted) is met

"""Clearing a host for a large server: the packing keeps the rules it knows, and the hops can be walked."""

import pytest

from bench.families.ordering import GROUPS, tight
from restow.cloud.model import AtMostPer, Cloud
from restow.ids import HostName, ServerId
from restow_planner.deadline import Deadline
from restow_planner.ordering.clearing import Clearing
from restow_planner.ordering.grid import Grid
from restow_planner.ordering.state import State, holds
from restow_planner.ordering.world import compile_world
from restow_planner.rules import hard_primitives
from support.builders import a_cloud, a_host, a_server
from support.strategies import random_legal_cloud

TIGHT = GROUPS["10-30 hosts, 82-95 % full"]


def a_clearing(cloud: Cloud, targets: dict[str, str]) -> Clearing:
    state = State.of(compile_world(cloud, hard_primitives(cloud)))
    wanted = {ServerId(server): HostName(host) for server, host in targets.items()}
    movable = [one.id for one in cloud.servers if one.host is not None and one.id not in state.world.fixed]
    grid = Grid(state, wanted, movable, [host.name for host in cloud.hosts])
    return Clearing(state, wanted, grid, {}, frozenset(), Deadline.after(60), seed=1)


@pytest.mark.parametrize("seed", [15, 69, 119])
def test_servers_for_which_a_host_must_be_emptied_first_reach_their_targets(seed: int) -> None:
    case = tight(seed, TIGHT)
    clearing = a_clearing(case.cloud(), case.targets())
    hops = clearing.run()
    assert hops is not None
    assert clearing.packings > 0, "it was easy"
    assert holds(clearing.start.world, list(hops))
    end = {hop.server: hop.target for hop in hops}
    assert all(end.get(ServerId(one), f"h{case.start[int(one[1:])]}") == host for one, host in case.targets().items())


def a_crowded_cloud(*rules: AtMostPer) -> Cloud:
    """`x` is to go to b, where `s1` stands. c has room for `s1`; so has d, once `d1` has left it."""
    gib = 1024
    return a_cloud(
        [a_host(name, vcpu=99, memory_mib=8 * gib) for name in "abcd"],
        [
            a_server("x", on="a", memory_mib=6 * gib), a_server("s1", on="b", memory_mib=4 * gib),
            a_server("s2", on="b", memory_mib=2 * gib), a_server("g1", on="c", memory_mib=4 * gib),
            a_server("d1", on="d", memory_mib=gib), a_server("d2", on="d", memory_mib=4 * gib),
        ],
        rules=rules,
    )  # fmt: skip


def packed(cloud: Cloud) -> dict[str, str] | None:
    clearing = a_clearing(cloud, {"x": "b"})
    here = list(clearing.grid.origin)
    found = clearing.packing(here, clearing.grid.servers.index(ServerId("x")))
    return None if found is None else {str(server): str(host) for server, host in found.items()}


def test_the_least_memory_that_makes_room_is_moved() -> None:
    assert packed(a_crowded_cloud()) == {"s1": "c"}


def test_a_group_that_is_kept_apart_is_packed_apart() -> None:
    apart = AtMostPer((ServerId("s1"), ServerId("g1")), "host", 1)
    found = packed(a_crowded_cloud(apart))
    assert found is not None
    assert found["s1"] == "d"
    assert found["d1"] in "ac"


@pytest.mark.parametrize("seed", range(10))
def test_whatever_it_finds_keeps_every_rule_at_every_hop(seed: int) -> None:
    cloud = random_legal_cloud(seed, hosts=(3, 6), servers=(5, 20))
    hosts = [host.name for host in cloud.hosts]
    movers = [server.id for server in cloud.servers if server.host is not None][:6]
    targets = {str(one): str(hosts[(seed + number) % len(hosts)]) for number, one in enumerate(movers)}
    movable = a_clearing(cloud, targets).grid.servers
    clearing = a_clearing(cloud, {one: host for one, host in targets.items() if ServerId(one) in movable})
    hops = clearing.run()
    assert hops is None or holds(clearing.start.world, list(hops))

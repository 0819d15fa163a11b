"""Each rule says itself twice: what its primitives forbid is what its violations report, in clouds where it binds."""

from itertools import product
from random import Random

import pytest

from restow.cloud.model import (
    Allow,
    Among,
    AtMostPer,
    Ban,
    Budget,
    Cloud,
    Dedicate,
    HostState,
    Isolate,
    Licence,
    LoadBelow,
    Move,
    NearTo,
    Reserve,
    Residency,
    RuleSpec,
    ServerState,
    SpreadOver,
    TogetherIn,
)
from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    AtOnce,
    Capacity,
    Cells,
    Closed,
    Fixed,
    Isolated,
    Near,
    Primitive,
    Spread,
    Together,
)
from restow_planner.rules import RULES, price_of
from restow_planner.rules.base import Occupancy
from restow_planner.rules.units import unit_of
from support.builders import a_cloud, a_group, a_host, a_server


def keeps(cloud: Cloud, primitive: Primitive, where: Occupancy) -> bool:
    """The slow and obvious meaning of a primitive."""
    hosts = cloud.host_by_name
    match primitive:
        case Capacity():
            own = primitive.demand
            amount = {
                one.id: one.demand.get(primitive.resource, 0) if own is None else own.get(one.id, 0)
                for one in cloud.servers
            }
            return all(
                sum(amount[one.id] for one in cloud.servers if host in where[one.id]) <= primitive.capacity.get(host, 0)
                for host in hosts
            )
        case Allowed():
            return all(host in primitive.hosts for one in primitive.servers for host in where[one])
        case Closed():
            return all(host == one.host for one in cloud.servers for host in where[one.id] if host in primitive.why)
        case Fixed():
            return all(where[one] == home(cloud, one) for one in primitive.why)
        case AtMost():
            units = {unit_of(host, primitive.per) for host in cloud.hosts}
            ends = [{unit_of(hosts[host], primitive.per) for host in where[one]} for one in primitive.servers]
            return all(sum(unit in one for one in ends) <= primitive.count for unit in units)
        case Spread():
            placed = [where[one] for one in primitive.servers if where[one]]
            wanted = min(primitive.at_least, len(placed))
            return all(
                len({unit_of(hosts[host], primitive.over) for host in choice}) >= wanted for choice in product(*placed)
            )
        case Together():
            used = {host for one in primitive.servers for host in where[one]}
            return not used or any(used <= hosts for hosts in primitive.host_sets)
        case AtMostUnits():
            held = {unit_of(hosts[host], primitive.per) for one in primitive.servers for host in where[one]}
            return len(held) <= primitive.count
        case Near():
            others = [{unit_of(hosts[host], primitive.per) for host in where[one]} for one in primitive.to]
            return all(
                {unit_of(hosts[host], primitive.per)} in others for one in primitive.servers for host in where[one]
            )
        case Isolated():
            mine = {host for one in primitive.servers for host in where[one]}
            return not any(mine & set(where[one.id]) for one in cloud.servers if one.id not in primitive.servers)
        case Cells():
            return all(
                sum(
                    cell_claim(cloud, primitive, one, host, place, name)
                    for one in primitive.largest
                    if host in where[one]
                )
                <= there[place].get(name, 0)
                for host, there in primitive.cells.items()
                for place in range(len(there))
                for name in ("pcpu", "memory_mib")
            )
        case AtOnce():
            return sum(len(where[one]) > 1 for one in primitive.servers) <= primitive.count


def cell_claim(cloud: Cloud, cells: Cells, server, host, place: int, name: str) -> int:
    if server not in cells.largest:
        return 0
    if cloud.server_by_id[server].host == host and server in cells.at_home:
        return cells.at_home[server][place].get(name, 0)
    return cells.largest[server].get(name, 0)


def home(cloud: Cloud, server) -> tuple:
    host = cloud.server_by_id[server].host
    return () if host is None else (host,)


def random_occupancy(cloud: Cloud, random: Random) -> Occupancy:
    """Most servers stay, some are elsewhere, some on their way, some nowhere."""
    names = [host.name for host in cloud.hosts]
    where = {}
    for server in cloud.servers:
        dice = random.random()
        if dice < 0.45:
            where[server.id] = home(cloud, server.id)
        elif dice < 0.75:
            where[server.id] = (random.choice(names),)
        elif dice < 0.95:
            where[server.id] = tuple(random.sample(names, 2))
        else:
            where[server.id] = ()
    return where


HOSTS = [
    a_host(f"h{n}", vcpu=4, zone=f"z{n % 2}", rack=f"r{n // 2}" if n < 4 else None, traits=frozenset({f"T{n % 2}"}))
    for n in range(6)
]
SERVERS = [a_server(f"s{n}", on=f"h{n % 6}") for n in range(5)]
S = tuple(one.id for one in SERVERS)


def with_rules(*rules: RuleSpec, hosts=HOSTS, servers=SERVERS, groups=(), aggregates=None) -> Cloud:
    return a_cloud(hosts, servers, rules=rules, groups=groups, aggregates=aggregates)


def changed(server, **fields):
    return [a_server(server, on="h0", **fields), *SERVERS[1:]]


BINDING = {
    "capacity": with_rules(servers=[a_server(f"s{n}", on=f"h{n}", vcpu=2) for n in range(5)]),
    "reserve": with_rules(Reserve(("h0", "h1", "h2"), {"vcpu": 3})),
    "host state": with_rules(hosts=[a_host("h0", state=HostState.DOWN), a_host("h1", enabled=False), *HOSTS[2:]]),
    "maintenance": with_rules(hosts=[a_host("h0", maintenance=True), a_host("h1", forced_down=True), *HOSTS[2:]]),
    "locked": with_rules(servers=changed("s0", locked=True)),
    "busy": with_rules(servers=changed("s0", task="migrating")),
    "in error": with_rules(servers=changed("s0", state=ServerState.ERROR)),
    "not to be moved": with_rules(servers=changed("s0", move=Move.NONE)),
    "zone": with_rules(servers=changed("s0", zone="z0")),
    "traits": with_rules(servers=changed("s0", requires=frozenset({"T0"}), forbids=frozenset({"T1"}))),
    "anti-affinity": with_rules(groups=[a_group("g", "anti-affinity", S[:3])]),
    "two per host": with_rules(groups=[a_group("g", "anti-affinity", S, max_per_host=2)]),
    "affinity": with_rules(
        servers=[a_server("s0", on="h0"), a_server("s1", on="h0"), a_server("s2", on="h1"), *SERVERS[3:]],
        groups=[a_group("g", "affinity", ["s0", "s1"])],
    ),
    "allow": with_rules(Allow(S[:3], ("h0", "h1", "h2", "h3"))),
    "ban": with_rules(Ban(S[:3], ("h4", "h5"))),
    "at most per rack": with_rules(AtMostPer(S, "rack", 2)),
    "at most per host": with_rules(AtMostPer(S, "host", 1)),
    "spread over racks": with_rules(SpreadOver(S, "rack", 3)),
    "spread over hosts": with_rules(SpreadOver(S[:3], "host", 3)),
    "together in a zone": with_rules(TogetherIn(S[:2], "zone")),
    "together in a rack": with_rules(TogetherIn(S[:3], "rack")),
    "among": with_rules(Among(S[:3], (("h0", "h1", "h2"), ("h2", "h3", "h4")))),
    "near in a rack": with_rules(NearTo(S[:1], S[2:], "rack")),
    "near on a host": with_rules(NearTo(S[:1], S[1:2], "host"), servers=[a_server("s0", on="h1"), *SERVERS[1:]]),
    "licences for hosts": with_rules(Licence(S, 5)),
    "a licence for one rack": with_rules(Licence(S[:2], 1, "rack")),
    "licences for racks": with_rules(Licence(S[:4], 2, "rack")),
    "residency of servers": with_rules(Residency(("z0",), servers=S[:1])),
    "residency of a project": with_rules(
        Residency(("z1",), projects=("eu",)), servers=[*SERVERS[:4], a_server("s4", on="h5", project="eu")]
    ),
    "dedicated hosts": with_rules(
        Dedicate(("h0", "h5"), ("p2",)), servers=[a_server("s0", on="h0", project="p2"), *SERVERS[1:]]
    ),
    "dedicated hosts and no others": with_rules(
        Dedicate(("h0", "h3", "h4", "h5"), ("p2",), exclusive=True),
        servers=[a_server("s0", on="h0", project="p2"), a_server("s1", on="h1")],
    ),
    "isolated": with_rules(Isolate(S[:1])),
    "isolated together": with_rules(Isolate(S[:2]), servers=SERVERS[:4]),
    "two on their way at most": with_rules(Budget(S, 1)),
    "measured load": with_rules(
        LoadBelow(("h0", "h1", "h2", "h3"), {"cpu_cores": 0.5}),
        hosts=[a_host(f"h{n}", physical={"cpu_cores": 2.0}, load={"cpu_cores": 0.3 + n / 10}) for n in range(6)],
        servers=[a_server(f"s{n}", on=f"h{n}", load={"cpu_cores": 0.3 * n}) for n in range(4)],
    ),
    "what an aggregate offers": with_rules(
        hosts=[a_host(f"h{n}", aggregates=("fast", "small")[: n % 3]) for n in range(6)],
        servers=changed(
            "s0", extra_specs={"aggregate_instance_extra_specs:mips": ">= 400", "hw:mem_page_size": "large"}
        ),
        aggregates={"fast": {"mips": "100"}, "small": {"mips": "400,500"}},
    ),
    "what an aggregate keeps for itself": with_rules(
        hosts=[a_host(f"h{n}", aggregates=("closed", "linux")[: n % 3]) for n in range(6)],
        servers=[
            a_server("s0", on="h0", project="p2", image={"os": "linux"}),
            a_server(
                "s1", on="h0", project="p3", image={"os": "windows"}, extra_specs={"colour": "red", "os": "linux"}
            ),
            a_server("s2", on="h1", project="p3"),
        ],
        aggregates={"closed": {"filter_tenant_id": "p3", "filter_tenant_id2": "p2, p4"}, "linux": {"os": "linux"}},
    ),
    "what a running guest needs": with_rules(
        hosts=[a_host(f"h{n}", cpu=frozenset(("sse4", "avx2", "avx512")[: n % 4])) for n in range(6)],
        servers=[
            a_server("s0", on="h2", cpu=frozenset({"sse4", "avx2"})),
            a_server("s1", on="h0", cpu=frozenset({"sse4"})),
            a_server("s2", on="h1", cpu=frozenset({"avx512"}), move=Move.COLD),
        ],
    ),
    "where the disks are": with_rules(
        hosts=[a_host(f"h{n}", storage=frozenset(("ceph", "nfs")[: n % 3])) for n in range(6)],
        servers=[
            a_server("s0", on="h1", storage="ceph"),
            a_server("s1", on="h0", storage="nfs"),
            a_server("s2", on="h0", storage="local"),
        ],
    ),
    "a device": with_rules(
        hosts=[a_host(f"h{n}", capacity={"pci_gpu": 4, "pcpu": 4}) for n in range(6)],
        servers=[
            a_server("s0", on="h1", demand={"pci_gpu": 1}),
            a_server("s1", on="h2", demand={"pcpu": 1}),
            a_server("s2", on="h3", demand={"pci_gpu": 1}, move=Move.COLD),
            a_server("s3", on="h4", demand={"pci_gpu": 1}, state=ServerState.STOPPED),
        ],
    ),
    "healed by others": with_rules(
        servers=[
            a_server("s0", on="h0", metadata={"restow:healed-by": "Trove"}),
            a_server("s1", on="h1", metadata={"a": "b"}),
            a_server("s2", on="h2", name="amphora-2f9a3c1e-1111-4222-8333-944455556666"),
        ],
    ),
    "NUMA cells": with_rules(
        hosts=[a_host(f"h{n}", numa=({"pcpu": 4, "memory_mib": 4096},) * (n % 3)) for n in range(6)],
        servers=[
            a_server("s0", on="h2", numa=({"pcpu": 2}, {"pcpu": 1, "memory_mib": 1024}), numa_at=(1, 0)),
            a_server("s1", on="h1", numa=({"pcpu": 3},), numa_at=(0,)),
            a_server("s2", on="h5", numa=({"pcpu": 2, "memory_mib": 3000},)),
            a_server("s3", on="h0", numa=({"pcpu": 1},)),
            a_server("s4", on="h1"),
        ],
    ),
    "load that is not measured": with_rules(
        LoadBelow(("h0", "h1", "h2", "h9"), {"cpu_cores": 0.9, "memory_mib": 0.5}),
        hosts=[a_host(f"h{n}", physical={"cpu_cores": 2.0, "memory_mib": 3000.0}) for n in range(6)],
        servers=[a_server(f"s{n}", on=f"h{n}", load={}) for n in range(4)],
    ),
}


@pytest.mark.parametrize("kind", BINDING)
def test_primitives_and_violations_agree_on_random_placements(kind):
    cloud = BINDING[kind]
    random = Random(kind)
    seen = {True: 0, False: 0}
    for _ in range(600):
        where = random_occupancy(cloud, random)
        for rule in RULES:
            allowed = all(keeps(cloud, one, where) for one in rule.primitives(cloud) if price_of(one) is None)
            found = list(rule.violations(cloud, where))
            assert allowed == (not found), (rule.name, where, found)
            assert all(one.amount > 0 and one.why for one in found)
            seen[allowed] += 1
    assert seen[False] > 5, "the rule never bound: this test would prove nothing"
    assert seen[True] > 5


@pytest.mark.parametrize(
    "rule",
    [
        Allow(S, ("h0",), soft=1.0),
        Ban(S, ("h0",), soft=1.0),
        AtMostPer(S, "zone", 0, soft=1.0),
        SpreadOver(S, "host", 6, soft=1.0),
        TogetherIn(S, "host", soft=1.0),
        Among(S, (("h5",),), soft=1.0),
        Reserve(("h0", "h1"), {"vcpu": 4}, soft=1.0),
        LoadBelow(("h0", "h1"), {"cpu_cores": 0.01}, soft=1.0),
        NearTo(S[:1], S[4:], "host", soft=1.0),
        Licence(S, 1, soft=1.0),
        Residency(("z0",), servers=S, soft=1.0),
        Dedicate(("h0", "h1"), ("p2",), soft=1.0),
        Isolate(S[:1], soft=1.0),
        Budget(S, 1, soft=1.0),
    ],
)
def test_a_soft_rule_has_a_price_and_is_never_a_violation(rule):
    cloud = with_rules(rule)
    where = {one: home(cloud, one) for one in cloud.server_by_id}
    assert any(price_of(one) == 1.0 for kind in RULES for one in kind.primitives(cloud))
    assert not [one for kind in RULES for one in kind.violations(cloud, where)]


def test_soft_groups_are_never_violated():
    cloud = with_rules(
        groups=[a_group("a", "soft-affinity", S), a_group("b", "soft-anti-affinity", S)],
    )
    where = dict.fromkeys(S, ("h0",))
    assert not list(RULES[6].violations(cloud, where))
    assert len([one for one in RULES[6].primitives(cloud) if price_of(one) is not None]) == 2


def test_a_server_on_its_way_counts_at_both_ends():
    cloud = with_rules(hosts=[a_host("h0", vcpu=2), a_host("h1", vcpu=2)], servers=[a_server("s0", on="h0", vcpu=2)])
    both = {SERVERS[0].id: ("h0", "h1")}
    assert not list(RULES[0].violations(cloud, both))
    full = with_rules(
        hosts=[a_host("h0", vcpu=2), a_host("h1", vcpu=2)],
        servers=[a_server("s0", on="h0", vcpu=2), a_server("s1", on="h1", vcpu=1)],
    )
    found = list(RULES[0].violations(full, {**both, S[1]: ("h1",)}))
    assert [(one.rule, one.subject, one.amount) for one in found] == [("capacity vcpu", "h1", 1)]


def test_a_server_in_error_may_be_rebuilt_only_when_its_host_is_dead():
    dead = a_cloud([a_host("h0", state=HostState.DOWN)], [a_server("s0", on="h0", state=ServerState.ERROR)])
    alive = a_cloud([a_host("h0")], [a_server("s0", on="h0", state=ServerState.ERROR)])
    assert [len(list(RULES[3].primitives(cloud))) for cloud in (dead, alive)] == [0, 1]

"""Consolidation: measured load counts as much as claims, few moves, and a bound that no arrangement undercuts."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from restow.cloud.model import AtMostPer, Move
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from restow_planner.goals.emptying import HOST_WORTH
from restow_planner.goals.fewest import fewest_hosts
from restow_planner.goals.loads import real_limits
from restow_planner.goals.work import Work
from restow_planner.problem import compile_problem
from restow_planner.rules import all_primitives
from restow_planner.solvers.board import Board
from restow_planner.solvers.fit import Front, ShapeFit
from restow_planner.solvers.repack import repack
from support.builders import a_cloud, a_host, a_server
from support.strategies import random_legal_cloud


def decided(cloud, **fields):
    return decide(cloud, parse_request({"goal": "consolidate", **fields}), deadline=Deadline.after(10.0))


def ends(cloud, decision):
    return {one.id: decision.targets.get(one.id, one.host) for one in cloud.servers}


def used(cloud, decision):
    return set(ends(cloud, decision).values())


def real_shares(cloud, at, name="cpu_cores"):
    load = dict.fromkeys((host.name for host in cloud.hosts), 0.0)
    for one in cloud.servers:
        if at[one.id] is not None:
            load[at[one.id]] += one.load.get(name, 0.0)
    return {host.name: load[host.name] / host.physical[name] for host in cloud.hosts if name in host.physical}


def working(id, on, cores, **other):
    return a_server(id, on=on, load={"cpu_cores": cores}, **other)


def board_of(cloud, limits=()):
    problem = compile_problem(cloud, all_primitives(cloud))
    usable = np.array([host not in problem.closed for host in range(len(problem.hosts))], dtype=bool)
    board = Board(problem=problem, open=usable, pinned=dict(problem.fixed), barred={})
    for limit in limits:
        board.add_limit(limit)
    return board


# -- measured load ----------------------------------------------------------------------------------------


def test_hosts_whose_real_cores_would_not_do_are_not_put_together():
    busy = [working(f"s{n}", f"h{n}", 5.0) for n in range(3)]  # of 8 cores; by claims all fit on one host
    idle = [working(f"s{n}", f"h{n}", 0.5) for n in range(3)]
    hosts = [a_host(f"h{n}") for n in range(3)]
    assert decided(a_cloud(hosts, busy)).outcome is Outcome.NOTHING_TO_DO
    assert len(used(a_cloud(hosts, idle), decided(a_cloud(hosts, idle)))) == 1


def test_the_utilisation_allowed_is_that_of_real_cores_too():
    cloud = a_cloud([a_host("h0"), a_host("h1")], [working("a", "h0", 4.0), working("b", "h1", 3.0)])
    assert decided(cloud, max_utilisation=0.9).outcome is Outcome.PLAN
    assert decided(cloud, max_utilisation=0.8).outcome is Outcome.NOTHING_TO_DO


def test_every_resource_that_is_measured_counts_where_its_amount_is_known():
    physical = {"cpu_cores": 8.0, "network_mbps": 100.0}
    servers = [a_server(f"s{n}", on=f"h{n}", load={"network_mbps": 60.0}) for n in range(2)]
    known = a_cloud([a_host(f"h{n}", physical=physical) for n in range(2)], servers)
    unknown = a_cloud([a_host(f"h{n}", physical={"cpu_cores": 8.0}) for n in range(2)], servers)
    assert decided(known).outcome is Outcome.NOTHING_TO_DO
    assert decided(unknown).outcome is Outcome.PLAN
    mixed = a_cloud([a_host("h0", physical=physical), a_host("h1", physical={})], servers)
    assert used(mixed, decided(mixed)) == {"h1"}


def test_what_a_host_uses_beside_its_servers_is_not_given_away():
    hosts = [a_host("h0", load={"cpu_cores": 1.0}), a_host("h1", load={"cpu_cores": 6.0})]
    cloud = a_cloud(hosts, [working("a", "h0", 1.0), working("b", "h1", 2.0)])
    assert used(cloud, decided(cloud, max_utilisation=0.85)) == {"h0"}  # h1 has 4 of its own, and 7 are too many


def test_no_host_is_overloaded_by_consolidation_on_random_clouds():
    bound, hot = 0, 0
    for seed in range(80):
        cloud = random_legal_cloud(seed)
        cloud = replace(
            cloud,
            servers=tuple(
                replace(one, load={"cpu_cores": one.load["cpu_cores"] * (1 + seed % 3)}) for one in cloud.servers
            ),
        )
        decision = decided(cloud, max_utilisation=1.0)
        start = real_shares(cloud, {one.id: one.host for one in cloud.servers})
        end = real_shares(cloud, ends(cloud, decision))
        assert all(end[name] <= max(1.0, start[name]) + 1e-6 for name in end), seed
        blind = replace(cloud, servers=tuple(replace(one, load={}) for one in cloud.servers))
        bound += len(used(blind, decided(blind, max_utilisation=1.0))) < len(used(cloud, decision))
        hot += any(share > 1.0 for share in start.values())
    assert bound > 10  # the load was what kept hosts in use
    assert hot > 10


def test_repacking_keeps_within_real_cores_and_leaves_the_overloaded_no_worse():
    servers = [working("a", "h0", 0.4), working("b", "h0", 0.4), working("c", "h1", 7.5), working("d", "h2", 9.0)]
    cloud = a_cloud([a_host(f"h{n}") for n in range(3)], servers)
    limits, _ = real_limits(compile_problem(cloud, all_primitives(cloud)), 1.0)
    board = board_of(cloud, limits)
    board.close([0])
    answer = repack(board, [1, 2], [0, 1], [2, 3], work_s=5.0, deadline=Deadline.after(10.0), seed=1)
    assert answer is not None
    load = np.zeros(3)
    for server, host in answer.at.items():
        load[host] += limits[0].part[server]
    assert load[1] <= 8.0
    assert load[2] <= 9.0
    assert len(answer.unplaced) == 1


# -- few moves, few hosts ---------------------------------------------------------------------------------


def test_of_hosts_as_large_the_one_with_the_cheapest_servers_is_emptied():
    cheap = [a_server(f"c{n}", on="h0", vcpu=2, memory_mib=1_024) for n in range(4)]
    dear = [a_server(f"d{n}", on="h1", vcpu=2, memory_mib=7_000) for n in range(4)]
    hosts = [a_host("h0"), a_host("h1")]
    for servers in ([*cheap, *dear], [*dear, *cheap]):
        decision = decided(a_cloud(hosts, servers), max_utilisation=1.0)
        assert set(decision.targets) == {one.id for one in cheap}
    few = [a_server("f", on="h1", vcpu=8, memory_mib=4_096)]
    assert set(decided(a_cloud(hosts, [*cheap, *few]), max_utilisation=1.0).targets) == {"f"}


def test_small_hosts_are_emptied_before_large_ones():
    hosts = [a_host("small", vcpu=8, memory_mib=16_384), a_host("large", vcpu=32, memory_mib=65_536)]
    servers = [a_server(f"s{n}", on="small") for n in range(3)] + [a_server("t", on="large")]
    cloud = a_cloud(hosts, servers)
    assert used(cloud, decided(cloud)) == {"large"}


def test_a_server_goes_where_the_rest_has_its_proportions():
    hosts = [a_host(name, vcpu=16, memory_mib=16_384) for name in ("h0", "much-vcpu", "much-memory")]
    servers = [
        a_server("thin", on="h0", vcpu=4, memory_mib=1_024),
        a_server("fat", on="h0", vcpu=1, memory_mib=4_096),
        a_server("m", on="much-vcpu", vcpu=4, memory_mib=12_288),
        a_server("v", on="much-memory", vcpu=12, memory_mib=4_096),
    ]
    board = board_of(a_cloud(hosts, servers))
    fit, elsewhere = ShapeFit(board), np.array([False, True, True])
    assert fit.best(0, elsewhere) == 1
    assert fit.best(1, elsewhere) == 2


def test_a_server_goes_where_the_real_cores_left_over_suit_it():
    hosts = [a_host(f"h{n}") for n in range(3)]
    servers = [
        working("busy", "h0", 3.0, vcpu=2, memory_mib=2_048),
        working("idle", "h0", 0.0, vcpu=2, memory_mib=2_048),
        working("x", "h1", 5.0, vcpu=4, memory_mib=8_192),
        working("y", "h2", 1.0, vcpu=12, memory_mib=24_576),
    ]
    cloud = a_cloud(hosts, servers)
    limits, _ = real_limits(compile_problem(cloud, all_primitives(cloud)), 1.0)
    fit, elsewhere = ShapeFit(board_of(cloud, limits)), np.array([False, True, True])
    assert fit.best(0, elsewhere) == 2
    assert fit.best(1, elsewhere) == 1


# -- the bound --------------------------------------------------------------------------------------------


def fewest_by_trying(cloud, share):
    """The fewest hosts in use over all placements that obey capacity, host state, and load; rules are left out."""
    hosts = list(cloud.hosts)
    best = len(hosts)
    for choice in product(range(len(hosts)), repeat=len(cloud.servers)):
        at = {one.id: hosts[index] for one, index in zip(cloud.servers, choice, strict=True)}
        if any(one.move is Move.NONE and at[one.id].name != one.host for one in cloud.servers):
            continue
        count = len(set(choice))
        if count < best and all(_within(cloud, host, at, share) for host in hosts):
            best = count
    return best


def _within(cloud, host, at, share):
    here = [one for one in cloud.servers if at[one.id] is host]
    started = [one for one in cloud.servers if one.host == host.name]
    for name, amount in host.capacity.items():
        claimed = sum(one.demand.get(name, 0) for one in here)
        if claimed > max(amount * share, sum(one.demand.get(name, 0) for one in started)):
            return False
    load = sum(one.load.get("cpu_cores", 0.0) for one in here)
    return (
        load <= max(host.physical["cpu_cores"] * share, sum(one.load.get("cpu_cores", 0.0) for one in started)) + 1e-9
    )


@pytest.mark.parametrize("share", [0.6, 0.9, 1.0])
def test_no_placement_uses_fewer_hosts_than_the_bound(share):
    tight = 0
    for seed in range(40):
        cloud = random_legal_cloud(seed, hosts=(3, 4), servers=(3, 5), rules=False)
        cloud = replace(
            cloud,
            hosts=tuple(replace(host, enabled=True, maintenance=False) for host in cloud.hosts if host.takes_servers),
        )
        names = {host.name for host in cloud.hosts}
        servers = tuple(
            replace(one, zone=None, locked=False, load={"cpu_cores": one.load["cpu_cores"] * 4})
            for one in cloud.servers
            if one.host in names
        )
        cloud = replace(cloud, servers=servers)
        board = board_of(cloud)
        work = Work(board.problem, board, Deadline.after(10.0), 1)
        capacity = np.floor(board.problem.capacity * share + 1e-9).astype(np.int64)
        limits, _ = real_limits(board.problem, share)
        bound, best = fewest_hosts(work, capacity, limits), fewest_by_trying(cloud, share)
        assert bound <= best, seed
        tight += bound == best
    assert tight > 15


# -- what an answer says ----------------------------------------------------------------------------------


def hosts_of(count, **fields):
    return [a_host(f"h{n}", **fields) for n in range(count)]


def pairs(count, *, memory_mib=8_192):
    """Two servers on each host, all of which would fit on one."""
    return [a_server(f"s{n}", on=f"h{n // 2}", memory_mib=memory_mib) for n in range(2 * count)]


def test_what_time_did_not_allow_is_not_called_nothing_to_do():
    cloud = a_cloud(hosts_of(3), pairs(3, memory_mib=1_024))
    decision = decide(cloud, parse_request({"goal": "consolidate"}), deadline=Deadline.after(0.0))
    assert decision.outcome is Outcome.UNDECIDED
    assert "time was over" in decision.why_outcome
    assert "3 hosts are in use, and no fewer than 1 will do" in decision.why_outcome


@pytest.mark.parametrize(
    ("limits", "rule", "enough"),
    [
        ({"moves": 1}, "limits.moves", "2"),
        ({"moves": 0}, "limits.moves", "2"),
        ({"moved_gib": 15}, "limits.moved_gib", "16.00"),
    ],
)
def test_a_limit_too_small_for_any_host_is_named_with_what_would_be_enough(limits, rule, enough):
    cloud = a_cloud(hosts_of(3, memory_mib=65_536), pairs(3))
    decision = decided(cloud, limits=limits)
    assert decision.outcome is Outcome.IMPOSSIBLE
    (blocker,) = decision.blockers
    assert (blocker.rule, blocker.relaxation) == (rule, f"raise {rule} to {enough}")
    raised = decided(cloud, limits={rule.removeprefix("limits."): float(enough) if "." in enough else int(enough)})
    assert raised.after["hosts_used"] == 2


def test_a_limit_that_leaves_more_to_be_freed_is_named_beside_what_is_freed():
    cloud = a_cloud(hosts_of(3, memory_mib=65_536), pairs(3))
    decision = decided(cloud, limits={"moves": 3})
    assert (decision.outcome, decision.after["hosts_used"]) == (Outcome.PLAN, 2)
    assert [one.relaxation for one in decision.blockers] == ["raise limits.moves to 4"]


def sixes(count):
    """Of each host 6 of 10 are taken, in one piece: by counting fewer hosts would do."""
    return a_cloud(hosts_of(count, vcpu=10), [a_server(f"s{n}", on=f"h{n}", vcpu=6) for n in range(count)])


def test_that_no_host_can_be_emptied_is_proven_in_a_small_cloud_and_left_open_in_a_large_one():
    small, large = decided(sixes(4), max_utilisation=1.0), decided(sixes(46), max_utilisation=1.0)
    assert (small.outcome, small.objective, small.bound) == (Outcome.NOTHING_TO_DO, 4.0, 4.0)
    assert "proven" in small.why_outcome
    assert large.outcome is Outcome.UNDECIDED
    assert "46 hosts are in use, and no fewer than 28 will do" in large.why_outcome


def test_an_empty_host_that_could_take_two_in_is_no_proof_that_none_can_be_freed():
    cloud = sixes(3)
    idle = replace(cloud, hosts=(*cloud.hosts, a_host("wide", vcpu=12)))
    assert decided(idle, max_utilisation=1.0).outcome is Outcome.UNDECIDED


# -- what stays on ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_a_cloud_without_hosts_or_servers_is_no_trouble():
    assert decided(a_cloud([])).outcome is Outcome.NOTHING_TO_DO
    assert decided(a_cloud(hosts_of(2))).outcome is Outcome.NOTHING_TO_DO


def test_one_host_stays_on_where_nobody_is_left_to_run():
    decision = decided(a_cloud([*hosts_of(2), a_host("large", vcpu=64)]), power_off=True)
    assert [host for _, host in decision.host_steps_last] == ["h0", "h1"]
    assert "large stays on" in decision.why_outcome


def test_hosts_that_were_empty_before_are_left_as_they_are_unless_they_are_powered_off():
    cloud = a_cloud(hosts_of(3), [a_server("a", on="h0"), a_server("b", on="h1")])
    for power_off, out in ((False, 1), (True, 2)):
        decision = decided(cloud, power_off=power_off)
        assert len(decision.host_steps_first) == out
        assert ("h2" in {host for _, host in decision.host_steps_first}) == power_off


# -- soft rules -------------------------------------------------------------------------------------------


def test_a_host_is_freed_only_where_soft_rules_charge_no_more_than_it_is_worth():
    servers = [a_server(f"s{n}", on=f"h{n}") for n in range(2)]
    for price, freed in ((HOST_WORTH, True), (HOST_WORTH + 1, False)):
        apart = AtMostPer((servers[0].id, servers[1].id), "host", 1, price)
        decision = decided(a_cloud(hosts_of(2), servers, rules=[apart]))
        assert (decision.outcome is Outcome.PLAN) == freed
        if freed:
            assert (decision.before["soft_price"], decision.after["soft_price"]) == (0.0, price)
            assert decision.of_rules == "soft rules broken: at-most 0 (price 100)"
        else:
            assert decision.outcome is Outcome.UNDECIDED
            assert decision.blockers[0].rule == "at-most 0"


# -- packing the fast way ---------------------------------------------------------------------------------


def test_the_front_finds_for_each_server_what_a_look_at_all_hosts_finds():
    asked = found = 0
    for seed in range(60):
        cloud = random_legal_cloud(seed, hosts=(4, 10))
        limits, _ = real_limits(compile_problem(cloud, all_primitives(cloud)), 0.9)
        board = board_of(cloud, limits)
        board.barred[0] = {1}
        fit, among = ShapeFit(board), board.open.copy()
        for host in range(len(board.on)):
            servers = sorted(board.on[host])
            among[host] = False
            front = Front(fit, servers, among) if servers else None
            for server in servers if front else ():
                mask = board.fits(server) & among
                best = front.best(server)
                assert (best is None) == (not mask.any()), (seed, host, server)
                asked += 1
                if best is not None:
                    assert best == fit.best(server, mask), (seed, host, server)
                    board.put(server, best)
                    front.take(server, best)
                    found += 1
            among[host] = board.open[host]
    assert found > 100
    assert asked - found > 100

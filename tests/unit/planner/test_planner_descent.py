"""The search for a cheaper placement against every placement there is, on clouds small enough to try them all."""

import itertools
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from bench.families import roadef2012
from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    Capacity,
    Cells,
    Closed,
    Fixed,
    HostCost,
    Isolated,
    MoveCost,
    Near,
    Spread,
    Together,
)
from restow_planner.problem import compile_problem
from restow_planner.solvers.descent import improved
from restow_planner.solvers.descent.annealing import Annealer
from restow_planner.solvers.descent.bound import least_cost
from restow_planner.solvers.descent.ground import compile_ground, standing
from restow_planner.solvers.descent.neighbourhood import Refill, Scale
from support.builders import a_cloud, a_host, a_server

PLENTY_S = 600.0
EXAMPLE = """
2  1 100  0 10
4
0 0 30 400 16 80 0 1 4 5
0 0 10 240 8 160 1 0 3 4
1 1 15 100 12 80 4 3 0 2
1 2 10 100 8 80 5 4 2 0
2  2 0  1 1 0
3  0 12 10 1000  0 10 20 100  1 6 200 1
1  0 1 20
10
1 10 100
"""
RESOURCES = ("vcpu", "memory_mib")
UNITS = ("host", "rack", "zone")


def found(cloud, primitives, prices, *, seed=1, steps=4, left=lambda: PLENTY_S, moves_max=None):
    problem = compile_problem(cloud, primitives)
    return improved(problem, primitives, prices, seed=seed, left=left, steps=steps, moves_max=moves_max)


# -- the slow and obvious judge ------------------------------------------------------------------------------


def unit(host, per):
    return {"host": host.name, "rack": host.rack, "zone": host.zone}[per]


def amounts(primitive, cloud, at):
    """How much the placement breaks it, by subject."""
    hosts = {host.name: host for host in cloud.hosts}
    of = {server.id: hosts[name] for server, name in zip(cloud.servers, at, strict=True)}
    match primitive:
        case Capacity(resource=resource, capacity=capacity, held=held):
            used = Counter()
            for server in cloud.servers:
                ends = {of[server.id].name, server.host} if held else {of[server.id].name}
                used.update(dict.fromkeys(ends, server.demand.get(resource, 0)))
            return {name: max(0, used[name] - capacity.get(name, 0)) for name in hosts}
        case Allowed(servers=servers, hosts=names):
            return {one: float(of[one].name not in names) for one in servers}
        case Closed(why=why):
            return {s.id: float(of[s.id].name in why and of[s.id].name != s.host) for s in cloud.servers}
        case Fixed(why=why):
            return {s.id: float(s.id in why and of[s.id].name != s.host) for s in cloud.servers}
        case AtMost(servers=servers, per=per, count=count):
            counts = Counter(unit(of[one], per) for one in servers)
            return {name: max(0, number - count) for name, number in counts.items()}
        case Spread(servers=servers, over=over, at_least=least):
            return {"": max(0, least - len({unit(of[one], over) for one in servers}))}
        case Together(servers=servers, host_sets=sets):
            most = max(sum(of[one].name in names for one in servers) for names in sets)
            return {"": len(servers) - most}
        case Near(servers=servers, to=to, per=per):
            company = {unit(of[one], per) for one in to}
            if primitive.soft is not None:
                return {one: float(unit(of[one], per) not in company) for one in servers}
            return {name: float(name not in company) for name in {unit(of[one], per) for one in servers}}


def keeps(cloud, primitives, at):
    start = [server.host for server in cloud.servers]
    for primitive in primitives:
        if getattr(primitive, "soft", None) is None:
            before = amounts(primitive, cloud, start)
            for subject, amount in amounts(primitive, cloud, at).items():
                if amount > before.get(subject, 0):
                    return False
    return True


def price(cloud, primitives, prices, at):
    total = 0.0
    for primitive in primitives:
        if getattr(primitive, "soft", None) is not None:
            total += primitive.soft * sum(amounts(primitive, cloud, at).values())
    number = {host.name: index for index, host in enumerate(cloud.hosts)}
    moved = [s.id for s, name in zip(cloud.servers, at, strict=True) if s.host != name]
    for one in prices:
        match one:
            case HostCost():
                for host in cloud.hosts:
                    load = sum(
                        one.amount.get(s.id, 0) for s, name in zip(cloud.servers, at, strict=True) if name == host.name
                    )
                    total += one.price.get(host.name, 0) * max(0, load - one.over.get(host.name, 0))
            case MoveCost():
                total += sum(one.price.get(server, 0) for server in moved)
                if one.between is not None:
                    total += sum(
                        one.between[number[s.host], number[name]] for s, name in zip(cloud.servers, at, strict=True)
                    )
                total += one.set_price * max((sum(s in moved for s in servers) for servers in one.sets), default=0)
    return total


def names(cloud, at):
    return [cloud.hosts[index].name for index in at.tolist()]


# -- random clouds in which everything is said ----------------------------------------------------------------


def random_case(seed, *, servers=6, hosts=3, overfull=False):
    """A placement first, the rules read off it: hard ones hold there, except room where it is to be overfull."""
    random = Random(seed)
    machines = [a_host(f"h{n}", rack=f"r{n % 2}", zone=f"z{n // 2}") for n in range(hosts)]
    here = [random.choice(machines) for _ in range(servers)]
    running = [
        a_server(f"s{n}", on=host.name, demand={name: random.randint(0, 4) for name in RESOURCES})
        for n, host in enumerate(here)
    ]
    cloud = a_cloud(machines, running, resources=RESOURCES)
    ids = [server.id for server in running]
    rules = []
    for resource in RESOURCES:
        used = Counter()
        for server in running:
            used[server.host] += server.demand[resource]
        room = {host.name: max(0, used[host.name] + random.randint(-2 if overfull else 1, 4)) for host in machines}
        rules.append(Capacity(resource, resource, room, held=resource == "memory_mib" and random.random() < 0.5))
    rules.append(Capacity("soft", "vcpu", {host.name: 4 for host in machines}, soft=random.randint(1, 9)))

    def some(least=2):
        return tuple(random.sample(ids, random.randint(least, min(4, servers))))

    def soft():
        return random.choice((None, None, random.randint(1, 20)))

    candidates = [
        lambda: AtMost("at-most", some(), random.choice(UNITS), random.randint(1, 2), soft=soft()),
        lambda: Spread("spread", some(), random.choice(UNITS), 2, soft=soft()),
        lambda: Near("near", some(1), some(1), random.choice(UNITS), soft=soft()),
        lambda: Near("near", some(1), some(1), random.choice(UNITS)),
        lambda: Together("together", some(), tuple(frozenset([h.name]) for h in machines), soft=random.randint(1, 20)),
        lambda: Allowed("allowed", some(1), frozenset(h.name for h in random.sample(machines, 2)), soft=soft()),
    ]
    for make in candidates * 2:
        one = make()
        if one.soft is not None or not any(amounts(one, cloud, [s.host for s in running]).values()):
            rules.append(one)
    if random.random() < 0.2:
        rules.append(Closed("closed", {machines[0].name: "closed"}))
    if random.random() < 0.3:
        rules.append(Fixed("fixed", {ids[0]: "fixed"}))
    prices = [
        HostCost(
            "load",
            {one: float(random.randint(-2 if n else 0, 9)) for one in ids},
            {h.name: float(random.randint(0, 9)) for h in machines},
            {h.name: float(random.randint(1, 5)) for h in machines},
        )
        for n in range(2)
    ]
    between = np.array([[float(random.randint(1, 3)) if a != b else 0.0 for a in machines] for b in machines])
    sets = (tuple(ids[:3]), tuple(ids[3:]))
    prices.append(MoveCost("moves", {one: float(random.randint(0, 3)) for one in ids}, between, sets, 2.0))
    return cloud, tuple(rules), tuple(prices)


def cheapest(cloud, primitives, prices):
    everywhere = itertools.product([host.name for host in cloud.hosts], repeat=len(cloud.servers))
    return min(price(cloud, primitives, prices, at) for at in everywhere if keeps(cloud, primitives, at))


@pytest.mark.parametrize("seed", range(25))
def test_on_tiny_clouds_the_cheapest_placement_of_all_is_found_and_no_rule_is_broken(seed):
    cloud, primitives, prices = random_case(seed, overfull=seed % 3 == 0)
    start = [server.host for server in cloud.servers]
    answer = found(cloud, primitives, prices)
    at = names(cloud, answer.at)
    assert keeps(cloud, primitives, at)
    assert answer.cost == pytest.approx(price(cloud, primitives, prices, at))
    assert answer.cost_before == pytest.approx(price(cloud, primitives, prices, start))
    best = cheapest(cloud, primitives, prices)
    assert answer.cost == pytest.approx(best)
    assert answer.bound <= best + 1e-6


def a_neighbourhood(seed):
    """A case that CP-SAT prices wholly, a placement from which some servers of some hosts may go on, and these."""
    cloud, primitives, prices = random_case(seed, overfull=seed % 3 == 0)
    random, hosts = Random(seed), [host.name for host in cloud.hosts]
    ids = [server.id for server in cloud.servers]
    broken = Near("as it is", tuple(random.sample(ids, 2)), tuple(random.sample(ids, 2)), random.choice(UNITS))
    rules = (*(one for one in primitives if not isinstance(one, Together)), broken)
    *loads, moves = prices
    prices = (*loads, replace(moves, set_price=0.0))
    everywhere = [at for at in itertools.product(hosts, repeat=len(cloud.servers)) if keeps(cloud, rules, at)]
    base = random.choice(everywhere)
    ground = compile_ground(compile_problem(cloud, rules), rules, prices)
    some = sorted(random.sample(range(len(hosts)), random.choice((2, 2, 3))))
    freed = [
        n for n, name in enumerate(base)
        if ground.free[n] and hosts.index(name) in some and random.random() < 0.8
    ]  # fmt: skip
    there = {
        at for at in everywhere
        if all(at[n] == base[n] or (n in freed and hosts.index(at[n]) in some) for n in range(len(at)))
    }  # fmt: skip
    return cloud, rules, prices, ground, base, np.array(some), np.array(freed, dtype=np.int64), there


@pytest.mark.parametrize("seed", range(120))
def test_a_neighbourhood_solved_by_cp_sat_has_the_cheapest_placement_of_all_in_it(seed):
    cloud, rules, prices, ground, base, hosts, freed, there = a_neighbourhood(seed)
    if not len(freed):
        assert there == {base}
        return
    at = np.array([[host.name for host in cloud.hosts].index(name) for name in base], dtype=np.int64)
    model = Refill(ground, standing(ground, at), Scale(ground), freed, hosts)
    assert model.exact
    answer = model.solved(work=20.0, cut_s=PLENTY_S, seed=1)
    assert answer.proven
    assert tuple(names(cloud, answer.at)) in there
    best = min(price(cloud, rules, prices, one) for one in there)
    assert price(cloud, rules, prices, names(cloud, answer.at)) == pytest.approx(best)


def test_the_neighbourhoods_bind_by_nearness_and_by_what_is_held():
    """Without each of these the cheapest placement in some neighbourhood would be another."""
    kinds = {
        "near": lambda one: isinstance(one, Near) and one.soft is None,
        "soft near": lambda one: isinstance(one, Near) and one.soft is not None,
        "held": lambda one: isinstance(one, Capacity) and one.held,
        "spread": lambda one: isinstance(one, Spread), "at most": lambda one: isinstance(one, AtMost),
    }  # fmt: skip
    bound = set()
    for seed in range(120):
        cloud, rules, prices, _, base, hosts, freed, there = a_neighbourhood(seed)
        best = min(price(cloud, rules, prices, one) for one in there)
        places = [[cloud.hosts[h].name for h in hosts] if n in freed else [base[n]] for n in range(len(base))]
        for kind, is_it in kinds.items():
            fewer = tuple(one for one in rules if not is_it(one))
            if len(fewer) == len(rules):
                continue
            free = [at for at in itertools.product(*places) if keeps(cloud, fewer, at)]
            cheap = min(free, key=lambda at: price(cloud, fewer, prices, at))
            if cheap not in there or price(cloud, rules, prices, cheap) > best + 1e-9:
                bound.add(kind)
    assert bound == set(kinds)


def test_the_rules_of_the_random_clouds_bind():
    """What would be cheaper is forbidden, by each kind of rule in some cloud."""
    bound = Counter()
    for seed in range(25):
        cloud, primitives, prices = random_case(seed)
        everywhere = list(itertools.product([host.name for host in cloud.hosts], repeat=len(cloud.servers)))
        cheap = min(everywhere, key=lambda at: price(cloud, primitives, prices, at))
        bound.update({type(one) for one in primitives if not keeps(cloud, (one,), cheap)})
    assert {Capacity, Allowed, AtMost, Spread, Near, Fixed, Closed} <= set(bound)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_counted_on_the_way_is_what_counting_anew_finds(seed):
    cloud, primitives, prices = random_case(seed, servers=24, hosts=6)
    ground = compile_ground(compile_problem(cloud, primitives), primitives, prices)
    annealer = Annealer(ground, ground.start, seed=seed)
    for part in range(4):
        annealer.run(part / 5, (part + 1) / 5)  # while rules may break
        anew = standing(ground, annealer.here.at)
        for mine, fresh in zip(annealer.here, anew, strict=True):
            np.testing.assert_allclose(mine, fresh, atol=1e-6)
        best = standing(ground, annealer.best.at)
        assert best.cost[0] == pytest.approx(annealer.best.cost[0])
        assert best.whole[2] == 0
        assert not best.over.any()
        assert keeps(cloud, primitives, names(cloud, annealer.best.at))


# -- what is asked of it as a whole ---------------------------------------------------------------------------


def a_hot_cloud(hosts=8, servers=60):
    """Loads are measured, and most of them are on the first hosts."""
    random = Random(5)
    machines = [a_host(f"h{n}", capacity={"vcpu": 60}) for n in range(hosts)]
    running = [
        a_server(f"s{n}", on=f"h{min(random.randrange(hosts), random.randrange(hosts))}", demand={"vcpu": 2},
                 load={"cpu_cores": random.uniform(0.1, 2.0)})
        for n in range(servers)
    ]  # fmt: skip
    cloud = a_cloud(machines, running, resources=("vcpu",))
    rules = (Capacity("capacity", "vcpu", {host.name: 60 for host in machines}),)
    load = {server.id: server.load["cpu_cores"] for server in running}
    mean = sum(load.values()) / hosts
    steps = [
        HostCost(f"above {share}", load, {h.name: share * mean for h in machines}, {h.name: 10.0 for h in machines})
        for share in (1.0, 1.1, 1.25, 1.5)
    ]
    return cloud, rules, (*steps, MoveCost("moves", dict.fromkeys(load, 0.5))), load


@pytest.mark.parametrize(("over", "bound"), [(3.0, 12.0), (50.0, 0.0)])
def test_the_bound_is_the_price_of_load_that_no_host_has_room_for(over, bound):
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server(f"s{n}", on="h1") for n in range(3)])
    load = {server.id: 4.0 for server in cloud.servers}
    cost = HostCost("load", load, {"h1": over, "h2": over}, {"h1": 2.0, "h2": 5.0})
    ground = compile_ground(compile_problem(cloud, ()), (), (cost,))
    assert least_cost(ground) == bound


def test_measured_loads_are_evened_out_by_few_moves():
    cloud, rules, prices, load = a_hot_cloud()
    answer = found(cloud, rules, prices, steps=8)
    after = Counter()
    for server, name in zip(cloud.servers, names(cloud, answer.at), strict=True):
        after[name] += load[server.id]
    moved = sum(s.host != name for s, name in zip(cloud.servers, names(cloud, answer.at), strict=True))
    assert max(after.values()) < 1.1 * sum(load.values()) / 8
    assert moved <= 16
    assert answer.bound <= answer.cost < answer.cost_before


def test_no_more_servers_move_than_may():
    cloud, rules, prices, _ = a_hot_cloud()
    answer = found(cloud, rules, prices, moves_max=3)
    assert sum(s.host != name for s, name in zip(cloud.servers, names(cloud, answer.at), strict=True)) == 3


def test_the_same_seed_and_number_of_steps_give_the_same_answer():
    cloud, rules, prices, _ = a_hot_cloud(12, 150)
    first, second, other = (found(cloud, rules, prices, seed=seed, steps=6) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.at, second.at)
    assert (first.at != other.at).any()


def test_the_clock_cuts():
    cloud, rules, prices, _ = a_hot_cloud(12, 150)
    ends = time.monotonic() + 1.0
    answer = found(cloud, rules, prices, steps=None, left=lambda: ends - time.monotonic())
    assert time.monotonic() < ends + 1.0
    assert answer.cost < answer.cost_before


def test_servers_that_run_nowhere_are_left_alone():
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on=None), a_server("s2", on="h1")])
    cost = HostCost("load", {s.id: 1.0 for s in cloud.servers}, {}, {"h1": 2.0, "h2": 1.0})
    assert found(cloud, (), (cost,)).at.tolist() == [-1, 1]


def test_nothing_that_may_move_is_an_answer_at_once():
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")])
    cost = HostCost("load", {"s1": 1.0}, {}, {"h1": 1.0})
    answer = found(cloud, (Fixed("fixed", {"s1": "locked"}),), (cost,), steps=None)
    assert answer.at.tolist() == [0]
    assert answer.cost == 1.0


@pytest.mark.parametrize(
    "rule", [AtMostUnits("licence", ("s1",), "host", 1), Isolated("isolate", ("s1",)), Cells("numa", {}, {}, {})]
)
def test_a_hard_rule_that_it_does_not_know_is_refused(rule):
    cloud = a_cloud([a_host("h1"), a_host("h2")], [a_server("s1", on="h1")])
    with pytest.raises(ValueError, match=rule.rule):
        found(cloud, (rule,), ())


def test_planning_without_it_does_not_load_the_compiler():
    code = "import sys, restow_planner.solvers.descent, restow_planner.goals; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_nothing_can_be_kept_the_loops_are_compiled_anew():
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": ""}
    code = "from restow_planner.solvers.descent.kernel import _unit; import numpy as np; _unit(np.ones(1, np.uint64))"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | nowhere)


# -- the machine reassignment of the challenge ------------------------------------------------------------------


@pytest.fixture
def example(tmp_path):
    """The example of the challenge's statement: four machines, three processes, cost 4200 at the start."""
    folder = tmp_path / "E"
    folder.mkdir()
    (folder / "model_example.txt").write_text(EXAMPLE)
    (folder / "assignment_example.txt").write_text("0 3 0\n")
    (tmp_path / "published.csv").write_text("instance,best_challenge_time,best_other\nexample,3000,2411\n")
    return tmp_path


def test_the_example_of_the_challenge_is_read_priced_and_solved(example):
    (task,) = roadef2012.instances(example)
    assert (task.name, task.published, task.suffix) == ("E/example", "2411", ".txt")
    model = roadef2012.read(example / "E" / "model_example.txt", example / "E" / "assignment_example.txt")
    cloud, primitives, prices = roadef2012.as_cloud(model)
    for at, cost in (((0, 3, 0), 4200), ((0, 2, 0), 3510), ((0, 2, 1), 2411)):
        where = [cloud.hosts[index].name for index in at]
        assert keeps(cloud, primitives, where)
        assert price(cloud, primitives, prices, where) == cost
    answer = found(cloud, primitives, prices)
    assert answer.cost_before == 4200
    assert answer.cost == cheapest(cloud, primitives, prices) <= 2411
    assert task.judge(" ".join(map(str, answer.at.tolist())).encode()) == "ok"


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        ("0 3", "not one machine a process"),
        ("0 3 4", "not one machine a process"),
        ("0 0 0", "two processes of a service on a machine"),
        ("0 1 0", "service 0 is in 1 locations, not 2"),
        ("2 3 0", "service 1 is without one that it depends on"),
        ("0 3 3", "machine 3 is overfull"),
    ],
)
def test_the_judge_names_what_is_wrong_with_a_placement(example, at, wrong):
    (task,) = roadef2012.instances(example)
    assert task.judge(at.encode()) == wrong

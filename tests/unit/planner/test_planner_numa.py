"""NUMA cells: a plan goes through whatever cells Nova gives to those who arrive, in any interleaving."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from random import Random

import pytest

from restow.cloud.model import Cloud, Server
from restow.messages.plan import Action, Outcome, Plan, Step
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.builders import a_cloud, a_host, a_server
from support.strategies import random_legal_cloud

CELL = {"pcpu": 8, "memory_mib": 8192}
HALF = {"pcpu": 4, "memory_mib": 2048}


def planned(cloud: Cloud, **request: object) -> Plan:
    plan = plan_for(cloud, parse_request(request), plan_id="p", seconds=4)
    assert check(cloud, plan) == ()
    return plan


def targets(plan: Plan) -> dict[str, str]:
    return {step.server: step.target for step in plan.steps if step.server}


def _fits(part: Mapping[str, int], free: dict[str, int]) -> bool:
    return all(free.get(name, 0) >= amount for name, amount in part.items())


class Nova:
    """Gives each arriving server cells that are free now, any that fit: the planner cannot know which."""

    def __init__(self, cloud: Cloud, random: Random) -> None:
        self.cloud, self.random = cloud, random
        self.free = {host.name: [dict(cell) for cell in host.numa] for host in cloud.hosts}
        self.cells: dict[tuple[str, str], tuple[int, ...]] = {}
        for server in cloud.servers:
            if server.numa and server.numa_at and server.host is not None:
                self._take(server, server.host, server.numa_at, 1)

    def _take(self, server: Server, host: str, cells: tuple[int, ...], sign: int) -> None:
        for part, place in zip(server.numa, cells, strict=True):
            for name, amount in part.items():
                self.free[host][place][name] -= sign * amount
        self.cells[server.id, host] = cells

    def arrives(self, server: Server, host: str) -> bool:
        free = self.free[host]
        fitting = [
            cells
            for cells in permutations(range(len(free)), len(server.numa))
            if all(
                free[at].get(k, 0) >= n for at, part in zip(cells, server.numa, strict=True) for k, n in part.items()
            )
        ]
        if fitting:
            self._take(server, host, self.random.choice(fitting), 1)
        return bool(fitting)

    def leaves(self, server: Server, host: str) -> None:
        self._take(server, host, self.cells.pop((server.id, host)), -1)


def refused(cloud: Cloud, plan: Plan, seed: int) -> list[str]:
    """Arrivals for which no cells were free, in one interleaving with one way in which Nova chooses."""
    random = Random(seed)
    nova, found = Nova(cloud, random), list[str]()
    waiting, running, ended = {step.id: step for step in plan.steps}, dict[str, Step](), set[str]()
    while waiting or running:
        ready = [one for one in waiting.values() if all(edge.step in ended for edge in one.waits_for)]
        choices = [(step, True) for step in ready] + [(step, False) for step in running.values()]
        step, starts = random.choice(choices)
        server = cloud.server_by_id[step.server] if step.server else None  # type: ignore[index]
        if starts:
            running[step.id] = waiting.pop(step.id)
            if server and server.numa and step.target and not nova.arrives(server, step.target):
                found.append(f"{server.id} to {step.target}")
                return found
        else:
            del running[step.id]
            ended.add(step.id)
            if server and server.numa and step.source and step.action is not Action.EVACUATE:
                nova.leaves(server, step.source)
    return found


def test_no_choice_of_cells_stops_a_plan_for_a_random_cloud():
    arrivals = 0
    for seed in range(70):
        cloud = random_legal_cloud(seed, hosts=(3, 6), servers=(10, 40))
        for goal in (
            {"goal": "evacuate", "hosts": [cloud.hosts[0].name]},
            {"goal": "consolidate"},
            {"goal": "rebalance"},
        ):
            plan = planned(cloud, **goal)
            going = [one for one in targets(plan) if cloud.server_by_id[one].numa]  # type: ignore[index]
            arrivals += len(going)
            for order in range(10 if going else 0):
                assert refused(cloud, plan, order) == [], f"random_legal_cloud({seed}), {goal}, order {order}"
    assert arrivals > 30


def test_what_fits_the_host_but_surely_no_cell_goes_elsewhere():
    """h1 has 8 pcpu free, but 4 in each cell; h2 has 6 free in one cell."""
    racks = [a_host("h0", numa=(CELL, CELL)), a_host("h1", numa=(CELL, CELL)), a_host("h2", numa=(CELL,))]
    servers = [
        a_server("s0", on="h0", numa=({"pcpu": 6},), numa_at=(0,)),
        a_server("a", on="h1", numa=(HALF,), numa_at=(0,)), a_server("b", on="h1", numa=(HALF,), numa_at=(1,)),
    ]  # fmt: skip
    assert targets(planned(a_cloud(racks, servers), goal="evacuate", hosts=["h0"])) == {"s0": "h2"}


def test_an_arrival_waits_until_those_whose_cells_it_may_need_have_left():
    racks = [a_host("h0", numa=(CELL, CELL)), a_host("h1", numa=(CELL, CELL)), a_host("h2", numa=(CELL, CELL))]
    servers = [
        a_server("two", on="h0", numa=({"pcpu": 8}, {"pcpu": 8}), numa_at=(0, 1)),
        a_server("a", on="h1", numa=(HALF,), numa_at=(0,)), a_server("b", on="h1", numa=(HALF,), numa_at=(1,)),
    ]  # fmt: skip
    plan = planned(a_cloud(racks, servers), goal="reach", targets={"two": "h1", "a": "h2", "b": "h2"})
    waits = next(step for step in plan.steps if step.server == "two").waits_for
    assert len(waits) == 2
    assert all("pcpu of cell" in edge.because for edge in waits)
    hasty = plan.model_copy(update={"steps": tuple(one.model_copy(update={"waits_for": ()}) for one in plan.steps)})
    assert any("can come to" in str(one) for one in check(a_cloud(racks, servers), hasty))


def test_a_server_with_cells_goes_to_no_host_that_has_too_few():
    racks = [a_host("h0", numa=(CELL, CELL)), a_host("h1", numa=(CELL,)), a_host("h2")]
    servers = [a_server("two", on="h0", numa=(HALF, HALF), numa_at=(0, 1))]
    plan = planned(a_cloud(racks, servers), goal="evacuate", hosts=["h0"])
    assert plan.outcome is Outcome.IMPOSSIBLE
    assert plan.blockers[0].rule == "numa"


@pytest.mark.parametrize(("cells", "outcome"), [((), Outcome.PLAN), ((HALF,), Outcome.IMPOSSIBLE)])
def test_nobody_with_cells_is_parked_and_brought_back(cells, outcome):
    """a and b can change places only by way of h2, when c has made room there and waits on h3."""
    racks = [*(a_host(f"h{n}", numa=(CELL,), vcpu=8) for n in range(3)), a_host("h3", numa=(CELL,), vcpu=4)]
    servers = [
        a_server("a", on="h0", vcpu=5), a_server("b", on="h1", vcpu=5),
        a_server("c", on="h2", vcpu=4, numa=cells, numa_at=(0,) if cells else ()),
    ]  # fmt: skip
    plan = planned(a_cloud(racks, servers), goal="reach", targets={"a": "h1", "b": "h0"})
    assert plan.outcome is outcome
    assert ("c" in targets(plan)) == (outcome is Outcome.PLAN)


def test_the_referee_finds_who_may_meet_full_cells():
    racks = [a_host("h0", numa=(CELL, CELL)), a_host("h1", numa=(CELL,))]
    servers = [a_server(f"s{n}", on="h0", numa=({"pcpu": 4},), numa_at=(n % 2,)) for n in range(2)]
    cloud = a_cloud(racks, servers)
    plan = planned(cloud, goal="evacuate", hosts=["h0"])
    assert len(targets(plan)) == 2
    tight = replace(cloud, hosts=(racks[0], a_host("h1", numa=({"pcpu": 7, "memory_mib": 8192},))))
    assert any("cell 0 of h1" in str(one) for one in check(tight, plan))


def test_the_note_on_numa_is_gone_where_hosts_tell_their_cells():
    silent = planned(a_cloud([a_host("h0"), a_host("h1")], [a_server("s", on="h0")]), goal="evacuate", hosts=["h0"])
    telling = a_cloud([a_host("h0", numa=(CELL,)), a_host("h1", numa=(CELL,))], [a_server("s", on="h0")])
    assert any("NUMA" in note for note in silent.not_modelled)
    assert not any("NUMA" in note for note in planned(telling, goal="evacuate", hosts=["h0"]).not_modelled)

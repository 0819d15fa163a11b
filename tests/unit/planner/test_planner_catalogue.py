"""What the rules of load, nearness, licences, residency, dedication, isolation and budgets do to plans."""

from dataclasses import replace

import pytest

from restow.cloud.model import (
    Budget,
    Cloud,
    Dedicate,
    HostState,
    Isolate,
    Licence,
    LoadBelow,
    NearTo,
    Residency,
    Server,
)
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.builders import a_cloud, a_host, a_server

H = [a_host(f"h{n}", rack=f"r{n // 2}", zone=f"z{n // 2}", physical={"cpu_cores": 8.0}) for n in range(6)]


def planned(cloud: Cloud, **request: object) -> Plan:
    plan = plan_for(cloud, parse_request(request), plan_id="p", seconds=5)
    assert check(cloud, plan) == ()
    for seed in range(20):
        assert replay_random(cloud, plan, seed) == ()
    return plan


def targets(plan: Plan) -> dict[str, str]:
    return {step.server: step.target for step in plan.steps if step.server}


def emptied(cloud: Cloud, *hosts: str) -> Plan:
    return planned(cloud, goal="evacuate", hosts=hosts)


# -- where they go ------------------------------------------------------------------------------------


WHERE = pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (LoadBelow(("h1", "h2", "h3"), {"cpu_cores": 0.5}), {"h4", "h5"}),
        (NearTo(("s0",), ("s3",), "host"), {"h3"}),
        (NearTo(("s0",), ("s3",), "rack"), {"h2", "h3"}),
        (Licence(("s0", "s4"), 2), {"h4"}),
        (Licence(("s0", "s4"), 2, "rack"), {"h1", "h4", "h5"}),
        (Residency(("z2",), servers=("s0",)), {"h4", "h5"}),
        (Residency(("z1", "z2"), projects=("mine",)), {"h2", "h3", "h4", "h5"}),
        (Dedicate(("h1", "h2", "h3", "h4"), ("others",)), {"h5"}),
        (Dedicate(("h0", "h3"), ("mine",), exclusive=True), {"h3"}),
        (Isolate(("s0",)), {"h5"}),
        (Isolate(("s4",)), {"h1", "h2", "h3", "h5"}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, set) else "",
)


def leaving() -> list[Server]:
    """h5 is empty; s4 shares h4 with nobody; everything else has room for s0."""
    return [
        a_server("s0", on="h0", load={"cpu_cores": 2.0}, project="mine"),
        *(a_server(f"s{n}", on=f"h{n}", load={"cpu_cores": 3.0}, project="others") for n in (1, 2, 3, 4)),
    ]


@WHERE
@pytest.mark.parametrize("soft", [None, 5.0], ids=["hard", "soft"])
def test_a_server_that_must_leave_goes_where_the_rule_lets_it(rule, allowed, soft):
    plan = emptied(a_cloud(H, leaving(), rules=[replace(rule, soft=soft)]), "h0")
    assert set(targets(plan).values()) <= allowed
    assert set(targets(plan)) == {"s0"}


@WHERE
def test_a_soft_rule_keeps_nobody_where_there_is_no_other_place(rule, allowed):
    """The hosts that the rule allows take nothing in: hard, it blocks; soft, it has its price."""
    closed = [replace(host, enabled=host.name not in allowed) for host in H]
    hard = emptied(a_cloud(closed, leaving(), rules=[rule]), "h0")
    soft = emptied(a_cloud(closed, leaving(), rules=[replace(rule, soft=5.0)]), "h0")
    assert set(targets(soft)) == {"s0"}
    # s0 is near nobody as it stands, and may stay so; for an isolated server the others make way.
    if not isinstance(rule, NearTo | Isolate):
        assert not targets(hard)
        assert hard.blockers[0].server == "s0"


def test_a_licence_of_one_host_keeps_all_where_they_are_and_says_so():
    servers = [a_server("s0", on="h0"), a_server("s1", on="h0")]
    plan = emptied(a_cloud(H[:3], servers, rules=[Licence(("s0", "s1"), 1)]), "h0")
    assert not plan.steps, "on its way a server needs both ends"
    assert {(one.server, one.rule) for one in plan.blockers} == {("s0", "licence 0"), ("s1", "licence 0")}
    assert all("licence 0" in one.relaxation for one in plan.blockers)


def test_an_isolated_host_takes_a_fellow_but_no_stranger():
    servers = [
        a_server("a0", on="h0"), a_server("a1", on="h1"), a_server("b0", on="h0"), a_server("b1", on="h2"),
    ]  # fmt: skip
    cloud = a_cloud(H[:3], servers, rules=[Isolate(("a1", "a0"), soft=5.0)])
    assert targets(emptied(cloud, "h0")) == {"a0": "h1", "b0": "h2"}


def test_a_load_that_nobody_measured_counts_as_what_is_claimed():
    """Claims: 5 of 8 cores; h1 carries 3 of its 8 besides its servers, so 5 more are too many at 0.9."""
    hosts = [H[0], a_host("h1", physical={"cpu_cores": 8.0}, load={"cpu_cores": 3.0}), H[2]]
    cloud = a_cloud(
        hosts, [a_server("s0", on="h0", vcpu=5, load={}), a_server("s1", on="h2", load={"cpu_cores": 2.0}, vcpu=9)],
        rules=[LoadBelow(("h0", "h1", "h2"), {"cpu_cores": 0.9})],
    )  # fmt: skip
    assert targets(emptied(cloud, "h0")) == {"s0": "h2"}


def test_what_stands_in_the_way_of_a_load_rule_is_told_by_its_name():
    servers = [a_server(f"s{n}", on=f"h{n}", load={"cpu_cores": 4.5}) for n in range(2)]
    rule = LoadBelow(("h0", "h1"), {"cpu_cores": 0.9})
    (blocker,) = emptied(a_cloud(H[:2], servers, rules=[rule]), "h0").blockers
    assert blocker.rule == "load 0"
    assert "load_cpu_cores_milli" in blocker.why


# -- in which order -----------------------------------------------------------------------------------


def most_at_once(plan: Plan) -> int:
    starts = [step.start_s for step in plan.steps if step.server]
    return max(sum(s.start_s <= at < s.end_s for s in plan.steps if s.server) for at in starts)


def test_a_budget_lets_so_many_go_at_once_and_no_more():
    names = tuple(f"s{n}" for n in range(8))
    servers = [a_server(name, on="h0") for name in names]
    for at_once in (1, 2, 3):
        cloud = a_cloud(H, servers, rules=[Budget(names, at_once)])
        plan = planned(cloud, goal="evacuate", hosts=["h0"], limits={"per_host": 20, "total": 20})
        assert len(targets(plan)) == 8
        assert most_at_once(plan) == at_once


def test_rebuilding_what_died_is_not_held_up_by_a_budget():
    names = tuple(f"s{n}" for n in range(3))
    dead = a_host("h0", state=HostState.DOWN)
    cloud = a_cloud([dead, *H[1:]], [a_server(name, on="h0") for name in names], rules=[Budget(names, 1)])
    plan = planned(cloud, goal="recover", hosts=["h0"])
    assert len(targets(plan)) == 3
    assert not any("budget" in edge.because for step in plan.steps for edge in step.waits_for)


def test_a_stranger_comes_only_when_all_whom_it_may_not_meet_have_left():
    servers = [a_server("a0", on="h0"), a_server("a1", on="h0"), a_server("b0", on="h1")]
    cloud = a_cloud(H[:3], servers, rules=[Isolate(("a0", "a1"))])
    plan = planned(cloud, goal="reach", targets={"a0": "h2", "a1": "h2", "b0": "h0"})
    last = next(step for step in plan.steps if step.server == "b0")
    assert {edge.because.split(":")[0] for edge in last.waits_for} == {"isolate 0"}
    assert len(last.waits_for) == 2


def test_company_moves_when_nobody_depends_on_it():
    servers = [a_server("db", on="h0"), a_server("web", on="h0"), a_server("db2", on="h2")]
    cloud = a_cloud(H[:4], servers, rules=[NearTo(("web",), ("db", "db2"), "host")])
    plan = planned(cloud, goal="reach", targets={"db": "h3", "web": "h2"})
    db = next(step for step in plan.steps if step.server == "db")
    assert [edge.because.split(":")[0] for edge in db.waits_for] == ["near 0"]
    lonely = a_cloud(H[:4], servers, rules=[NearTo(("web",), ("db",), "host")])
    stuck = planned(lonely, goal="reach", targets={"db": "h3", "web": "h3"})
    assert stuck.outcome is Outcome.IMPOSSIBLE, "the one would be alone while the other is on its way"


def test_who_died_with_its_company_is_rebuilt_next_to_it():
    dead = a_host("h0", state=HostState.DOWN, rack="r0")
    servers = [a_server("db", on="h0", priority=1), a_server("web", on="h0", priority=100)]
    cloud = a_cloud([dead, *H[2:]], servers, rules=[NearTo(("web",), ("db",), "rack")])
    where = targets(planned(cloud, goal="recover", hosts=["h0"]))
    racks = {host.name: host.rack for host in cloud.hosts}
    assert set(where) == {"db", "web"}
    assert racks[where["db"]] == racks[where["web"]]


def test_who_lost_its_company_to_a_failure_may_go_anywhere():
    """db died with h0 and its disk: nobody can be near it any more, and h1 is to be emptied all the same."""
    dead = a_host("h0", state=HostState.DOWN, zone="z0")
    servers = [a_server("db", on="h0", storage="local"), a_server("web", on="h1")]
    cloud = a_cloud([dead, *H[1:4]], servers, rules=[NearTo(("web",), ("db",), "zone")])
    goals = [{"goal": "recover", "hosts": ["h0"]}, {"goal": "evacuate", "hosts": ["h1"]}]
    assert set(targets(planned(cloud, goal="then", goals=goals))) == {"web"}


# -- broken already -----------------------------------------------------------------------------------


def test_a_host_on_which_strangers_stand_already_gets_no_worse():
    servers = [a_server("a0", on="h1"), a_server("b0", on="h1"), a_server("b1", on="h0"), a_server("c", on="h2")]
    cloud = a_cloud(H[:3], servers, rules=[Isolate(("a0",))])
    assert targets(emptied(cloud, "h0")) == {"b1": "h2"}


def test_too_many_licensed_hosts_become_no_more():
    servers = [a_server(f"s{n}", on=f"h{n}") for n in range(3)]
    cloud = a_cloud(H[:5], servers, rules=[Licence(("s0", "s1", "s2"), 2)])
    assert set(targets(emptied(cloud, "h0")).values()) <= {"h1", "h2"}


def test_a_host_that_is_too_hot_by_rule_takes_nothing_more():
    servers = [a_server("s0", on="h0"), a_server("hot", on="h1", load={"cpu_cores": 7.9}), a_server("s2", on="h2")]
    cloud = a_cloud(H[:3], servers, rules=[LoadBelow(("h1",), {"cpu_cores": 0.5})])
    assert targets(emptied(cloud, "h0")) == {"s0": "h2"}


def test_what_was_broken_before_is_told_whether_it_is_mended_or_stays():
    servers = [a_server("s0", on="h0"), a_server("s1", on="h0"), a_server("s2", on="h1")]
    rules = [Residency(("z1",), servers=("s0",)), Licence(("s1", "s2"), 1)]
    told = emptied(a_cloud(H[:4], servers, rules=rules), "h0").why
    assert "broken before and mended: licence 1, residency 0" in told
    mixed = [a_server("a0", on="h1"), a_server("b0", on="h1"), a_server("b1", on="h0")]
    told = planned(a_cloud(H[:3], mixed, rules=[Isolate(("a0",))]), goal="reach", targets={"b0": "h2", "a0": "h2"}).why
    assert "would break" in told or "not allowed" in told


# -- the referee ----------------------------------------------------------------------------------------

PAIR = ("s0", "s1")


@pytest.mark.parametrize(
    ("servers", "rule", "wanted"),
    [
        ({"s0": "h0", "s1": "h0"}, Budget(PAIR, 1), {"s0": "h1", "s1": "h2"}),
        ({"s0": "h0", "s1": "h1"}, Isolate(("s0",)), {"s0": "h2", "s1": "h0"}),
        ({"s0": "h0", "s1": "h1"}, Licence(PAIR, 3), {"s0": "h2", "s1": "h3"}),
        ({"s0": "h0", "s1": "h0", "s2": "h1"}, NearTo(("s0",), ("s1", "s2"), "host"), {"s0": "h1", "s1": "h2"}),
        ({"s0": "h0", "s1": "h1"}, LoadBelow(("h0",), {"cpu_cores": 0.4}), {"s0": "h2", "s1": "h0"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_plan_that_does_not_wait_for_what_a_rule_needs_is_refused(servers, rule, wanted):
    """The plan waits; the same plan without its waits is unsafe, and the referee says by which rule."""
    made = [a_server(name, on=host, load={"cpu_cores": 2.0}) for name, host in servers.items()]
    cloud = a_cloud(H[:4], made, rules=[rule])
    plan = planned(cloud, goal="reach", targets=wanted)
    assert len(targets(plan)) == 2
    hasty = plan.model_copy(update={"steps": tuple(one.model_copy(update={"waits_for": ()}) for one in plan.steps)})
    assert {one.kind for one in check(cloud, hasty)} == {"rule"}
    assert any(replay_random(cloud, hasty, seed) for seed in range(20))


@pytest.mark.parametrize("rule", [Residency(("z0",), servers=("s0",)), Dedicate(("h2",), ("others",))], ids=str)
def test_a_plan_that_takes_a_server_where_a_rule_forbids_it_is_refused(rule):
    free = a_cloud(H[:4], [a_server("s0", on="h0")])
    plan = planned(free, goal="reach", targets={"s0": "h2"})
    assert {one.kind for one in check(a_cloud(H[:4], free.servers, rules=[rule]), plan)} == {"rule"}

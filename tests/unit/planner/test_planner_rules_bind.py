"""The random clouds prove something of every rule: there are moves that this rule alone forbids."""

from collections import Counter
from random import Random

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check
from restow_planner.rules import all_violations, worse
from support.strategies import random_legal_cloud

CLOUDS = 300
MOVES = 25
BOUND_AT_LEAST = 10
KINDS = (
    "capacity", "reserve", "host state", "unmovable", "zone", "traits", "affinity", "anti-affinity", "allow", "ban",
    "at-most", "spread", "together", "among", "load", "near", "licence", "residency", "dedicate", "isolate", "budget",
    "aggregates", "cpu", "storage", "devices", "services", "numa",
)  # fmt: skip


def kind_of(rule: str) -> str:
    return next(one for one in sorted(KINDS, key=len, reverse=True) if rule.startswith(one))


def kinds_broken(cloud: Cloud, moves: dict[ServerId, HostName]) -> set[str]:
    home = {one.id: (one.host,) if one.host else () for one in cloud.servers}
    during = home | {server: (*home[server], host) for server, host in moves.items()}
    return {kind_of(one.rule) for one in worse(all_violations(cloud, home), all_violations(cloud, during))}


def test_each_rule_alone_forbids_moves_in_the_random_clouds():
    bound: Counter[str] = Counter()
    for seed in range(CLOUDS):
        cloud, random = random_legal_cloud(seed, servers=(5, 30)), Random(seed)
        for _ in range(MOVES):
            going = random.sample(list(cloud.servers), min(len(cloud.servers), random.choice((1, 1, 2, 3))))
            moves = {
                one.id: random.choice([host.name for host in cloud.hosts if host.name != one.host]) for one in going
            }
            found = kinds_broken(cloud, moves)
            if len(found) == 1:
                bound.update(found)
    assert {kind: bound[kind] for kind in KINDS if bound[kind] < BOUND_AT_LEAST} == {}


def test_plans_for_the_random_clouds_wait_because_of_the_rules_that_are_kept_by_waiting():
    waits: Counter[str] = Counter()
    for seed in range(200):
        cloud = random_legal_cloud(seed, hosts=(4, 6), servers=(10, 30))
        evacuate = {"goal": "evacuate", "hosts": [cloud.hosts[1].name]}
        for goal in (evacuate, {"goal": "consolidate", "max_utilisation": 1.0}):
            plan = plan_for(cloud, parse_request(goal), plan_id="p", seconds=2)
            assert check(cloud, plan) == (), f"random_legal_cloud({seed}), {goal}"
            waits.update(edge.because.split(" ")[0] for step in plan.steps for edge in step.waits_for)
    assert min(waits["budget"], waits["isolate"], waits["licence"], waits["near"]) > 0, waits

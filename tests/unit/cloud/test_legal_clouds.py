from collections import Counter

from restow.cloud.model import Among, GroupPolicy, HostState, Move
from restow.cloud.snapshot import RULE_KINDS, dump_cloud, read_cloud
from restow_planner.rules import RULES
from support.strategies import random_legal_cloud

SEEDS = range(300)


def test_the_same_seed_makes_the_same_cloud():
    assert dump_cloud(random_legal_cloud(7)) == dump_cloud(random_legal_cloud(7))
    assert dump_cloud(random_legal_cloud(7)) != dump_cloud(random_legal_cloud(8))


def test_every_kind_of_rule_occurs():
    kinds, policies, moves, states = Counter(), Counter(), Counter(), Counter()
    for seed in SEEDS:
        cloud = random_legal_cloud(seed)
        kinds.update(type(rule).__name__ for rule in cloud.rules)
        policies.update(group.policy for group in cloud.groups)
        policies.update("several per host" for group in cloud.groups if group.max_per_host > 1)
        moves.update(server.move for server in cloud.servers)
        states.update("down" for host in cloud.hosts if host.state is HostState.DOWN)
        states.update("disabled" for host in cloud.hosts if not host.enabled)
        states.update("two sets" for rule in cloud.rules if isinstance(rule, Among) and len(rule.host_sets) > 1)
    assert set(kinds) == {kind.__name__ for kind in RULE_KINDS.values()}
    assert set(policies) == {*GroupPolicy, "several per host"}
    assert set(moves) == set(Move)
    assert set(states) == {"down", "disabled", "two sets"}


def test_no_rule_is_broken_and_every_one_is_readable():
    for seed in SEEDS:
        cloud = random_legal_cloud(seed)
        assert read_cloud(dump_cloud(cloud)) == cloud
        where = {server.id: (server.host,) for server in cloud.servers if server.host is not None}
        assert [violation for rule in RULES for violation in rule.violations(cloud, where)] == []

"""Large clouds are decided in the time that healing can wait."""

import time
from random import Random

import pytest

from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.deadline import Deadline
from restow_planner.decision import decide
from support.builders import a_cloud, a_host, a_server


@pytest.fixture(scope="module")
def large():
    random = Random(1)
    servers = []
    for number in range(20_000):
        vcpu = random.choice((1, 2, 4, 4, 8))
        servers.append(a_server(f"s{number}", on=f"h{number % 1000}", vcpu=vcpu, memory_mib=vcpu * 4096))
    hosts = [a_host(f"h{n}", vcpu=128, memory_mib=524_288, rack=f"r{n // 20}", zone=f"z{n % 3}") for n in range(1000)]
    return a_cloud(hosts, servers)


@pytest.mark.parametrize("goal", ["evacuate", "recover"])
def test_one_host_of_a_thousand_is_emptied_in_a_second_and_a_half(large, goal):
    begun = time.process_time()
    decision = decide(large, parse_request({"goal": goal, "hosts": ["h7"]}), deadline=Deadline.after(10.0))
    assert time.process_time() - begun < 1.5
    assert decision.outcome is Outcome.PLAN
    assert len(decision.targets) == 20
    assert decision.gap == 0.0


def test_three_hosts_of_a_tight_cloud_are_emptied_by_making_room():
    """94 % of the cores are claimed, in powers of two, and no hole is large: nearly every server needs room made."""
    random = Random(2)
    servers = []
    for host in range(100):
        left = 64 - random.choice((0, 2, 4, 4, 6))
        while left:
            vcpu = min(random.choice((2, 4, 4, 4, 8, 8, 16, 32)), 1 << (left.bit_length() - 1))
            left -= vcpu
            servers.append(a_server(f"s{len(servers)}", on=f"h{host}", vcpu=vcpu, memory_mib=vcpu * 2048))
    cloud = a_cloud([a_host(f"h{n}", vcpu=64, memory_mib=262_144) for n in range(100)], servers)
    begun = time.process_time()
    request = parse_request({"goal": "evacuate", "hosts": [f"h{n}" for n in range(3)]})
    decision = decide(cloud, request, deadline=Deadline.after(10.0))
    assert time.process_time() - begun < 3.0
    assert decision.outcome is Outcome.PLAN
    assert not decision.blockers

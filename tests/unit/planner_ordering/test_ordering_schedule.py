"""The predicted schedule of a plan's steps keeps the limits that the executor keeps."""

from collections import Counter

from restow.messages.plan import Action, Edge, Step
from restow.messages.request import Limits
from restow_planner.ordering.schedule import duration_s, scheduled
from support.builders import a_cloud, a_host, a_server

HOSTS = ("h1", "h2", "h3", "h4")


def a_region():
    hosts = [a_host(name, vcpu=64, memory_mib=200_000, link_mbps=1000) for name in HOSTS]
    sizes = [1000 * (1 + 7 * index % 5) for index in range(24)]
    return a_cloud(
        hosts, [a_server(f"s{index}", on=HOSTS[index % 3], memory_mib=size) for index, size in enumerate(sizes)]
    )


def steps_of(action: Action = Action.LIVE_MIGRATE) -> list[Step]:
    return [
        Step(
            id=f"m{index}",
            action=action,
            server=f"s{index}",
            source=HOSTS[index % 3],
            target=HOSTS[(index % 3 + 1 + index % 2) % 4],
            waits_for=(Edge(step=f"m{index - 5}", because="room"),) if index % 5 == 0 and index else (),
        )
        for index in range(24)
    ]


def makespan(steps) -> float:
    return max(step.end_s for step in steps)


def test_no_host_and_no_domain_carries_more_at_once_than_its_limit() -> None:
    limits = Limits(per_host=2, total=3)
    steps = scheduled(a_region(), steps_of(), limits, seed=1)
    ends = {step.id: step.end_s for step in steps}
    for now in {step.start_s for step in steps}:
        running = [step for step in steps if step.start_s <= now < step.end_s]
        at_hosts = Counter(host for step in running for host in (step.source, step.target))
        assert len(running) <= 3
        assert max(at_hosts.values()) <= 2
    assert all(ends[edge.step] <= step.start_s for step in steps for edge in step.waits_for)


def test_every_step_has_the_time_it_needs() -> None:
    cloud, limits = a_region(), Limits(per_host=2, total=3)
    for step in scheduled(cloud, steps_of(), limits, seed=1):
        assert abs(step.end_s - step.start_s - duration_s(cloud, step, limits)) < 0.001


def test_a_dead_host_has_nothing_to_send_so_its_limit_does_not_stretch_its_recovery() -> None:
    cloud = a_region()
    steps = [
        Step(id=f"e{index}", action=Action.EVACUATE, server=f"s{3 * index}", source="h1", target=f"h{2 + index % 3}")
        for index in range(6)
    ]
    found = scheduled(cloud, steps, Limits(per_host=2, total=20), seed=1)
    assert {step.start_s for step in found} == {0.0}


def test_host_steps_count_against_no_limit() -> None:
    steps = [Step(id=f"d{host}", action=Action.DISABLE_HOST, host=host) for host in HOSTS]
    found = scheduled(a_region(), steps, Limits(per_host=1, total=1), seed=1)
    assert {step.start_s for step in found} == {0.0}


def test_the_same_seed_gives_the_same_schedule() -> None:
    first, second = (scheduled(a_region(), steps_of(), Limits(total=4), seed=3) for _ in range(2))
    assert first == second


def test_moves_that_hold_two_busy_hosts_do_not_wait_for_the_small_ones() -> None:
    """Two long moves out of h1 and many short ones beside it: the long ones must start at once."""
    hosts = [a_host(name, vcpu=64, memory_mib=900_000, link_mbps=1000) for name in HOSTS]
    small = [a_server(f"a{index}", on="h2", memory_mib=2000) for index in range(6)]
    large = [a_server(f"b{index}", on="h1", memory_mib=6000) for index in range(2)]
    cloud, limits = a_cloud(hosts, [*small, *large]), Limits(per_host=1, total=20)
    steps = [
        *(Step(id=s.id, action=Action.LIVE_MIGRATE, server=s.id, source="h2", target="h3") for s in small[:3]),
        *(Step(id=s.id, action=Action.LIVE_MIGRATE, server=s.id, source="h2", target="h1") for s in small[3:]),
        *(Step(id=s.id, action=Action.LIVE_MIGRATE, server=s.id, source="h1", target="h4") for s in large),
    ]
    through_h1 = [step for step in steps if "h1" in (step.source, step.target)]
    needed = sum(duration_s(cloud, step, limits) for step in through_h1)
    assert makespan(scheduled(cloud, steps, limits, seed=1)) < needed * 1.02

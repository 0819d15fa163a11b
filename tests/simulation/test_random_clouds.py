"""Plans for random legal clouds, where every rule can bind: none breaks a rule, in any order that its edges allow.

Each plan is judged by the referee, by random interleavings of its steps with every rule judged at every instant,
and by playing interleavings on the simulated cloud. RESTOW_CLOUDS and RESTOW_PLAYED set how many clouds, and how many
interleavings are played (the long run takes 1,000 and 50).
"""

import os
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from restow.cloud.model import Cloud, Host, HostState, Power
from restow.cloud.port import VERIFY, MigrationStatus
from restow.cloud.simulated.cloud import SimulatedCloud
from restow.cloud.simulated.options import SimulationOptions
from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Plan, Step
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random
from support.clocks import ManualClock
from support.strategies import random_legal_cloud

CLOUDS = int(os.environ.get("RESTOW_CLOUDS", "40"))
INTERLEAVINGS = 50
PLAYED = int(os.environ.get("RESTOW_PLAYED", "10"))
BATCHES = 8
TURNS_MAX = 5000
GOALS = ("evacuate", "recover", "rebalance", "consolidate", "defragment", "reach", "then")


def a_request(goal: str, cloud: Cloud, random: Random) -> dict[str, Any]:
    host = random.choice(cloud.hosts).name
    match goal:
        case "evacuate" | "recover":
            return {"goal": goal, "hosts": [host]}
        case "rebalance":
            return {"goal": goal, "resources": ["memory_mib"], "threshold": 0.05}
        case "defragment":
            return {"goal": goal, "shape": {"vcpu": 4, "memory_mib": 8192}, "count": 4}
        case "reach":
            placed = [server for server in cloud.servers if server.host]
            some = random.sample(placed, k=min(3, len(placed)))
            return {"goal": goal, "targets": {server.id: random.choice(cloud.hosts).name for server in some}}
        case "then":
            return {"goal": goal, "goals": [{"goal": "evacuate", "hosts": [host]}, {"goal": "rebalance"}]}
        case _:
            return {"goal": goal}


def with_failed(cloud: Cloud, names: list[str]) -> Cloud:
    """The same cloud when these hosts have died."""

    def died(host: Host) -> Host:
        return replace(host, state=HostState.DOWN) if host.name in names else host

    return replace(cloud, hosts=tuple(died(host) for host in cloud.hosts))


@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.timeout(3600)
async def test_no_plan_for_any_goal_breaks_a_rule_in_any_interleaving(batch: int) -> None:
    plans = 0
    for seed in range(batch, CLOUDS, BATCHES):
        for goal in GOALS:
            random = Random(f"{seed}/{goal}")
            cloud = random_legal_cloud(seed)
            body = a_request(goal, cloud, random)
            if goal == "recover":
                cloud = with_failed(cloud, body["hosts"])
            plan = plan_for(cloud, parse_request(body), plan_id=f"{goal}-{seed}", seconds=5)
            told = f"random_legal_cloud({seed}), {body}"
            assert check(cloud, plan) == (), told
            if not plan.steps:
                continue
            plans += 1
            for order in range(INTERLEAVINGS):
                assert replay_random(cloud, plan, order) == (), f"{told}, interleaving {order}"
            for order in range(PLAYED):
                await _play(cloud, plan, Random(f"{seed}/{order}"), f"{told}, played in order {order}")
    assert plans, "no cloud of this batch gave a plan with steps: it proves nothing"


async def _play(cloud: Cloud, plan: Plan, random: Random, told: str) -> None:
    """One interleaving on the simulated cloud: it must take every step, and end where the plan says."""
    clock = ManualClock(cloud.taken_at)
    options = SimulationOptions(live_migrations_per_source_max=1000, decide_s=0.0, service_down_time_s=0.0)
    # No limit on moves at once is kept here, so that every interleaving is tried: calm guests let all copies end.
    calm = replace(cloud, servers=tuple(replace(server, dirty_mib_s=0.0) for server in cloud.servers))
    port = SimulatedCloud(calm, clock, seed=1, options=options)
    waiting = {step.id: step for step in plan.steps}
    running: dict[str, Step] = {}
    ended: set[str] = set()
    for _ in range(TURNS_MAX):
        if not waiting and not running:
            break
        ready = [step for step in waiting.values() if all(edge.step in ended for edge in step.waits_for)]
        if ready and random.random() < 0.7:
            step = random.choice(ready)
            del waiting[step.id]
            await _start(port, step)
            running[step.id] = step
        else:
            clock.forward(random.uniform(0.5, 20))
        for step in list(running.values()):
            if await _has_ended(port, step, told):
                del running[step.id]
                ended.add(step.id)
    else:
        raise AssertionError(f"{told}: not played to the end within {TURNS_MAX} turns: {sorted(running)}")
    assert port.violations() == (), told
    ends = {step.server: step.target for step in plan.steps if step.server}
    for server, host in ends.items():
        assert (await port.server(ServerId(server))).host == host, f"{told}: {server}"


async def _start(port: SimulatedCloud, step: Step) -> None:
    server, host = ServerId(step.server or ""), HostName(step.target or step.host or "")
    match step.action:
        case Action.LIVE_MIGRATE:
            await port.live_migrate(server, to=host, request_id=step.id)
        case Action.COLD_MIGRATE:
            await port.cold_migrate(server, to=host, request_id=step.id)
        case Action.EVACUATE:
            await port.evacuate(server, to=host, request_id=step.id)
        case Action.START:
            await port.start(server, on=host, request_id=step.id)
        case Action.SHELVE:
            await port.shelve(server, request_id=step.id)
        case Action.STOP:
            await port.stop(server, request_id=step.id)
        case Action.DISABLE_HOST:
            await port.disable(host, reason="played")
        case Action.ENABLE_HOST:
            await port.enable(host)
        case Action.FENCE:
            await port.power(host, on=False)
            await port.force_down(host, down=True)
        case Action.POWER_OFF | Action.POWER_ON:
            await port.power(host, on=step.action is Action.POWER_ON)


async def _has_ended(port: SimulatedCloud, step: Step, told: str) -> bool:
    if step.server is None:
        return step.action is not Action.FENCE or await port.power_state(HostName(step.host or "")) is Power.OFF
    mine = [one for one in await port.migrations(ServerId(step.server)) if one.request_id == step.id]
    for migration in mine:
        assert migration.status is not MigrationStatus.FAILED, f"{told}: {step.id} was refused: {migration.reason}"
    if (await port.server(ServerId(step.server))).task == VERIFY:
        await port.confirm_cold_migration(ServerId(step.server))
    if mine:
        return all(migration.status.ended for migration in mine)
    return (await port.server(ServerId(step.server))).task is None

"""Random small clouds, every goal: is what the planner says true? Judged by looking at every order of moves.

    python tests/bench/truth.py --clouds 10000

Half of the clouds may break rules at the start. Counts answers that say *impossible* where some order of moves does it,
plans that `restow check` refuses, *nothing to do* where something is to be done, and answers that took longer than
their time limit allows. Seconds are CPU seconds, so that a busy machine accuses nobody.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from restow.cloud.model import Cloud, Host, HostState, Reserve
from restow.messages.plan import Outcome, Plan
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check
from support.every_order import EveryOrder, Places
from support.strategies import random_broken_cloud, random_legal_cloud

GOALS = ("reach", "evacuate", "recover", "rebalance", "consolidate", "defragment", "then")
LIMIT_S = 2.0
OVERRUN_S = 0.5
SLACK = ({}, {"vcpu": 1, "memory_mib": 1024, "disk_gib": 10}, {"vcpu": 2, "memory_mib": 2048, "disk_gib": 20},
         {"vcpu": 4, "memory_mib": 4096, "disk_gib": 40})  # fmt: skip
TOO_MUCH = {"vcpu": -1, "memory_mib": -1024}


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: `wrong` says what is untrue of it, "" if nothing is; `known`: every order was looked at.

    `missed`: not untrue, but there is a better one: an order of moves that does all of what was asked for.
    """

    seed: int
    goal: str
    outcome: Outcome
    wrong: str
    known: bool
    cpu_s: float
    missed: bool = False


def a_cloud_to_judge(seed: int) -> Cloud:
    """2 to 4 hosts, up to 7 servers, every rule; two of three have hardly any room left, half of them break rules."""
    dice = Random(f"room/{seed}")
    breaks = seed % 2 == 1
    made = random_broken_cloud if breaks else random_legal_cloud
    cloud = made(seed, hosts=(2, 4), servers=(2, 7))
    if dice.random() < 1 / 3:
        return cloud

    def tighter(host: Host) -> Host:
        slack = dice.choice((*SLACK, TOO_MUCH) if breaks else SLACK)
        used = {name: sum(one.demand[name] for one in cloud.servers_on[host.name]) for name in cloud.resources}
        return replace(host, capacity={name: max(0, used[name] + slack.get(name, 0)) for name in cloud.resources})

    # What a reserve keeps free was read off the larger hosts.
    rules = tuple(rule for rule in cloud.rules if not isinstance(rule, Reserve))
    return replace(cloud, hosts=tuple(tighter(host) for host in cloud.hosts), rules=rules)


def asked(goal: str, cloud: Cloud, seed: int) -> tuple[Cloud, dict[str, Any]]:
    dice = Random(f"{goal}/{seed}")
    host = dice.choice(cloud.hosts).name
    match goal:
        case "reach":
            return cloud, {"goal": goal, "targets": _targets(cloud, dice)}
        case "recover":
            hosts = tuple(replace(one, state=HostState.DOWN) if one.name == host else one for one in cloud.hosts)
            return replace(cloud, hosts=hosts), {"goal": goal, "hosts": [host]}
        case "evacuate":
            return cloud, {"goal": goal, "hosts": [host]}
        case "rebalance":
            return cloud, {"goal": goal, "resources": ["memory_mib"], "threshold": 0.05}
        case "defragment":
            return cloud, {"goal": goal, "shape": {"vcpu": 2, "memory_mib": 4096}, "count": 2}
        case "then":
            return cloud, {"goal": goal, "goals": [{"goal": "evacuate", "hosts": [host]}, {"goal": "rebalance"}]}
        case _:
            return cloud, {"goal": goal}


def _targets(cloud: Cloud, dice: Random) -> dict[str, str]:
    """Exchanges of places as often as places at random: the first are legal in the end more often."""
    some = dice.sample(list(cloud.servers), k=min(len(cloud.servers), dice.randint(1, 4)))
    if dice.random() < 0.5:
        return {one.id: str(other.host) for one, other in zip(some, some[1:] + some[:1], strict=True)}
    return {one.id: dice.choice(cloud.hosts).name for one in some}


def judged(seed: int, goal: str, *, missed: bool = False) -> Told:
    cloud, body = asked(goal, a_cloud_to_judge(seed), seed)
    request = parse_request({**body, "limits": {"time_limit_s": LIMIT_S}})
    began = time.process_time()
    plan = plan_for(cloud, request, plan_id=f"{goal}-{seed}")
    cpu_s = time.process_time() - began
    findings = check(cloud, plan)
    if findings:
        return Told(seed, goal, plan.outcome, f"refused: {findings[0]}", known=True, cpu_s=cpu_s)
    if "refused by the check" in plan.why:
        return Told(seed, goal, plan.outcome, plan.why, known=True, cpu_s=cpu_s)
    wrong, known = _untrue(cloud, body, plan)
    if not wrong and cpu_s > LIMIT_S + OVERRUN_S:
        wrong = f"took {cpu_s:.1f} CPU seconds of {LIMIT_S:g}"
    return Told(seed, goal, plan.outcome, wrong, known, cpu_s, missed=missed and _missed(cloud, body, plan))


def _untrue(cloud: Cloud, body: dict[str, Any], plan: Plan) -> tuple[str, bool]:
    """What is untrue in this answer, and whether that is known for certain."""
    if body["goal"] == "rebalance" and "leave less above" in plan.why:
        home = tuple(one.host for one in cloud.servers)
        (before, peak), threshold = too_much(cloud, home, body["threshold"]), body["threshold"]

        def better(places: Places) -> bool:
            after, highest = too_much(cloud, places, threshold)
            moves = sum(one != other for one, other in zip(home, places, strict=True))
            return after + 5 * moves < before and highest <= peak

        possible = EveryOrder(cloud, frozenset()).some_order_reaches(better)
        return (f"not proven: {plan.why}" if possible else ""), possible is not None
    if body["goal"] not in ("reach", "evacuate", "recover"):
        return "", True
    wanted, orders, reached = _orders(cloud, body)
    if plan.outcome is Outcome.NOTHING_TO_DO:
        return ("something is to be done" if wanted else ""), True
    if plan.outcome is not Outcome.IMPOSSIBLE:
        return "", True
    possible = orders.some_order_reaches(reached)
    return (f"not impossible: {plan.why}" if possible else ""), possible is not None


def _missed(cloud: Cloud, body: dict[str, Any], plan: Plan) -> bool:
    """Whether some order of moves does all that was asked for, where this answer does a part of it, or is undecided."""
    if body["goal"] not in ("reach", "evacuate", "recover"):
        return False
    wanted, orders, reached = _orders(cloud, body)
    left_out = any(blocker.server in wanted for blocker in plan.blockers)
    return (left_out or plan.outcome is Outcome.UNDECIDED) and bool(orders.some_order_reaches(reached))


def _orders(cloud: Cloud, body: dict[str, Any]) -> tuple[set[str], EveryOrder, Callable[[Places], bool]]:
    """Who is to move, every order in which that can be done, and whether a placement is what was asked for."""
    start = {one.id: one.host for one in cloud.servers}
    if body["goal"] == "reach":
        moved = {server for server, host in body["targets"].items() if start[server] != host}
        end = tuple((start | body["targets"]).values())
        return moved, EveryOrder(cloud, frozenset(moved)), end.__eq__
    left = frozenset(body["hosts"])
    going: set[str] = {one.id for one in cloud.servers if one.host in left}
    dead = left if body["goal"] == "recover" else frozenset()
    return going, EveryOrder(cloud, frozenset(going), closed=left, dead=dead), left.isdisjoint


def too_much(cloud: Cloud, places: Places, threshold: float) -> tuple[int, float]:
    """What is claimed of memory above the mean and the threshold on hosts that take servers, and the highest share.

    In thousandths of a host, and a hundred of them for each host that is above.
    """
    claimed = dict.fromkeys((one.name for one in cloud.hosts if one.takes_servers), 0)
    room = {one.name: max(1, one.capacity["memory_mib"]) for one in cloud.hosts if one.takes_servers}
    at_start = sum(one.demand["memory_mib"] for one in cloud.servers if one.host in claimed)
    ceiling = at_start / max(1, sum(room.values())) + threshold
    for server, place in zip(cloud.servers, places, strict=True):
        if place in claimed:
            claimed[place] += server.demand["memory_mib"]
    shares = [used / room[name] for name, used in claimed.items()]
    over = [ceil((share - ceiling) * 1000 - 1e-6) for share in shares]
    return sum(100 + steps for steps in over if steps > 0), max(shares, default=0.0)


def verdicts(seeds: range, *, seconds: float = float("inf"), missed: bool = False) -> Iterator[Told]:
    began = time.monotonic()
    for seed in seeds:
        if time.monotonic() - began > seconds:
            return
        for goal in GOALS:
            yield judged(seed, goal, missed=missed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clouds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--missed", action="store_true", help="count what is possible and not found, too: slow")
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {goal: Counter() for goal in GOALS}
    clouds, wrong, unknown, missed = set(), 0, 0, 0
    seeds = range(options.first, options.first + options.clouds)
    for told in verdicts(seeds, seconds=options.seconds, missed=options.missed):
        clouds.add(told.seed)
        if told.missed:
            missed += 1
            print(f"seed {told.seed}, {told.goal}: {told.outcome.value}, and it can be done", flush=True)
        counts[told.goal][told.outcome.value] += 1
        unknown += not told.known
        if told.wrong:
            wrong += 1
            print(f"seed {told.seed}, {told.goal}: {told.outcome.value}: {told.wrong}", flush=True)
    for goal, count in counts.items():
        print(f"{goal}: " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items())))
    print(f"{len(clouds)} clouds, {wrong} answers untrue, {unknown} *impossible* too large to look at every order")
    if options.missed:
        print(f"{missed} answers do less than can be done")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

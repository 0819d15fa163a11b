"""Clouds in which real load and claims differ: some hosts burn, others idle, and rules of several kinds bind."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from restow.cloud.model import Allow, AtMostPer, Ban, Cloud, Host, RuleSpec, Server, SpreadOver
from restow.cloud.simulated.generate import generate_cloud
from restow.ids import HostName, ServerId

PEAK = 0.97
"""The fullest hosts' share of real cores."""
QUIET = 0.12
HEAT_SKEW = 1.5
"""1: shares are even between QUIET and PEAK; more: fewer hosts burn."""
BUSY_MAX = 0.95
"""No server uses more of its vcpus than this."""
ROUNDS = 20
PROJECTS_WITH_A_RULE = 0.25
ALLOWED_HOSTS = 60
"""For servers that may stand on some hosts only."""
BANNED_HOSTS = 8


def busy_cloud(*, hosts: int, servers: int, seed: int) -> Cloud:
    """So many hosts and servers with groups, zones and rules of which none is broken; load is skewed between hosts."""
    cloud = generate_cloud(hosts=hosts, servers_per_host=servers // hosts, seed=seed)
    dice = Random(f"busy/{seed}")
    peaks = {host.name: QUIET + (PEAK - QUIET) * dice.random() ** HEAT_SKEW for host in cloud.hosts}
    loads: dict[ServerId, float] = {}
    for host in cloud.hosts:
        here = cloud.servers_on[host.name]
        loads |= _heated(here, peaks[host.name] * host.physical["cpu_cores"])
    made = tuple(replace(one, load={**one.load, "cpu_cores": loads[one.id]}) for one in cloud.servers)
    sums = dict.fromkeys((host.name for host in cloud.hosts), 0.0)
    for one in made:
        if one.host is not None:
            sums[one.host] += one.load["cpu_cores"]
    heated = tuple(replace(host, load={"cpu_cores": round(sums[host.name], 3)}) for host in cloud.hosts)
    return replace(cloud, hosts=heated, servers=made, rules=tuple(_rules(dice, heated, made)))


def _heated(servers: Sequence[Server], cores: float) -> dict[ServerId, float]:
    """The servers' loads, scaled to sum to these cores where that can be."""
    most = {one.id: one.demand["vcpu"] * BUSY_MAX for one in servers}
    load = {one.id: one.load["cpu_cores"] for one in servers}
    for _ in range(ROUNDS):
        total = sum(load.values())
        if not total or abs(total - cores) < 0.01:
            break
        load = {one: min(most[one], amount * cores / total) for one, amount in load.items()}
    return {one: round(amount, 3) for one, amount in load.items()}


def _rules(dice: Random, hosts: Sequence[Host], servers: Sequence[Server]) -> list[RuleSpec]:
    by_project: dict[str, list[Server]] = {}
    for one in servers:
        by_project.setdefault(one.project, []).append(one)
    rack = {host.name: host.rack for host in hosts}
    names = [host.name for host in hosts]
    found: list[RuleSpec] = []
    for members in by_project.values():
        if dice.random() < PROJECTS_WITH_A_RULE:
            found += _rule(dice, members[: dice.randint(2, 6)], rack, names)
    return found


def _rule(
    dice: Random, members: Sequence[Server], rack: dict[HostName, str | None], names: Sequence[HostName]
) -> list[RuleSpec]:
    """One rule that these keep where they stand."""
    ids = tuple(one.id for one in members)
    homes = [one.host for one in members if one.host is not None]
    match dice.randrange(4):
        case 0:
            racks = len({rack[home] for home in homes})
            return [SpreadOver(ids, "rack", min(racks, 3))] if racks > 1 else []
        case 1:
            count = max(homes.count(home) for home in homes)
            return [AtMostPer(ids, "host", count)]
        case 2:
            some = dice.sample(list(names), min(ALLOWED_HOSTS, len(names)))
            return [Allow(ids, tuple(dict.fromkeys([*homes, *some])))]
        case _:
            banned = [name for name in dice.sample(list(names), min(BANNED_HOSTS, len(names))) if name not in homes]
            return [Ban(ids, tuple(banned))] if banned else []

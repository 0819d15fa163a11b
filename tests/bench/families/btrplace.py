"""Repair of a data centre as BtrPlace's workloads ask for it (Hermenier, Lawall, Muller, TDSC 2013), as questions.

Units are the instances' own. `spread` is anti-affinity, `among` is `among`; a demand that grew is what the server
claims, so an overloaded host breaks its capacity at the start. Servers to boot run nowhere and are recovered.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from bench.cases import Answer, Question
from bench.reading import GONE

FOLDERS = ("li", "nr")
MIGRATIONS = frozenset({"live-migrate", "cold-migrate"})


def instances(folder: Path) -> Iterator[Question]:
    """One question per file; its name is the path of the file without its endings."""
    found = [path for name in FOLDERS for path in sorted((folder / name).rglob("*.gz"))]
    if not found:
        raise FileNotFoundError(2, "no instance", str(folder / FOLDERS[0]))
    for path in found:
        name = str(path.relative_to(folder)).removesuffix(".gz").removesuffix(".json")
        cloud, request = convert(path)
        body = json.dumps(cloud).encode()
        at = {server["id"]: server["host"] for server in cloud["servers"]}
        yield Question(name, body, request, _Reader(at, fewest_migrations(cloud)).read, beside={".cloud.json": body})


@dataclass(slots=True)
class _Instance:
    """A file as far as it is understood; ids are numbers there and text here."""

    online: set[str] = field(default_factory=set)
    offline: set[str] = field(default_factory=set)
    at: dict[str, str | None] = field(default_factory=dict)  # None: it does not run
    capacity: dict[str, dict[str, int]] = field(default_factory=dict)  # by resource, then by host
    demand: dict[str, dict[str, int]] = field(default_factory=dict)
    boot: dict[str, None] = field(default_factory=dict)  # in the order given, each once
    groups: list[dict[str, Any]] = field(default_factory=list)
    rules: list[dict[str, Any]] = field(default_factory=list)
    parts: dict[tuple[tuple[int, ...], ...], list[list[str]]] = field(default_factory=dict)


def convert(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The restow.cloud/1 and the restow.request/1 of an instance. Raises ValueError for an unknown constraint."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        document = json.load(file)
    instance = _mapped(document["model"])
    for constraint in document["constraints"]:
        _understand(instance, constraint)
    resources = sorted(instance.capacity)
    hosts = [
        {
            "name": host,
            "state": "up" if host in instance.online else "down",
            "power": "on" if host in instance.online else "off",
            "capacity": {resource: instance.capacity[resource][host] for resource in resources},
        }
        for host in sorted(instance.online | instance.offline, key=int)
    ]
    servers = [
        {
            "id": server,
            "name": server,
            "host": host,
            "state": "stopped" if host is None else "active",
            "demand": {resource: instance.demand[resource][server] for resource in resources},
        }
        for server, host in sorted(instance.at.items(), key=lambda item: int(item[0]))
    ]
    cloud = {
        "format": "restow.cloud/1", "taken_at": "2013-01-01T00:00:00Z", "domain": "btrplace", "resources": resources,
        "hosts": hosts, "servers": servers, "groups": instance.groups, "rules": instance.rules,
    }  # fmt: skip
    goals: list[dict[str, Any]] = []
    if instance.boot:
        goals.append({"goal": "recover", "servers": list(instance.boot)})
    if _overfull(cloud) or not goals:
        goals.append({"goal": "rebalance", "resources": resources, "threshold": 1.0})
    return cloud, goals[0] if len(goals) == 1 else {"goal": "then", "goals": goals}


def _mapped(model: dict[str, Any]) -> _Instance:
    mapping = model["mapping"]
    instance = _Instance(set(mapping["onlineNodes"]), {str(node) for node in mapping["offlineNodes"]})
    for host, content in mapping["onlineNodes"].items():
        instance.at |= dict.fromkeys(map(str, content["runningVMs"]), host)
    instance.at |= dict.fromkeys(map(str, mapping["readyVMs"]), None)
    for view in model["views"]:
        if view["id"] == "shareableResource":
            name, room, claim = view["rcId"], view["defCapacity"], view["defConsumption"]
            hosts = instance.online | instance.offline
            instance.capacity[name] = {host: view["nodes"].get(host, room) for host in hosts}
            instance.demand[name] = {server: view["vms"].get(server, claim) for server in instance.at}
    return instance


def _understand(instance: _Instance, constraint: dict[str, Any]) -> None:
    servers = [str(one) for one in constraint.get("vms", ())] or [str(constraint.get("vm", ""))]
    host = str(constraint.get("node", ""))
    match constraint["id"]:
        case "preserve":
            claims = instance.demand[constraint["rc"]]
            claims.update({one: max(claims[one], constraint["amount"]) for one in servers})
        case "spread":
            name = f"spread-{len(instance.groups)}"
            instance.groups.append({"id": name, "policy": "anti-affinity", "members": servers})
        case "among":
            parts = tuple(map(tuple, constraint["parts"]))
            if parts not in instance.parts:  # most name the same parts: they share one list
                instance.parts[parts] = [[str(node) for node in part] for part in parts]
            instance.rules.append({"kind": "among", "servers": servers, "host_sets": instance.parts[parts]})
        case "running":
            instance.boot |= {one: None for one in servers if instance.at[one] is None}
        case "online" if host in instance.online:
            pass
        case "offline" if host in instance.offline:
            pass
        case other:
            raise ValueError(f"constraint {other} of {host or servers[0]} is not part of these families")


def _overfull(cloud: dict[str, Any]) -> dict[str, dict[str, int]]:
    """How much too much is claimed, by host and resource."""
    room = {host["name"]: host["capacity"] for host in cloud["hosts"]}
    used: dict[str, Counter[str]] = {name: Counter() for name in room}
    for server in cloud["servers"]:
        if server["host"] is not None:
            used[server["host"]].update(server["demand"])
    over = {
        name: {resource: amount - room[name][resource] for resource, amount in claims.items()}
        for name, claims in used.items()
    }
    return {
        name: {key: excess for key, excess in of.items() if excess > 0}
        for name, of in over.items()
        if max(of.values(), default=0) > 0
    }


def fewest_migrations(cloud: dict[str, Any]) -> int:
    """No repair moves fewer: each overfull host gives its largest servers until each resource alone would fit."""
    claims: dict[str, list[dict[str, int]]] = {}
    for server in cloud["servers"]:
        claims.setdefault(server["host"] or "", []).append(server["demand"])
    total = 0
    for host, excess in _overfull(cloud).items():
        counts = []
        for resource, amount in excess.items():
            freed = accumulate(sorted((demand[resource] for demand in claims[host]), reverse=True))
            counts.append(1 + sum(so_far < amount for so_far in freed))
        total += max(counts)
    return total


@dataclass(frozen=True, slots=True)
class _Reader:
    """`at`: where each server ran, None: nowhere; `fewest`: no repair takes fewer migrations."""

    at: dict[str, str | None]
    fewest: int

    def read(self, plan: dict[str, Any]) -> Answer:
        """Migrations of servers that ran; where the plan leaves anything open there is no figure."""
        ends = self.at | {step["server"]: step["to"] for step in plan["steps"] if step["server"]}
        body = {"host": {one: int(host) for one, host in ends.items() if host is not None}, "plan": plan}
        moves = sum(step["action"] in MIGRATIONS and self.at[step["server"]] is not None for step in plan["steps"])
        starts = sum(step["action"] == "start" for step in plan["steps"])
        whole = plan["outcome"] in ("plan", "nothing-to-do") and not plan["blockers"]
        told = f"{plan['outcome']}: {moves} migrations, {starts} starts" + ("" if whole else ", not all repaired")
        figure = float(moves) if whole else None
        proven = whole and moves - self.fewest < GONE
        return Answer(figure, float(self.fewest), proven, plan["solve_s"], json.dumps(body).encode(), told)

"""The VMR2L snapshots of production clusters (VM rescheduling, EuroSys 2025): as clouds, and by NUMA node.

As restow.cloud/1, claims are taken at the level of the host (both NUMA nodes together). By NUMA node, the question is
the paper's: the lowest fragment rate by a limited number of migrations.
"""

import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench.cases import Answer, Question, Task
from bench.reading import served
from restow_planner.deadline import Deadline
from restow_planner.solvers.columns import rearranged
from restow_planner.solvers.stock import Stock

SLOT_CPU = 16
"""Cores of the flavour by whose slots the fragment rate is measured: it takes one NUMA node."""
MIGRATIONS = (10, 25, 50, 100)
SHOWN = 50
"""The limit whose fragment rate is the figure of the instance."""
PUBLISHED = "0.8508, 0.7245, 0.5753, 0.2884 (exact)"
BOTH = -1
"""In place of a NUMA node: a server that takes half of its size on each."""


def instances(folder: Path) -> Iterator[Question | Task]:
    files = sorted(folder.glob("*.json.gz"))
    if not files:
        raise FileNotFoundError(2, "no snapshot", str(folder / "*.json.gz"))
    for file in files:
        yield from _questions(file)
    for file in files:
        known = PUBLISHED if file.name == "medium.json.gz" else "-"
        yield Task(file.name, known, judge=partial(judged, file))


def _questions(file: Path) -> Iterator[Question]:
    name, document = file.name.removesuffix(".json.gz"), convert(file)
    cloud = json.dumps(document).encode()
    used: Counter[str] = Counter({host["name"]: 0 for host in document["hosts"]})
    for server in document["servers"]:
        used[server["host"]] += server["demand"]["vcpu"]
    ten = [host for host, _ in sorted(used.items(), key=lambda item: item[1])[:10]]
    failed = document["hosts"][min(100, len(used) - 1)]["name"]
    for host in document["hosts"]:
        host["state"] = "down" if host["name"] == failed else "up"
    down = json.dumps(document).encode()
    yield Question(f"{name} recover one host", down, {"goal": "recover", "hosts": [failed]}, served)
    yield Question(f"{name} evacuate ten hosts", cloud, {"goal": "evacuate", "hosts": ten}, served)


# -- by NUMA node -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Numa:
    """P hosts of two NUMA nodes, V servers; amounts are cores and MiB, of a server those that it takes on one node."""

    capacity: np.ndarray  # (P, 2, 2): host, node, cores and MiB
    size: np.ndarray  # (V, 2)
    host: np.ndarray  # (V,)
    node: np.ndarray  # (V,), BOTH for those that take both

    def free(self, host: np.ndarray, node: np.ndarray) -> np.ndarray:
        """(P, 2, 2) what is left with the servers there."""
        left = self.capacity.copy()
        for side in (0, 1):
            here = (node == side) | (node == BOTH)
            np.subtract.at(left[:, side], host[here], self.size[here])
        return left

    def fragment_rate(self, host: np.ndarray, node: np.ndarray) -> float:
        """The part of the free cores that is left over when each node is cut into slots."""
        cores = self.free(host, node)[..., 0]
        return float((cores % SLOT_CPU).sum() / cores.sum()) if cores.any() else 0.0


def read(path: Path) -> Numa:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        clusters = json.load(file)["cluster_list"]
    hosts = [info for cluster in clusters for info in cluster["host_info"]]
    servers = [one for cluster in clusters for one in cluster["vm_instance"]]
    index = {info["node_id"]: number for number, info in enumerate(hosts)}
    capacity = np.zeros((len(hosts), 2, 2), dtype=np.int64)
    for number, info in enumerate(hosts):
        for node in info["numa"]:
            capacity[number, node["node"]] = int(node["total_cpu"]), int(node["memory_huge_total_mb"])
    return Numa(
        capacity,
        np.array([(int(one["numa"][0]["cpu"]), int(one["numa"][0]["mem_mb"])) for one in servers]).reshape(-1, 2),
        np.array([index[one["host_id"]] for one in servers], dtype=np.int64),
        np.array([BOTH if len(one["numa"]) > 1 else one["numa"][0]["node"] for one in servers], dtype=np.int64),
    )


def solve(folder: Path, name: str, limit_s: float) -> Answer:
    """One answer a limit of migrations; each has an even part of the time that is left.

    `solve_s` is without reading the file and loading OR-Tools, which takes longer than all four answers.
    """
    import_module("ortools.linear_solver.pywraplp")
    import_module("ortools.sat.python.cp_model")
    numa, began = read(folder / name), time.monotonic()
    body, rates, bounds, proven = {}, [], [], []
    for number, most in enumerate(MIGRATIONS):
        now = time.monotonic()
        ends = now + max(0.0, began + limit_s - now) / (len(MIGRATIONS) - number)
        host, node, bound = _moved(numa, most, ends)
        body[str(most)] = {"host": host.tolist(), "numa": node.tolist()}
        rates.append(numa.fragment_rate(host, node))
        bounds.append(bound)
        proven.append(rates[-1] <= bound)
    shown = MIGRATIONS.index(SHOWN)
    told = ", ".join(f"{rate:.4f}{'' if sure else '?'}" for rate, sure in zip(rates, proven, strict=True))
    seconds = time.monotonic() - began
    return Answer(rates[shown], bounds[shown], all(proven), seconds, json.dumps(body).encode(), told)


def _moved(numa: Numa, most: int, ends: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Where each server stands after at most so many migrations, and the lowest fragment rate there can be."""
    rows = np.column_stack((numa.size, numa.node == BOTH))
    classes, of = np.unique(rows, axis=0, return_inverse=True)
    of = of.reshape(-1)
    on = np.zeros((len(numa.capacity), 2, len(classes)), dtype=np.int64)
    np.add.at(on, (numa.host, np.maximum(numa.node, 0), of), 1)
    stock = Stock(
        free=numa.free(numa.host, numa.node),
        size=classes[:, :2],
        wide=classes[:, 2].astype(bool),
        on=on,
        allowed=np.ones((len(classes), len(on)), dtype=bool),
        shape=np.array([SLOT_CPU, 0]),
        spent=np.ones((1, len(classes)), dtype=np.int64),
        budget=np.array([most]),
    )
    found = rearranged(stock, deadline=Deadline.after(ends - time.monotonic()), seed=1, sparing=False)
    standing: dict[tuple[int, int, int], list[int]] = {}
    for server, place in enumerate(
        zip(of.tolist(), numa.host.tolist(), np.maximum(numa.node, 0).tolist(), strict=True)
    ):
        standing.setdefault(place, []).append(server)
    host, node = numa.host.copy(), numa.node.copy()
    for move in found.moves():
        server = standing[move.item, *move.source].pop()
        host[server] = move.target[0]
        if node[server] != BOTH:
            node[server] = move.target[1]
    cores = numa.free(numa.host, numa.node)[..., 0]
    slots = int((cores // SLOT_CPU).sum()) + found.bound
    return host, node, float((cores.sum() - SLOT_CPU * slots) / cores.sum()) if cores.any() else 0.0


def judged(path: Path, body: bytes) -> str:
    """ "ok", or the first thing that is wrong: a limit without an answer, a server too many, or nowhere."""
    numa, answers = read(path), json.loads(body)
    for most in MIGRATIONS:
        if str(most) not in answers:
            return f"{most}: no answer"
        host, node = (np.array(answers[str(most)][key]) for key in ("host", "numa"))
        if host.shape != numa.host.shape or node.shape != numa.node.shape:
            return f"{most}: not one place a server"
        if ((host < 0) | (host >= len(numa.capacity))).any() or not np.isin(node, (BOTH, 0, 1)).all():
            return f"{most}: a place that does not exist"
        if ((node == BOTH) != (numa.node == BOTH)).any():
            return f"{most}: a server on both nodes that takes one, or the other way"
        if (numa.free(host, node) < np.minimum(numa.free(numa.host, numa.node), 0)).any():
            return f"{most}: a node is overfull"
        moved = int(((host != numa.host) | (node != numa.node)).sum())
        if moved > most:
            return f"{most}: {moved} migrations"
    return "ok"


# -- as a cloud -------------------------------------------------------------------------------------------


def convert(path: Path) -> dict[str, Any]:
    """The snapshot as a restow.cloud/1 document: vcpu and memory_mib, racks, clusters as zones."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        data = json.load(file)
    hosts, servers = [], []
    for cluster in data["cluster_list"]:
        for info in cluster["host_info"]:
            nodes = info["numa"]
            hosts.append(
                {
                    "name": str(info["node_id"]),
                    "zone": str(cluster["cluster_name"]),
                    "rack": str(info["rack_id"]),
                    "capacity": {
                        "vcpu": sum(int(node["total_cpu"]) for node in nodes),
                        "memory_mib": sum(int(node["memory_huge_total_mb"]) for node in nodes),
                    },
                    "physical": {"cpu_cores": sum(int(node["total_cpu"]) for node in nodes)},
                    "link_mbps": 10000,
                }
            )
        servers += [
            {
                "id": str(instance["instance_id"]),
                "name": str(instance["instance_id"]),
                "host": str(instance["host_id"]),
                "demand": {
                    "vcpu": sum(int(node["cpu"]) for node in instance["numa"]),
                    "memory_mib": sum(int(node["mem_mb"]) for node in instance["numa"]),
                },
            }
            for instance in cluster["vm_instance"]
        ]
    return {
        "format": "restow.cloud/1",
        "taken_at": "2022-12-01T00:00:00Z",
        "domain": "vmr2l",
        "resources": ["vcpu", "memory_mib"],
        "hosts": hosts,
        "servers": servers,
    }


if __name__ == "__main__":
    json.dump(convert(Path(sys.argv[1])), sys.stdout)

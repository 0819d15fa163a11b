"""Live migrations to fixed targets over shared links, over soonest (mVM of BtrPlace; Kherbache and others, 2015).

Every migration goes at the full bandwidth of its path. It loads each link of the path, in its direction, from its
start to its end; its server's resources are taken on the target from the start and given back on the source at the
end. The figure is the makespan in seconds. An answer is `{"<vm>": [start_s, end_s, mbps]}`.
"""

import gzip
import json
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.cases import Answer, Task
from restow_planner.solvers.timetable import Impossible, Job, Timetable, Way, Work, timetable

HOST_MBPS = {0: 500, 1: 500, 2: 1000, 3: 1000}
"""Links of the hosts around one switch, in the files that do not say (small50)."""
SERIAL_MBPS_PER_MB_S = 9  # bits of the line for a bit of memory, with what the protocols add
SOLVE_S = 1.5
SOLVE_S_PER_MOVE = 1 / 250
LIMIT_SHARE = 0.5
"""Of the seconds for an instance: the search counts work, not seconds, and reading takes some too."""
LATE_SHARE = 0.8
SEED = 1

Direction = tuple[int, bool]
"""A link and whether towards its switch."""


@dataclass(frozen=True, slots=True)
class Move:
    vm: int
    source: int
    target: int
    path: tuple[Direction, ...]
    mbps: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Instance:
    """`capacity` and `demand`: by resource, then by host or server. `host`: where each server runs at the start."""

    host: Mapping[int, int]
    moves: tuple[Move, ...]
    links: Mapping[int, int]
    memory: Mapping[int, Mapping[str, float]]
    capacity: Mapping[str, "Amounts"]
    demand: Mapping[str, "Amounts"]


class Amounts(dict[int, int]):
    """With a default that the file names."""

    def __init__(self, named: Mapping[str, int], default: int) -> None:
        super().__init__({int(number): amount for number, amount in named.items()})
        self.default = default

    def __missing__(self, _number: int) -> int:
        return self.default


def instances(folder: Path) -> Iterator[Task]:
    """All of small50, then the scale families by size and number."""
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    found = [*folder.glob("small50/*.json*"), *folder.glob("scale/*/*/*.json*")]
    for path in sorted(found, key=lambda path: (path.parent.parent.name != folder.name, _natural(path))):
        plan = [action["end"] for action in _document(path).get("actions", ())] if path.parent.name == "small50" else []
        name = path.relative_to(folder).as_posix()
        yield Task(name, f"{max(plan)} (mVM)" if plan else "-", judge=partial(judge, path))


def solve(folder: Path, name: str, limit_s: float) -> Answer:
    began = time.monotonic()
    instance = read(folder / name)
    ready = time.monotonic()
    seconds = min(limit_s * LIMIT_SHARE, SOLVE_S + SOLVE_S_PER_MOVE * len(instance.moves))
    late_at = began + limit_s * LATE_SHARE
    answer = timetable(as_work(instance), seconds=seconds, seed=SEED, late=lambda: time.monotonic() > late_at)
    solve_s = time.monotonic() - ready
    if not isinstance(answer, Timetable):
        proven = isinstance(answer, Impossible)
        return Answer(None, None, proven, solve_s, b"{}", "impossible" if proven else "undecided")
    body = {
        str(move.vm): [start, end, move.mbps]
        for move, start, end in zip(instance.moves, answer.start, answer.end, strict=True)
    }
    return Answer(answer.makespan, answer.bound, answer.proven, solve_s, json.dumps(body).encode())


def as_work(instance: Instance) -> Work:
    """Each link is a gate in either direction, each resource of a host a room."""
    left = {(kind, host): amount for kind in instance.capacity for host, amount in _left(instance, kind).items()}
    room = {key: number for number, key in enumerate(left)}
    gate = {way: number for number, way in enumerate({way: None for move in instance.moves for way in move.path})}
    jobs = [
        Job(
            ways=(Way(move.seconds, tuple((gate[way], move.mbps) for way in move.path)),),
            takes=tuple((room[kind, move.target], need[move.vm]) for kind, need in instance.demand.items()),
            gives=tuple((room[kind, move.source], need[move.vm]) for kind, need in instance.demand.items()),
        )
        for move in instance.moves
    ]
    return Work(tuple(jobs), tuple(instance.links[link] for link, _ in gate), tuple(left.values()))


def _left(instance: Instance, kind: str) -> dict[int, int]:
    """What each host that takes part has left of a resource before the first migration."""
    ends = {host: None for move in instance.moves for host in (move.source, move.target)}
    left = {host: instance.capacity[kind][host] for host in ends}
    for server, host in instance.host.items():
        if host in left:
            left[host] -= instance.demand[kind][server]
    return left


def judge(path: Path, body: bytes) -> str:
    """ "ok", or the first thing that is wrong: looks at every instant at which something starts or ends."""
    instance = read(path)
    answer = {int(server): tuple(entry) for server, entry in json.loads(body).items()}
    moves = {move.vm: move for move in instance.moves}
    if answer.keys() != moves.keys():
        return f"{len(answer.keys() ^ moves.keys())} servers are missing or need not move"
    for server, (start, end, mbps) in answer.items():
        if start < 0 or mbps <= 0 or end - start < seconds_of(instance.memory[server], mbps):
            return f"server {server} has no time to move"
    for now in sorted({instant for start, end, _ in answer.values() for instant in (start, end)}):
        if wrong := _wrong_at(now, instance, moves, answer):
            return wrong
    return "ok"


def _wrong_at(
    now: float, instance: Instance, moves: Mapping[int, Move], answer: Mapping[int, tuple[float, ...]]
) -> str | None:
    """What is over its capacity right after this instant. A host may be over it only if nothing arrives now."""
    flow: dict[Direction, float] = {}
    arriving: set[int] = set()
    there = {server: {host} for server, host in instance.host.items()}
    for server, (start, end, mbps) in answer.items():
        move = moves[server]
        if start <= now < end:
            for way in move.path:
                flow[way] = flow.get(way, 0) + mbps
        if now >= start:
            there[server].add(move.target)
        if now >= end:
            there[server].discard(move.source)
        if start == now:
            arriving.add(move.target)
    for (link, _), mbps in flow.items():
        if mbps > instance.links[link]:
            return f"link {link} carries {mbps} Mb/s at {now} s"
    for kind, need in instance.demand.items():
        held: dict[int, int] = {}
        for server, hosts in there.items():
            for host in hosts & arriving:
                held[host] = held.get(host, 0) + need[server]
        for host, amount in held.items():
            if amount > instance.capacity[kind][host]:
                return f"host {host} holds {amount} of {kind} at {now} s"
    return None


def read(path: Path) -> Instance:
    """Targets are those that `fence` names, or those of the plan in the file."""
    document = _document(path)
    model = document.get("model") or document["origin"]
    host = {
        server: int(number) for number, on in model["mapping"]["onlineNodes"].items() for server in on["runningVMs"]
    }
    resources = {view["rcId"]: view for view in model["views"] if view["id"] == "shareableResource"}
    net = next((view for view in model["views"] if view["id"] == "net"), None)
    network = _Network(net["links"] if net else _star())
    memory = {int(server): attributes for server, attributes in model["attributes"]["vms"].items()}
    moves = []
    for server, target in _targets(document).items():
        if server in host and host[server] != target:
            path_of = network.path(host[server], target)
            mbps = min(network.mbps[link] for link, _ in path_of)
            moves.append(Move(server, host[server], target, path_of, mbps, seconds_of(memory[server], mbps)))
    return Instance(
        host, tuple(moves), network.mbps, memory,
        {kind: Amounts(view["nodes"], view["defCapacity"]) for kind, view in resources.items()},
        {kind: Amounts(view["vms"], view["defConsumption"]) for kind, view in resources.items()},
    )  # fmt: skip


def seconds_of(memory: Mapping[str, float], mbps: float) -> int:
    """Whole seconds of a live migration, by the model of BtrPlace.

    All memory is copied once. Meanwhile the hot pages are dirtied within seconds and the rest at the cold rate; both
    are copied at what the rate of new ones leaves of the bandwidth. Memory in MB, rates in MB/s.
    """
    hot = memory.get("hotDirtySize", memory.get("maxDirtySize", 5.0))
    hot_s = memory.get("hotDirtyDuration", memory.get("maxDirtyDuration", 2.0))
    cold_rate = memory.get("coldDirtyRate", memory.get("dirtyRate", 0.0))
    rate, hot_rate = mbps / SERIAL_MBPS_PER_MB_S, hot / hot_s
    copy_s = memory["memUsed"] / rate
    if copy_s > hot_s:
        dirty_s = (hot + (copy_s - hot_s) * cold_rate) / (rate - cold_rate)
        last_s = hot / rate * hot_rate / (rate - hot_rate)
    else:
        dirty_s, last_s = hot_rate * copy_s / (rate - hot_rate), 0.0
    return max(1, int(copy_s + dirty_s + last_s + 0.5))


class _Network:
    """Links between hosts and switches, or between switches; paths of the fewest links."""

    def __init__(self, links: list[dict[str, Any]]) -> None:
        self.mbps: dict[int, int] = {}
        self.beside: dict[tuple[str, int], list[tuple[tuple[str, int], Direction]]] = {}
        self.from_host: dict[int, dict[tuple[str, int], tuple[Direction, ...]]] = {}
        for link in links:
            element, number = link["physicalElement"], link["id"]
            end, switch = (element["type"], element["id"]), ("switch", link["switch"])
            self.mbps[number] = link["capacity"]
            self.beside.setdefault(end, []).append((switch, (number, True)))
            self.beside.setdefault(switch, []).append((end, (number, False)))

    def path(self, source: int, target: int) -> tuple[Direction, ...]:
        if source not in self.from_host:
            self.from_host[source] = self._to_switches(source)
        reached = self.from_host[source]
        ways = [(*reached[switch], (link, False)) for switch, (link, _) in self.beside["node", target]]
        return min(ways, key=len)

    def _to_switches(self, source: int) -> dict[tuple[str, int], tuple[Direction, ...]]:
        paths: dict[tuple[str, int], tuple[Direction, ...]] = {("node", source): ()}
        queue = deque(paths)
        while queue:
            here = queue.popleft()
            for there, direction in self.beside[here]:
                if there not in paths and there[0] == "switch":
                    paths[there] = (*paths[here], direction)
                    queue.append(there)
        return paths


def _star() -> list[dict[str, Any]]:
    return [
        {"id": host, "capacity": mbps, "switch": 0, "physicalElement": {"type": "node", "id": host}}
        for host, mbps in HOST_MBPS.items()
    ]


def _targets(document: dict[str, Any]) -> dict[int, int]:
    fences = {
        entry["vm"]: entry["nodes"][0]
        for entry in document.get("constraints", ())
        if entry["id"] == "fence" and len(entry["nodes"]) == 1
    }
    planned = {entry["vm"]: entry["to"] for entry in document.get("actions", ()) if entry["id"] == "migrateVM"}
    return fences or planned


def _document(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return dict(json.loads(gzip.decompress(data) if path.suffix == ".gz" else data))


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part or 0), part) if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.as_posix())]

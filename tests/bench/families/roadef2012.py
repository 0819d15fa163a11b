"""Machine reassignment (Google, ROADEF/EURO challenge 2012): the cheapest placement of processes, from one that stands.

Machines are hosts (location: rack, neighbourhood: zone), processes are servers. Services, spread, dependencies and
capacities are the rules; load, balance and moves are the prices. All the rest is the planner's.
"""

import csv
import lzma
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from bench.cases import Answer, Task
from restow.cloud.model import Cloud, Host, Server
from restow.ids import DomainName, HostName, ServerId
from restow_planner.primitives import AtMost, Capacity, HostCost, MoveCost, Near, Price, Primitive, Spread
from restow_planner.problem import compile_problem
from restow_planner.solvers.descent import improved

SPARE_S = 0.7
"""Kept for the end of the work under way, for writing the answer and for the end of the process."""


@dataclass(frozen=True, slots=True)
class Balance:
    first: int
    second: int
    target: int
    weight: int


@dataclass(frozen=True, slots=True)
class Model:
    """R resources, M machines, S services, P processes; as the statement has them."""

    held: np.ndarray  # (R,) transient
    load_weight: np.ndarray  # (R,)
    zone: np.ndarray  # (M,) neighbourhood
    rack: np.ndarray  # (M,) location
    capacity: np.ndarray  # (M, R)
    safety: np.ndarray  # (M, R)
    between: np.ndarray  # (M, M)
    spread: np.ndarray  # (S,)
    needs: tuple[tuple[int, ...], ...]  # services that each service depends on
    service: np.ndarray  # (P,)
    demand: np.ndarray  # (P, R)
    leave: np.ndarray  # (P,)
    balances: tuple[Balance, ...]
    weights: tuple[int, int, int]  # of process, service and machine moves
    start: np.ndarray  # (P,)


def _integers(path: Path) -> np.ndarray:
    text = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")


class _Reader:
    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers, self.place = numbers, 0

    def one(self) -> int:
        self.place += 1
        return int(self.numbers[self.place - 1])

    def rows(self, many: int, width: int) -> np.ndarray:
        found = self.numbers[self.place : self.place + many * width].reshape(many, width)
        self.place += many * width
        return found


def read(model: Path, assignment: Path) -> Model:
    source = _Reader(_integers(model))
    resources = source.one()
    kinds = source.rows(resources, 2)
    machines = source.one()
    rows = source.rows(machines, 2 + 2 * resources + machines)
    spread, needs = [], []
    for _ in range(source.one()):
        spread.append(source.one())
        needs.append(tuple(source.rows(1, source.one())[0].tolist()))
    processes = source.rows(source.one(), 2 + resources)
    balances = tuple(Balance(*source.rows(1, 4)[0].tolist()) for _ in range(source.one()))
    weights = (source.one(), source.one(), source.one())
    return Model(
        held=kinds[:, 0] == 1,
        load_weight=kinds[:, 1],
        zone=rows[:, 0],
        rack=rows[:, 1],
        capacity=rows[:, 2 : 2 + resources],
        safety=rows[:, 2 + resources : 2 + 2 * resources],
        between=rows[:, 2 + 2 * resources :],
        spread=np.array(spread, dtype=np.int64),
        needs=tuple(needs),
        service=processes[:, 0],
        demand=processes[:, 1 : 1 + resources],
        leave=processes[:, 1 + resources],
        balances=balances,
        weights=weights,
        start=_integers(assignment),
    )


def as_cloud(model: Model) -> tuple[Cloud, tuple[Primitive, ...], tuple[Price, ...]]:
    """The model as a cloud, its rules and its prices."""
    resources = tuple(f"r{number}" for number in range(len(model.held)))
    machines = [HostName(f"m{number}") for number in range(len(model.zone))]
    servers = [ServerId(f"p{number}") for number in range(len(model.service))]
    hosts = tuple(
        Host(name, zone=f"n{zone}", rack=f"l{rack}", capacity=dict(zip(resources, capacity, strict=True)))
        for name, zone, rack, capacity in zip(
            machines, model.zone.tolist(), model.rack.tolist(), model.capacity.tolist(), strict=True
        )
    )
    cloud = Cloud(
        taken_at=datetime(2012, 1, 1, tzinfo=UTC),
        domain=DomainName("roadef2012"),
        resources=resources,
        hosts=hosts,
        servers=tuple(
            Server(name, host=machines[at], demand=dict(zip(resources, demand, strict=True)))
            for name, at, demand in zip(servers, model.start.tolist(), model.demand.tolist(), strict=True)
        ),
    )
    members: list[list[ServerId]] = [[] for _ in model.spread]
    for server, service in zip(servers, model.service.tolist(), strict=True):
        members[service].append(server)
    services = [tuple(one) for one in members]
    return (
        cloud,
        tuple(_rules(model, resources, machines, services)),
        tuple(_prices(model, machines, servers, services)),
    )


def _rules(
    model: Model, resources: tuple[str, ...], machines: list[HostName], services: list[tuple[ServerId, ...]]
) -> Iterator[Primitive]:
    for number, resource in enumerate(resources):
        amounts = dict(zip(machines, model.capacity[:, number].tolist(), strict=True))
        yield Capacity(resource, resource, amounts, held=bool(model.held[number]))
    for number, servers in enumerate(services):
        if len(servers) > 1:
            yield AtMost(f"service {number}", servers, "host", 1)
        if model.spread[number] > 1:
            yield Spread(f"spread {number}", servers, "rack", int(model.spread[number]))
        for other in model.needs[number]:
            yield Near(f"dependency {number} {other}", servers, services[other], "zone")


def _prices(
    model: Model, machines: list[HostName], servers: list[ServerId], services: list[tuple[ServerId, ...]]
) -> Iterator[Price]:
    def cost(rule: str, amount: np.ndarray, over: np.ndarray, price: int) -> HostCost:
        return HostCost(
            rule,
            dict(zip(servers, amount.tolist(), strict=True)),
            dict(zip(machines, over.tolist(), strict=True)),
            dict.fromkeys(machines, float(price)),
        )

    for number, weight in enumerate(model.load_weight.tolist()):
        if weight:
            yield cost(f"load r{number}", model.demand[:, number], model.safety[:, number], weight)
    for one in model.balances:
        if one.weight:
            amount = model.demand[:, one.second] - one.target * model.demand[:, one.first]
            over = model.capacity[:, one.second] - one.target * model.capacity[:, one.first]
            yield cost(f"balance r{one.first} r{one.second}", amount, over, one.weight)
    process, service, machine = model.weights
    leave = dict(zip(servers, (process * model.leave).tolist(), strict=True))
    between = (machine * model.between).astype(np.float64) if machine else None
    yield MoveCost("moves", leave, between, tuple(one for one in services if one), float(service))


def instances(folder: Path) -> Iterator[Task]:
    files = sorted(file for suffix in ("", ".xz") for file in folder.glob(f"*/model_*.txt{suffix}"))
    if not files:
        raise FileNotFoundError(2, "no model", str(folder / "*" / "model_*.txt"))
    known = _published(folder / "published.csv")
    for file in files:
        short = file.name.removeprefix("model_").split(".txt")[0]
        if _assignment(file).exists():
            best = known.get(short)
            yield Task(f"{file.parent.name}/{short}", "-" if best is None else str(best), ".txt", partial(judged, file))


def _file(folder: Path, name: str) -> Path:
    parent, short = name.split("/")
    found = [folder / parent / f"model_{short}.txt{suffix}" for suffix in ("", ".xz")]
    return next(one for one in found if one.exists())


def _assignment(model: Path) -> Path:
    return model.with_name(model.name.replace("model_", "assignment_", 1))


def _published(path: Path) -> dict[str, int]:
    """The lowest cost known, by instance."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as rows:
        return {
            row["instance"]: min(int(row[key]) for key in ("best_challenge_time", "best_other") if row[key])
            for row in csv.DictReader(rows)
        }


def solve(folder: Path, name: str, limit_s: float) -> Answer:
    ends = _began() + limit_s - SPARE_S
    model = _file(folder, name)
    read_in = read(model, _assignment(model))
    cloud, primitives, prices = as_cloud(read_in)
    problem = compile_problem(cloud, primitives)
    began = time.monotonic()
    found = improved(problem, primitives, prices, seed=1, left=lambda: ends - time.monotonic())
    body = " ".join(map(str, found.at.tolist())).encode()
    told = f"{found.cost:.0f} ({found.cost_before:.0f} before)"
    return Answer(found.cost, found.bound, found.proven, time.monotonic() - began, body, told)


def _began() -> float:
    """When this process began, on the monotonic clock; its limit counts from there."""
    ticks = float(Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK") - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())


# -- judged without the planner ------------------------------------------------------------------------------


def judged(model_file: Path, body: bytes) -> str:
    """ "ok", or the first thing that is wrong with the placement."""
    model = read(model_file, _assignment(model_file))
    at = np.array(body.split(), dtype=np.int64)
    if at.shape != model.start.shape or ((at < 0) | (at >= len(model.zone))).any():
        return "not one machine a process"
    used = np.zeros_like(model.capacity)
    np.add.at(used, at, model.demand)
    left = np.flatnonzero(at != model.start)
    held = used.copy()
    np.add.at(held, model.start[left], model.demand[left] * model.held)
    if (held > model.capacity).any():
        return f"machine {np.argwhere(held > model.capacity)[0][0]} is overfull"
    if len(np.unique(np.stack((model.service, at)), axis=1).T) != len(at):
        return "two processes of a service on a machine"
    racks: list[set[int]] = [set() for _ in model.spread]
    zones: list[set[int]] = [set() for _ in model.spread]
    for service, rack, zone in zip(
        model.service.tolist(), model.rack[at].tolist(), model.zone[at].tolist(), strict=True
    ):
        racks[service].add(rack)
        zones[service].add(zone)
    for service, least in enumerate(model.spread.tolist()):
        if len(racks[service]) < least:
            return f"service {service} is in {len(racks[service])} locations, not {least}"
        if any(not zones[service] <= zones[other] for other in model.needs[service]):
            return f"service {service} is without one that it depends on"
    return "ok"

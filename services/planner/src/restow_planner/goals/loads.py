"""How full each host is by one measure: claims of a resource, or measured load; pure.

What is measured of a host beyond what its servers account for stays with the host. A server without a
measure gets its part of that rest by its claimed vcpu.
"""

from dataclasses import dataclass

import numpy as np

from restow.cloud.model import Cloud
from restow_planner.problem import Floats, Problem
from restow_planner.solvers.board import Board, LoadLimit

CLAIM_BEHIND = {"cpu_cores": "vcpu"}
"""The claim that stands in for a load that nobody measures."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`part` is what each server adds (S,), `base` what is there anyway (H,), `room` what counts as full (H,)."""

    name: str
    part: Floats
    base: Floats
    room: Floats
    note: str | None = None
    claim: int | None = None
    """The resource that is claimed, where this is about claims."""

    def load(self, board: Board) -> Floats:
        at = np.array(board.at, dtype=np.int64)
        placed = at >= 0
        on = np.bincount(at[placed], weights=self.part[placed], minlength=len(self.base)).astype(np.float64)
        return self.base + on

    def share(self, board: Board) -> Floats:
        return self.load(board) / self.room


def measure(problem: Problem, name: str) -> Measure:
    """Claims where the cloud lists the resource, else load; claims again where no load is known."""
    cloud = problem.cloud
    if name in cloud.resources:
        return _claims(problem, name, name, None)
    known = any(name in host.load for host in cloud.hosts) or any(name in one.load for one in cloud.servers)
    behind = CLAIM_BEHIND.get(name, name)
    if not known and behind in cloud.resources:
        return _claims(problem, name, behind, f"{name} is measured nowhere: claims of {behind} stand in for it")
    return _measured(problem, name)


def real_limits(problem: Problem, share: float) -> tuple[tuple[LoadLimit, ...], tuple[str, ...]]:
    """For each load that is measured and known in its physical amount: no host above this share; and what was guessed.

    A host whose physical amount nobody knows has no limit.
    """
    cloud = problem.cloud
    measured = set[str]().union(*(host.load for host in cloud.hosts), *(one.load for one in cloud.servers))
    names = sorted(measured & {name for host in cloud.hosts for name in host.physical})
    found = [_measured(problem, name) for name in names]
    rooms = [np.array([host.physical.get(name) or np.inf for host in cloud.hosts], dtype=float) for name in names]
    limits = tuple(LoadLimit(one.part, room, one.base, share) for one, room in zip(found, rooms, strict=True))
    return limits, tuple(one.note for one in found if one.note is not None)


def _claims(problem: Problem, name: str, resource: str, note: str | None) -> Measure:
    index = problem.cloud.resources.index(resource)
    room = np.array([max(1, host.capacity.get(resource, 0)) for host in problem.cloud.hosts], dtype=float)
    return Measure(name, problem.demand[:, index].astype(float), np.zeros(len(problem.hosts)), room, note, index)


def _measured(problem: Problem, name: str) -> Measure:
    cloud, start, hosts = problem.cloud, problem.start, len(problem.hosts)
    part = np.array([one.load.get(name, np.nan) for one in cloud.servers], dtype=float)
    known = ~np.isnan(part)
    told, blind = np.flatnonzero(known & (start >= 0)), np.flatnonzero(~known & (start >= 0))
    rest = np.array([host.load.get(name, 0.0) for host in cloud.hosts], dtype=float)
    rest -= np.bincount(start[told], weights=part[told], minlength=hosts)
    rest = np.maximum(rest, 0.0)
    if len(blind):
        claims = np.array([max(1, cloud.servers[one].demand.get("vcpu", 1)) for one in blind.tolist()], dtype=float)
        claimed = np.bincount(start[blind], weights=claims, minlength=hosts)
        part[blind] = rest[start[blind]] * claims / claimed[start[blind]]
        rest[claimed > 0] = 0.0
    note = f"load {name} of {len(blind)} servers (estimated from their hosts)" if len(blind) else None
    return Measure(name, np.nan_to_num(part), rest, _room(cloud, name), note)


def _room(cloud: Cloud, name: str) -> Floats:
    behind = CLAIM_BEHIND.get(name, name)
    rooms = [host.physical.get(name) or float(host.capacity.get(behind, 0)) or 1.0 for host in cloud.hosts]
    return np.array(rooms, dtype=float)

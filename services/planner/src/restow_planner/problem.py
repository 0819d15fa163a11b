"""A cloud and its rules as plain arrays, ready for the solvers; pure.

Hosts and servers are numbered in the order of the cloud. Servers with the same hosts allowed share one row
of booleans, so 5,000 hosts × 30,000 servers stay small.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from restow.cloud.model import Cloud, Host, ServerState, Unit
from restow.cloud.model import Move as MoveKind
from restow.ids import HostName, ServerId
from restow_planner.arrays import (
    UNLIMITED,
    Bools,
    CellRows,
    Floats,
    Homeless,
    HostSets,
    Ints,
    Nearness,
    Reason,
    SoftTogether,
    Tally,
    named_by,
)
from restow_planner.cells import cell_rows
from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    AtOnce,
    Capacity,
    Cells,
    Closed,
    Fixed,
    Isolated,
    Near,
    Primitive,
    Spread,
    Together,
)
from restow_planner.rules.units import runs, unit_of

__all__ = ["Bools", "Floats", "Homeless", "Ints", "Problem", "SoftTogether", "Tally", "compile_problem"]

COLD_FACTOR = 4.0
"""A cold move stops the server: it costs as much as four live ones."""
DIRTY_FULL_MIB_S = 200.0
"""A server that dirties this much memory a second costs twice its memory to move."""
MOVE_MIB = 32_768.0
"""What a move costs however small the server: who is moved is disturbed, so few large moves beat many small ones."""


@dataclass(frozen=True)
class Problem:
    """Shapes: R resources, H hosts, S servers, C classes of servers with the same hosts allowed."""

    cloud: Cloud
    hosts: tuple[HostName, ...]
    servers: tuple[ServerId, ...]
    capacity: Ints  # (R, H), the smallest that any hard rule says
    demand: Ints  # (S, R)
    start: Ints  # (S,), -1: runs nowhere
    allowed: Bools  # (C, H)
    class_of: Ints  # (S,)
    prices: Floats  # (P, H), price of standing there
    price_of: Ints  # (S,), -1: no soft rule names the server
    soft_capacity: tuple[tuple[int, Ints, float], ...]  # resource, (H,), price per unit too many
    closed: Mapping[int, Reason]
    fixed: Mapping[int, Reason]
    at_most: tuple[Tally, ...]
    spreads: tuple[Tally, ...]
    soft_together: tuple[SoftTogether, ...]
    homeless: tuple[Homeless, ...]
    allowed_by: Mapping[int, tuple[tuple[str, Bools], ...]]  # per class: which rule allows what
    resources: tuple[str, ...]  # the name of each row of `capacity`: those of the cloud, then those of rules
    row_rules: tuple[str, ...]  # the rule that speaks of each row
    licences: tuple[Tally, ...] = ()  # at most `number` units
    near: tuple[Nearness, ...] = ()
    isolated: tuple[Tally, ...] = ()  # by host; `number` says nothing
    cells: CellRows | None = None

    @cached_property
    def host_index(self) -> Mapping[HostName, int]:
        return {name: index for index, name in enumerate(self.hosts)}

    @cached_property
    def server_index(self) -> Mapping[ServerId, int]:
        return {name: index for index, name in enumerate(self.servers)}

    @cached_property
    def down(self) -> frozenset[int]:
        """Hosts on which nothing runs any more, as far as the cloud says."""
        return frozenset(index for index, name in enumerate(self.hosts) if not runs(self.cloud, name))

    @cached_property
    def at_most_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.at_most)

    @cached_property
    def spreads_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.spreads)

    @cached_property
    def together_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.soft_together)

    @cached_property
    def homeless_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.homeless)

    @cached_property
    def bound_to_others(self) -> frozenset[int]:
        """The servers whose place depends, by a rule, on where others are."""
        tied = (self.at_most_of, self.spreads_of, self.homeless_of, self.licences_of, self.near_of, self.isolated_of)
        return frozenset({one for members in tied for one in members} | set(self.cells.away if self.cells else ()))

    @cached_property
    def licences_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.licences)

    @cached_property
    def near_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.near)

    @cached_property
    def isolated_of(self) -> Mapping[int, tuple[int, ...]]:
        return named_by(self.isolated)

    @cached_property
    def memory(self) -> Ints:
        """MiB of each server's memory claim (S,): what a move of it has to carry."""
        return np.array([server.demand.get("memory_mib", 0) for server in self.cloud.servers], dtype=np.int64)

    @cached_property
    def cold(self) -> Bools:
        """(S,) whether a move of it stops a server that runs."""
        return np.array(
            [one.move is MoveKind.COLD and one.state is not ServerState.STOPPED for one in self.cloud.servers],
            dtype=bool,
        )

    @cached_property
    def cost(self) -> Floats:
        """(S,) price of moving each server, in MiB: MOVE_MIB and memory, more if dirtied fast or to be stopped."""
        dirty = np.array([one.dirty_mib_s or 0.0 for one in self.cloud.servers], dtype=float)
        base = MOVE_MIB + self.memory * (1.0 + np.minimum(dirty / DIRTY_FULL_MIB_S, 1.0))
        return np.where(self.cold, base * COLD_FACTOR, base)

    @cached_property
    def weight(self) -> Floats:
        """(R,) what a unit of each resource weighs: the scarcer the heavier."""
        total = self.capacity.sum(axis=1).astype(float)
        used = self.demand[self.start >= 0].sum(axis=0).astype(float)
        mean = np.maximum(total / max(1, len(self.hosts)), 1.0)
        fullness = np.clip(used / np.maximum(total, 1.0), 0.05, 1.0)
        weight: Floats = fullness**2 / mean
        return weight

    @cached_property
    def size(self) -> Floats:
        """(S,) how much of a mean host each server takes, scarce resources counting more."""
        size: Floats = self.demand @ self.weight
        return size

    @cached_property
    def wanted(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Per server the resources that it claims at all, with the amounts."""
        of_row = {
            row: tuple((r, amount) for r, amount in enumerate(row) if amount > 0)
            for row in set(map(tuple, self.demand.tolist()))
        }
        return tuple(of_row[row] for row in map(tuple, self.demand.tolist()))


def compile_problem(cloud: Cloud, primitives: tuple[Primitive, ...], *, failed: Iterable[HostName] = ()) -> Problem:
    """Arrays from the cloud and what its rules say. Unknown names in primitives are passed over.

    `failed`: hosts on which nothing runs, whatever the cloud says of them.
    """
    return _Compiler(cloud, frozenset(failed)).compiled(primitives)


class _Compiler:
    def __init__(self, cloud: Cloud, failed: frozenset[HostName]) -> None:
        self.cloud = cloud
        self.host_index = {host.name: index for index, host in enumerate(cloud.hosts)}
        self.server_index = {server.id: index for index, server in enumerate(cloud.servers)}
        start = [-1 if one.host is None else self.host_index.get(one.host, -1) for one in cloud.servers]
        self.start = np.array(start, dtype=np.int64)
        self.units: dict[Unit, tuple[Ints, int]] = {}
        self.masks: dict[frozenset[HostName], Bools] = {}
        self.rows: list[tuple[str, Bools]] = []  # one per hard Allowed
        self.rows_of: dict[int, list[int]] = {}
        self.priced: list[tuple[Bools, float]] = []
        self.priced_of: dict[int, list[int]] = {}
        self.homeless: list[Homeless] = []
        self.sets: dict[tuple[frozenset[HostName], ...], HostSets] = {}
        self.failed = {
            index for index, host in enumerate(cloud.hosts) if host.name in failed or not runs(cloud, host.name)
        }

    def compiled(self, primitives: tuple[Primitive, ...]) -> Problem:
        own = {one.resource: one for one in primitives if isinstance(one, Capacity) and one.demand is not None}
        resources = {resource: index for index, resource in enumerate((*self.cloud.resources, *own))}
        row_rules: dict[str, str] = {}
        capacity = np.full((len(resources), len(self.cloud.hosts)), UNLIMITED, dtype=np.int64)
        soft_capacity: list[tuple[int, Ints, float]] = []
        closed: dict[int, Reason] = {}
        fixed: dict[int, Reason] = {}
        at_most: list[Tally] = []
        spreads: list[Tally] = []
        together: list[SoftTogether] = []
        licences: list[Tally] = []
        near: list[Nearness] = []
        isolated: list[Tally] = []
        cells: CellRows | None = None
        for primitive in primitives:
            match primitive:
                case Capacity(rule=rule, resource=resource, capacity=amounts, soft=soft):
                    row_rules.setdefault(resource, rule)
                    row = np.array([amounts.get(host.name, 0) for host in self.cloud.hosts], dtype=np.int64)
                    if soft is None:
                        np.minimum(capacity[resources[resource]], row, out=capacity[resources[resource]])
                    else:
                        soft_capacity.append((resources[resource], row, soft))
                case Allowed():
                    self._allow(primitive)
                case Closed(rule=rule, why=why):
                    closed.update({self.host_index[host]: (rule, reason) for host, reason in why.items()})
                case Fixed(rule=rule, why=why):
                    for server, reason in why.items():
                        fixed.setdefault(self.server_index[server], (rule, reason))
                case AtMost(rule=rule, servers=servers, per=per, count=count, soft=soft):
                    at_most.append(Tally(rule, *self._units(per), self._indices(servers), count, soft))
                case Spread(rule=rule, servers=servers, over=over, at_least=least, soft=soft):
                    spreads.append(Tally(rule, *self._units(over), self._indices(servers), least, soft))
                case Together(soft=soft):
                    if soft is None:
                        self._keep_together(primitive)
                    else:
                        label = self._labels(primitive.host_sets)
                        together.append(SoftTogether(primitive.rule, self._indices(primitive.servers), label, soft))
                case AtMostUnits(rule=rule, servers=servers, per=per, count=count, soft=soft):
                    licences.append(Tally(rule, *self._units(per), self._indices(servers), count, soft))
                case Near(rule=rule, servers=servers, to=to, per=per, soft=soft):
                    others, unit = self._indices(to), self._units(per)
                    first = tuple(one for one in self._indices(servers) if one not in set(others))
                    near.append(Nearness(rule, Tally(rule, *unit, first, 0, soft), Tally(rule, *unit, others, 0, soft)))
                case Isolated(rule=rule, servers=servers, soft=soft):
                    isolated.append(Tally(rule, *self._units("host"), self._indices(servers), 0, soft))
                case AtOnce():
                    pass  # about the way, not about the end
                case Cells():
                    cells = cell_rows(self.cloud, primitive, self.server_index)
        allowed, class_of, allowed_by = self._classes()
        prices, price_of = self._prices()
        demand = self._demand([own[name].demand or {} for name in own])
        return Problem(
            cloud=self.cloud,
            hosts=tuple(self.host_index),
            servers=tuple(self.server_index),
            capacity=capacity,
            demand=demand,
            start=self.start,
            allowed=allowed,
            class_of=class_of,
            prices=prices,
            price_of=price_of,
            soft_capacity=tuple(soft_capacity),
            closed=closed,
            fixed=fixed,
            at_most=tuple(at_most),
            spreads=tuple(spreads),
            soft_together=tuple(together),
            homeless=tuple(self.homeless),
            allowed_by=allowed_by,
            resources=tuple(resources),
            row_rules=tuple(row_rules.get(name, name) for name in resources),
            licences=tuple(licences),
            near=tuple(near),
            isolated=tuple(isolated),
            cells=cells,
        )

    def _demand(self, own: Sequence[Mapping[ServerId, int]]) -> Ints:
        """(S, R) what servers claim of the cloud's resources, then what rules say of their own."""
        cloud = self.cloud
        claims = [[one.demand.get(resource, 0) for resource in cloud.resources] for one in cloud.servers]
        rows = np.array(claims, dtype=np.int64).reshape(len(cloud.servers), len(cloud.resources))
        more = [np.array([by.get(one.id, 0) for one in cloud.servers], dtype=np.int64) for by in own]
        return np.column_stack([rows, *more]) if more else rows

    def _indices(self, servers: tuple[ServerId, ...]) -> tuple[int, ...]:
        return tuple(self.server_index[one] for one in dict.fromkeys(servers) if one in self.server_index)

    def _mask(self, hosts: frozenset[HostName]) -> Bools:
        mask = self.masks.get(hosts)
        if mask is None:
            mask = self.masks[hosts] = np.zeros(len(self.host_index), dtype=bool)
            mask[[self.host_index[host] for host in hosts if host in self.host_index]] = True
        return mask

    def _labels(self, sets: tuple[frozenset[HostName], ...]) -> Ints:
        label = np.full(len(self.host_index), -1, dtype=np.int64)
        for number, hosts in reversed(tuple(enumerate(sets))):
            label[[self.host_index[host] for host in hosts if host in self.host_index]] = number
        return label

    def _units(self, per: Unit) -> tuple[Ints, int]:
        if per not in self.units:
            names: dict[str, int] = {}
            of: list[int] = [_number(names, host, per) for host in self.cloud.hosts]
            self.units[per] = (np.array(of, dtype=np.int64), len(names))
        return self.units[per]

    def _allow(self, primitive: Allowed) -> None:
        if primitive.soft is None:
            self._add_row(primitive.rule, self._indices(primitive.servers), self._mask(primitive.hosts))
            return
        self.priced.append((~self._mask(primitive.hosts), primitive.soft))
        for server in self._indices(primitive.servers):
            self.priced_of.setdefault(server, []).append(len(self.priced) - 1)

    def _add_row(self, rule: str, servers: tuple[int, ...], mask: Bools) -> None:
        self.rows.append((rule, mask))
        for server in servers:
            self.rows_of.setdefault(server, []).append(len(self.rows) - 1)

    def _keep_together(self, primitive: Together) -> None:
        """Servers move one by one, so those that are together cannot leave the set that they share.

        Only where the set is the one that any of them can ever choose is it the same as hosts that are allowed: all
        are in it, no other set shares a host with it, and one of them at least runs.
        """
        members = self._indices(primitive.servers)
        sets = self._host_sets(primitive.host_sets)
        standing = [host for host in self.start[list(members)].tolist() if host >= 0]
        held = sets.held(standing)
        homes = [one for one, count in held.items() if count == len(standing)]
        if len(homes) == 1 and homes[0] not in sets.shared and not self.failed.issuperset(standing):
            self._add_row(primitive.rule, members, self._mask(primitive.host_sets[homes[0]]))
        else:
            self.homeless.append(Homeless(primitive.rule, members, sets))

    def _host_sets(self, host_sets: tuple[frozenset[HostName], ...]) -> HostSets:
        known = self.sets.get(host_sets)
        if known is None:
            hosts = tuple(np.flatnonzero(self._mask(one)) for one in host_sets)
            of: dict[int, list[int]] = {}
            for number, here in enumerate(hosts):
                for host in here.tolist():
                    of.setdefault(host, []).append(number)
            shared = frozenset(one for numbers in of.values() if len(numbers) > 1 for one in numbers)
            known = self.sets[host_sets] = HostSets(hosts, {host: tuple(each) for host, each in of.items()}, shared)
        return known

    def _classes(self) -> tuple[Bools, Ints, dict[int, tuple[tuple[str, Bools], ...]]]:
        everywhere = np.ones(len(self.host_index), dtype=bool)
        keys: dict[tuple[int, ...], int] = {(): 0}
        rows = [everywhere]
        by: dict[int, tuple[tuple[str, Bools], ...]] = {0: ()}
        class_of = np.zeros(len(self.server_index), dtype=np.int64)
        for server, names in self.rows_of.items():
            key = tuple(names)
            if key not in keys:
                keys[key] = len(rows)
                by[len(rows)] = tuple(self.rows[index] for index in key)
                rows.append(np.logical_and.reduce([self.rows[index][1] for index in key]))
            class_of[server] = keys[key]
        return np.array(rows, dtype=bool), class_of, by

    def _prices(self) -> tuple[Floats, Ints]:
        keys: dict[tuple[int, ...], int] = {}
        rows: list[Floats] = []
        price_of = np.full(len(self.server_index), -1, dtype=np.int64)
        for server, indices in self.priced_of.items():
            key = tuple(indices)
            if key not in keys:
                keys[key] = len(rows)
                rows.append(np.sum([self.priced[index][0] * self.priced[index][1] for index in key], axis=0))
            price_of[server] = keys[key]
        return np.array(rows, dtype=float).reshape(len(rows), len(self.host_index)), price_of


def _number(names: dict[str, int], host: Host, per: Unit) -> int:
    return names.setdefault(unit_of(host, per), len(names))

"""A sequence for tight placements: large servers first, each once the others are packed so that it fits; pure.

Where every host is nearly full, a large server finds room only after many small ones were brought together, and a
search that moves one server at a time meets that late. Here CP-SAT says where the others are to stand so that one more
large server fits where it belongs, for the least memory moved. The way there is a smaller question of the same kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import TYPE_CHECKING

from restow.ids import HostName, ServerId
from restow_planner.deadline import Deadline
from restow_planner.ordering.greedy import Greedy
from restow_planner.ordering.grid import Grid
from restow_planner.ordering.state import Hop, State, host_of
from restow_planner.rules.units import unit_of
from restow_planner.solvers import cp_sat

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    Stands = dict[tuple[int, int], cp_model.IntVar]

WORK_S = 1.0  # deterministic seconds of CP-SAT for one packing
CELLS_MAX = 20_000  # servers times hosts of a packing
PACKINGS_MAX = 200
CANDIDATES = 4  # servers tried for the next place, the largest first
WALKS = 6  # walks to one packing, each with other dice
PARKED, TAKEN_AWAY = 2, 3  # prices of a move that is not owed, against one that is


@dataclass(slots=True)
class Clearing:
    """One search from `start` to `targets`. Only the servers of `grid` are moved, and onto its hosts."""

    start: State
    targets: Mapping[ServerId, HostName]
    grid: Grid
    rank: Mapping[ServerId, int]
    untouchable: frozenset[ServerId]
    deadline: Deadline
    seed: int
    packings: int = 0

    def run(self) -> tuple[Hop, ...] | None:
        """All hops, those before `start` too; None: no way was found."""
        if len(self.grid.servers) * len(self.grid.hosts) > CELLS_MAX:
            return None
        state: State | None = self.start
        while state is not None and not self.deadline.over():
            if (end := self._walk(state, self.targets)) is not None:
                return tuple(end.hops)
            state = self._served(state)
        return None

    def _served(self, state: State) -> State | None:
        """With one more of the largest that wait where it belongs."""
        here = self._placement(state)
        waiting = [index for index, at in enumerate(here) if at != self.grid.goal[index]]
        for index in sorted(waiting, key=lambda one: (-self._size(one), one))[:CANDIDATES]:
            server, target = self.grid.servers[index], self.grid.hosts[self.grid.goal[index]]
            aims = self.packing(here, index)
            there = None if aims is None else self._walk(state, aims)
            if there is not None and there.fits(server, target):
                there.go(server, target)
                return there
        return None

    def _walk(self, state: State, aims: Mapping[ServerId, HostName]) -> State | None:
        for trial in range(WALKS):
            if trial and self.deadline.over():
                break
            chance = Random(self.seed * 1000 + trial) if trial else None  # noqa: S311
            walk = Greedy(state.copy(), aims, self.rank, self.untouchable, chance=chance)
            if walk.run():
                return walk.state
        return None

    def _placement(self, state: State) -> list[int]:
        number = {host: index for index, host in enumerate(self.grid.hosts)}
        return [number[host_of(state.place(server))] for server in self.grid.servers]

    def _size(self, index: int) -> float:
        """The largest share that the server takes of the host where it belongs."""
        capacity = self.grid.capacity[self.grid.goal[index]]
        return max(
            (amount / most for amount, most in zip(self.grid.amounts[index], capacity, strict=True) if amount and most),
            default=0.0,
        )

    # --- one packing ---------------------------------------------------------------------------

    def packing(self, here: list[int], served: int) -> dict[ServerId, HostName] | None:
        """Who is to be moved where so that `served` fits where it belongs; None: no such packing was found.

        Those that are at least as large and stand where they belong stay there.
        """
        from ortools.sat.python import cp_model

        self.packings += 1
        if self.packings > PACKINGS_MAX:
            return None
        grid, model, stands = self.grid, cp_model.CpModel(), {}
        prices = []
        for index, at in enumerate(here):
            goal = grid.goal[index]
            if index == served or (at == goal and self._size(index) >= self._size(served)):
                stands[index, at] = model.new_constant(1)
                continue
            options = sorted({at, *grid.open[index]})
            for host in options:
                stands[index, host] = model.new_bool_var("")
                if host != at:
                    price = TAKEN_AWAY if at == goal else 1 if host == goal else PARKED
                    prices.append(price * grid.memory[index] * stands[index, host])
            model.add_exactly_one(stands[index, host] for host in options)
        stands[served, grid.goal[served]] = model.new_constant(1)  # besides where it is: it holds both while it moves
        self._keep_capacity(model, stands, here)
        self._keep_apart(model, stands, here)
        model.minimize(sum(prices))
        solver, status = cp_sat.run(model, work_s=WORK_S, deadline=self.deadline, seed=self.seed)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None
        return {
            grid.servers[index]: grid.hosts[host]
            for (index, host), chosen in stands.items()
            if index != served and host != here[index] and solver.value(chosen)
        }

    def _keep_capacity(self, model: "cp_model.CpModel", stands: "Stands", here: list[int]) -> None:
        """What is overfull may stay as full as it is."""
        for host, capacity in enumerate(self.grid.capacity):
            there = [(index, chosen) for (index, at), chosen in stands.items() if at == host]
            for axis, most in enumerate(capacity):
                now = sum(self.grid.amounts[index][axis] for index, at in enumerate(here) if at == host)
                model.add(sum(self.grid.amounts[index][axis] * chosen for index, chosen in there) <= max(most, now))

    def _keep_apart(self, model: "cp_model.CpModel", stands: "Stands", here: list[int]) -> None:
        """At most so many of a group in a unit, or as many as there are; other rules on groups are left to the walk."""
        world, grid = self.start.world, self.grid
        number = {server: index for index, server in enumerate(grid.servers)}
        for rule in {id(one): one for server in grid.servers for one in world.at_most_of.get(server, ())}.values():
            units = [unit_of(world.cloud.host_by_name[host], rule.per) for host in grid.hosts]
            movable = [number[server] for server in rule.servers if server in number]
            places = [self.start.somewhere(server) for server in rule.servers if server not in number]
            others = [unit_of(world.cloud.host_by_name[host], rule.per) for host in places if host is not None]
            for unit in dict.fromkeys(units):
                fixed = others.count(unit)
                now = fixed + sum(units[here[index]] == unit for index in movable)
                hosts = [host for host, at in enumerate(units) if at == unit]
                there = [stands[one] for one in product(movable, hosts) if one in stands]
                model.add(fixed + sum(there) <= max(rule.count, now))

"""How many servers of a shape each host has room for, NUMA cells counted: the counting behind `defragment`; pure.

On a host that tells its cells, a slot lies within one cell, as for a flavor with one NUMA node: such room suits any
server of the shape. A shape larger than every cell of a host cannot mean that: there the host counts as a whole.
"""

import numpy as np

from restow_planner.goals.work import Work
from restow_planner.problem import Bools, Ints

WITHOUT_END = 10**12
"""Of a resource that a cell says nothing of."""


class Slots:
    """`shape` (R,) is what a slot takes."""

    def __init__(self, work: Work, shape: Ints) -> None:
        self._board, self._problem = work.board, work.problem
        self.shape, self._wanted = shape, np.flatnonzero(shape)
        self.count = max((len(host.numa) for host in self._problem.cloud.hosts), default=0)
        self.room = self._cell_room()
        """(N, W, H) what the cells have, of each resource that the shape takes; none where there is no such cell."""
        self.celled: Bools = np.any(self._in_cells(self.room) > 0, axis=0)
        """(H,) hosts of which a cell, when empty, holds the shape."""

    def _cell_room(self) -> Ints:
        problem, names = self._problem, [self._problem.resources[one] for one in self._wanted.tolist()]
        room = np.zeros((self.count, len(names), len(problem.hosts)), dtype=np.int64)
        for index, host in enumerate(problem.cloud.hosts if self.count else ()):
            for place, cell in enumerate(host.numa):
                room[place, :, index] = [cell.get(name, WITHOUT_END) for name in names]
        return room

    def _in_cells(self, free: Ints) -> Ints:
        """(N, H) slots of each cell, for what is free in it (N, W, H)."""
        found: Ints = (np.maximum(free, 0) // self.shape[self._wanted][:, None]).min(axis=1, initial=WITHOUT_END)
        return found

    def cells_free(self) -> Ints:
        """(N, W, H) what is left in each cell. Who has arrived counts in every cell: Nova chooses."""
        joint, free = self._board.joint, self.room.copy()
        if joint is not None and joint.cells_free is not None and self._problem.cells is not None:
            known = {name: row for row, name in enumerate(self._problem.cells.names)}
            for place in range(self.count):
                for column, resource in enumerate(self._wanted.tolist()):
                    row = known.get(f"{self._problem.resources[resource]} of cell {place}")
                    if row is not None:
                        free[place, column] = np.minimum(free[place, column], joint.cells_free[row])
        return free

    def claims(self, server: int, host: int | None) -> Ints:
        """(N, W) what the server takes in the cells of this host; None: of any where it arrives."""
        found, cells = np.zeros((self.count, len(self._wanted)), dtype=np.int64), self._problem.cells
        if cells is None or server not in cells.away:
            return found
        start = int(self._problem.start[server])
        amounts = cells.away[server] if host is None else cells.taken(server, host, start)
        known = {name: row for row, name in enumerate(cells.names)}
        for place in range(self.count):
            for column, resource in enumerate(self._wanted.tolist()):
                row = known.get(f"{self._problem.resources[resource]} of cell {place}")
                found[place, column] = 0 if row is None else amounts[row]
        return found

    def per_host(self, arriving: int | None = None) -> Ints:
        """(H,) free slots now, or on each host if this server arrived there; those that take nothing in have none."""
        free = self._board.free[self._wanted]
        if arriving is not None:
            free = free - self._problem.demand[arriving][self._wanted][:, None]
        slots = (np.maximum(free, 0) // self.shape[self._wanted][:, None]).min(axis=0)
        if self.celled.any():
            cells = self.cells_free()
            if arriving is not None:
                cells = cells - self.claims(arriving, None)[:, :, None]
            slots = np.where(self.celled, np.minimum(slots, self._in_cells(cells).sum(axis=0)), slots)
        found: Ints = np.where(self._board.open, slots, 0)
        return found

    def total(self) -> int:
        return int(self.per_host().sum())

    def most(self) -> int:
        """A bound: the free room of the whole domain as one host, but no more than each open host could hold."""
        board, problem, wanted = self._board, self._problem, self._wanted
        here = np.flatnonzero(board.open)
        if not len(here):
            return 0
        room = np.maximum(board.free[:, here], 0)
        each = np.maximum((problem.capacity[:, here][wanted] // self.shape[wanted][:, None]).min(axis=0), 0)
        if self.celled.any():
            each = np.where(self.celled[here], np.minimum(each, self._in_cells(self.room).sum(axis=0)[here]), each)
        total = room[wanted].sum(axis=1) // self.shape[wanted]
        return int(min(total.min(), each.sum()))

    def lacking(self, hosts: Ints) -> tuple[Ints, Bools]:
        """(R, hosts) what the host lacks for one slot more, and (hosts,) whether it could hold that at all."""
        free = np.maximum(self._board.free[:, hosts], 0)
        slots = (free[self._wanted] // self.shape[self._wanted][:, None]).min(axis=0)
        slots = np.where(self.celled[hosts], self.per_host()[hosts], slots) if self.celled.any() else slots
        room = (slots + 1) * self.shape[:, None]
        need: Ints = np.maximum(room - self._board.free[:, hosts], 0)
        possible: Bools = np.all(self._problem.capacity[:, hosts] >= room, axis=0)
        return need, possible

    def lacking_in_cells(self, host: int) -> list[tuple[int, Ints]]:
        """The cells of this host that could hold one slot more than now, and what each lacks for it (W,)."""
        free, shape = self.cells_free()[:, :, host], self.shape[self._wanted]
        slots = (np.maximum(free, 0) // shape).min(axis=1)
        room = (slots + 1)[:, None] * shape
        return [
            (place, np.maximum(room[place] - free[place], 0))
            for place in range(self.count)
            if (self.room[place, :, host] >= room[place]).all()
        ]

"""NUMA cells as plain arrays; pure."""

from collections.abc import Mapping

import numpy as np

from restow.cloud.model import Cloud, Resource
from restow.ids import ServerId
from restow_planner.arrays import UNLIMITED, CellRows, Ints
from restow_planner.primitives import Cells


def cell_rows(cloud: Cloud, cells: Cells, server_index: Mapping[ServerId, int]) -> CellRows:
    """One row for each number of a cell and each resource that a server claims in a cell."""
    resources = sorted({name for claims in cells.largest.values() for name in claims})
    count = max((len(one) for one in cells.cells.values()), default=0)
    rows = [(place, name) for place in range(count) for name in resources]
    room = np.full((len(rows), len(cloud.hosts)), UNLIMITED, dtype=np.int64)
    for index, host in enumerate(cloud.hosts):
        here = cells.cells.get(host.name, ())
        for row, (place, name) in enumerate(rows):
            if place < len(here):
                room[row, index] = here[place].get(name, 0)
    away: dict[int, Ints] = {}
    home: dict[int, Ints] = {}
    for server, claims in cells.largest.items():
        index = server_index[server]
        away[index] = np.array([claims.get(name, 0) for _, name in rows], dtype=np.int64)
        at = cells.at_home.get(server)
        home[index] = away[index] if at is None else _at(at, rows)
    return CellRows(cells.rule, tuple(f"{name} of cell {place}" for place, name in rows), room, away, home)


def _at(cells: tuple[Mapping[Resource, int], ...], rows: list[tuple[int, Resource]]) -> Ints:
    amounts = [cells[place].get(name, 0) if place < len(cells) else 0 for place, name in rows]
    return np.array(amounts, dtype=np.int64)

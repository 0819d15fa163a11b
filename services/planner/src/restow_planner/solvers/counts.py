"""Members of a rule per host, rack or zone, counted when first asked for; pure."""

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from restow_planner.problem import Ints, Tally


class Counts(Sequence[Ints]):
    """How many members of each tally stand in each of its units; `standing` says on which host a member counts.

    Counted when first asked for: of thousands of groups a plan touches few, and each has a number per unit.
    """

    def __init__(self, tallies: Sequence[Tally], standing: Callable[[int], int]) -> None:
        self._tallies, self._standing = tallies, standing
        self._known: dict[int, Ints] = {}

    def __len__(self) -> int:
        return len(self._tallies)

    @overload
    def __getitem__(self, index: int) -> Ints: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Ints]: ...
    def __getitem__(self, index: int | slice) -> Ints | Sequence[Ints]:
        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        known = self._known.get(index)
        if known is None:
            if not 0 <= index < len(self._tallies):
                raise IndexError(index)
            tally = self._tallies[index]
            units = [int(tally.unit[host]) for one in tally.members if (host := self._standing(one)) >= 0]
            known = self._known[index] = np.bincount(np.array(units, dtype=np.int64), minlength=tally.units)
        return known

    def shift(self, index: int, old: int, new: int) -> None:
        """A member leaves host `old` for host `new`; to be told before `standing` knows."""
        known, unit = self._known.get(index), self._tallies[index].unit
        if known is not None and old >= 0:
            known[unit[old]] -= 1
        if known is not None and new >= 0:
            known[unit[new]] += 1

"""By how much rules about several servers were broken at the start: so much they may stay, and no more; pure."""

from collections.abc import Iterable

from restow_planner.problem import Problem, Tally


class Leeway:
    """Servers in `dead` run nowhere: what their death has broken the plan has not, and what it has mended is mended.

    Counted when first asked for: of thousands of rules a plan touches few.
    """

    def __init__(self, problem: Problem, dead: set[int]) -> None:
        self._problem, self._dead = problem, dead
        self._known: dict[tuple[str, int], int] = {}

    def forget(self) -> None:
        """More have died."""
        self._known.clear()

    def spread(self, index: int, *, with_the_dead: bool = False) -> int:
        """How many units this Spread may have too few; also as if the dead still stood where they did."""
        key = ("with the dead" if with_the_dead else "spread", index)
        if key not in self._known:
            tally = self._problem.spreads[index]
            units = self._units(tally, set() if with_the_dead else self._dead)
            self._known[key] = max(0, min(tally.number, len(units)) - len(set(units)))
        return self._known[key]

    def near(self, index: int, *, with_the_dead: bool = False) -> int:
        """How many servers of this Near may be without company; also as if the dead still stood where they did."""
        key = ("near with the dead" if with_the_dead else "near", index)
        if key not in self._known:
            rule, dead = self._problem.near[index], set[int]() if with_the_dead else self._dead
            served = set(self._units(rule.to, dead))
            self._known[key] = sum(unit not in served for unit in self._units(rule.servers, dead))
        return self._known[key]

    def licences(self, index: int) -> int:
        """How many units the servers of this licence may hold."""
        key = ("licence", index)
        if key not in self._known:
            tally = self._problem.licences[index]
            self._known[key] = max(tally.number, len(set(self._units(tally, self._dead))))
        return self._known[key]

    def apart(self, index: int) -> int:
        """How many members of this Homeless may be outside the set that holds most."""
        key = ("apart", index)
        if key not in self._known:
            group = self._problem.homeless[index]
            standing = self._standing(group.members, self._dead)
            self._known[key] = len(standing) - max(group.sets.held(standing).values(), default=0)
        return self._known[key]

    def _units(self, tally: Tally, dead: set[int]) -> list[int]:
        return [int(tally.unit[host]) for host in self._standing(tally.members, dead)]

    def _standing(self, members: Iterable[int], dead: set[int]) -> list[int]:
        start = self._problem.start
        return [int(start[one]) for one in members if one not in dead and start[one] >= 0]

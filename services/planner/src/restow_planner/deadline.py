"""The time that a plan may take, and what the clock said about it: the planner's only look at a clock.

A clock cuts and never chooses. What it said is kept with the plan. Whoever makes that plan again gives the same
answers at the same questions, and gets the same plan on a faster or a busier machine.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LEAST_S = 0.01
REFUSED = -1
READING_RULES_S = 2.3e-6
"""Seconds that reading the rules took for each server where `closing_s` was measured."""
PACE_MAX = 8.0
LIBRARY_S = 3_600.0
"""What a library gets by the clock when earlier answers are given again: there its work limits it, not the clock."""


def _nothing() -> float:
    return 0.0


@dataclass(slots=True)
class Clock:
    """All that was asked while one plan is made. `heard`: the answers of an earlier time, to be given again."""

    heard: "Clock | None" = None
    looks: int = 0
    turns: list[int] = field(default_factory=list)
    """The looks at which the answer turned: to "over", back to "not over", and so on."""
    grants: int = 0
    halved: dict[int, int] = field(default_factory=dict)
    """Of each grant of work that was not whole: how often it was halved; REFUSED if it was not given at all."""
    torn: bool = False
    """Whether the clock ended a library's work in the middle: where, nobody can say again."""

    @classmethod
    def again(cls, kept: Mapping[str, Any] | None) -> "Clock":
        """A clock that says what `kept` says, as a plan's metadata have it. None: it was never over."""
        kept = kept or {}
        halved = {int(grant): int(times) for grant, times in kept.get("halved", ())}
        return cls(heard=cls(turns=list(kept.get("over", ())), halved=halved, torn=bool(kept.get("torn"))))

    def kept(self) -> dict[str, Any]:
        """For the plan; empty if the clock did not cut anything."""
        said = self if self.heard is None else self.heard
        found: dict[str, Any] = {"over": said.turns} if said.turns else {}
        if said.halved:
            found["halved"] = [list(pair) for pair in sorted(said.halved.items())]
        return found | ({"torn": True} if said.torn else {})

    def over(self, now: Callable[[], bool]) -> bool:
        look = self.looks
        self.looks += 1
        if self.heard is not None:
            return bool(bisect_right(self.heard.turns, look) % 2)
        late = now()
        if late != bool(len(self.turns) % 2):
            self.turns.append(look)
        return late

    def granted(self, halvings: Callable[[], int]) -> int:
        """How often the work that is asked for must be halved."""
        grant = self.grants
        self.grants += 1
        if self.heard is not None:
            return self.heard.halved.get(grant, 0)
        times = halvings()
        if times:
            self.halved[grant] = times
        return times


def was_cut(kept: Mapping[str, Any] | None) -> bool:
    """Whether, by what a plan keeps of its clock, a search ended because its time or its memory was over."""
    return bool(kept and (kept.get("over") or kept.get("torn")))


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a piece of work. `closing`: seconds that must be left after it, as they are known at that moment."""

    clock: Clock
    ends: float
    last: float
    closing: Callable[[], float] = _nothing
    began: float = 0.0
    pace: float = 1.0
    """How many times slower this machine is now than the one where `closing_s` was measured; never less than 1."""

    @classmethod
    def after(cls, seconds: float, clock: Clock | None = None) -> "Deadline":
        began = time.monotonic()
        return cls(clock or Clock(), began + seconds, began + seconds, began=began)

    def paced(self, servers: int) -> "Deadline":
        """Told when the rules of so many servers have been read: by the time since the beginning, how fast we are."""
        usual = READING_RULES_S * max(1, servers)
        return replace(self, pace=min(PACE_MAX, max(1.0, (time.monotonic() - self.began) / usual)))

    def closing_s(self, servers: int, moves: int) -> float:
        """Seconds to order and judge so many moves in a cloud of so many servers: a third above what was measured."""
        return self.pace * (1.0e-5 * servers + 4.5e-4 * moves)

    def within(self, seconds: float) -> "Deadline":
        """The end of a part that may take so long."""
        return replace(self, ends=min(self.ends, time.monotonic() + seconds))

    def part(self, share: float) -> "Deadline":
        """The end of a part that may take this share of what is left."""
        return self.within(self._left() * share)

    def over(self, *, keep: float = 0.0) -> bool:
        """Whether no more than `keep` seconds are left."""
        return self.clock.over(lambda: self._left() <= keep)

    def budget(self, share: float, *, most: float) -> float:
        """Seconds of work: `most`, halved until it is within this share of what is left; 0 if that is next to nothing.

        In such steps a machine that is somewhat slower, or busy, grants the same and so gets the same answer.
        """

        def halvings() -> int:
            left, step, times = self._left() * share, most, 0
            while step > left and step > LEAST_S:
                step, times = step / 2, times + 1
            return times if step <= left else REFUSED

        times = self.clock.granted(halvings)
        return 0.0 if times == REFUSED else most / 2**times

    def wall_s(self, most: float = LIBRARY_S) -> float:
        """Seconds after which a library that works by a limit of its own is to be stopped all the same."""
        return LIBRARY_S if self.clock.heard is not None else min(most, max(LEAST_S, self._left()))

    def countdown(self) -> Callable[[], float]:
        """The seconds left by `wall_s`, for work that asks again and again and is torn where it meets the end."""
        ends = time.monotonic() + self.wall_s()

        def left() -> float:
            seconds = ends - time.monotonic()
            if seconds <= 0.0:
                self.tear()
            return seconds

        return left

    def tear(self) -> None:
        """Note that a library was stopped by `wall_s`."""
        self.clock.torn = True

    def _left(self) -> float:
        return max(0.0, min(self.ends, self.last - self.closing()) - time.monotonic())

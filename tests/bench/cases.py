"""What an instance of a benchmark is: a question to `restow solve`, or a task for one of the planner's solvers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What an instance came to. `figure` is what the family is measured by, None where there is none.

    `bound`: no answer can be better than this; `proven`: the figure is known to be the best, or that there is none.
    `body`: the answer in the form that the family's referee takes.
    """

    figure: float | None
    bound: float | None
    proven: bool
    solve_s: float
    body: bytes
    told: str = ""  # shown in place of the figure


@dataclass(frozen=True, slots=True)
class Question:
    """A snapshot and a request, answered by `restow solve` and judged by `restow check`.

    `beside`: what is written next to the answer for those who judge it again, by its suffix.
    `line`: the line of the chart that it is a point of, and how many hosts it has.
    `peer`: asks another program the same; what it came to is shown in place of what is published.
    """

    name: str  # its path within the family
    cloud: bytes
    request: dict[str, Any]
    read: Callable[[dict[str, Any]], Answer]  # from the plan
    published: str = "-"
    suffix: str = ".json"
    beside: Mapping[str, bytes] = field(default_factory=dict)
    line: tuple[str, int] | None = None
    peer: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """An instance that is no cloud: the family's `solve(folder, name, limit_s)` answers it, in a process of its own."""

    name: str
    published: str = "-"
    suffix: str = ".json"
    judge: Callable[[bytes], str] | None = None  # "ok", or what is wrong with the answer

"""What the referee says of a plan; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `kind` is one of: format, step, rule, order, goal, schedule, not-proven."""

    kind: str
    why: str
    step: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}" if self.step is None else f"{self.kind}: step {self.step}: {self.why}"

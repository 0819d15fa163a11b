"""Figures of a plan."""

import json
from typing import Any

from bench.cases import Answer

GONE = 1e-9


def memory_moved(plan: dict[str, Any]) -> Answer:
    """MiB that the plan moves; proven where the ordering is known to be the cheapest, or none exists."""
    if plan["outcome"] != "plan":
        names = ", ".join(sorted({b["server"] for b in plan["blockers"] if b["server"]}))
        told = f"{plan['outcome']} ({names})" if names else plan["outcome"]
        return Answer(None, None, plan["outcome"] == "impossible", plan["solve_s"], as_body(plan), told)
    proven = bool(plan["metadata"].get("least_memory_moved"))
    figure = float(plan["moved_mib"])
    return Answer(figure, figure if proven else None, proven, plan["solve_s"], as_body(plan), f"{figure:.0f} MiB")


def served(plan: dict[str, Any]) -> Answer:
    """How many servers could not be served."""
    steps = [step for step in plan["steps"] if step["server"]]
    left = float(sum(1 for blocker in plan["blockers"] if blocker["server"]))
    told = f"{plan['outcome']}: {len({s['server'] for s in steps})} servers in {len(steps)} moves, {left:.0f} left"
    return Answer(left, 0.0, left < GONE, plan["solve_s"], as_body(plan), told)


def as_body(plan: dict[str, Any]) -> bytes:
    return json.dumps(plan).encode()

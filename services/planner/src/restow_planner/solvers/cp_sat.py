"""How CP-SAT is run: one worker, a fixed seed and a limit of work, so that it repeats itself; pure.

Its deterministic seconds are about real ones on a plain core. The clock ends it only where they are not.
"""

from typing import TYPE_CHECKING

from restow_planner.deadline import Deadline

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

WALL_FACTOR = 3.0
MEMORY_MIB_MAX = 2_048
"""The process may hold so much when CP-SAT gives up: a plan without its help is better than a killed planner."""

NO_MEMORY = (MemoryError, ImportError)
"""What says that memory has run out: a library that is loaded when first needed says it in its own way."""


def run(
    model: "cp_model.CpModel", *, work_s: float, deadline: Deadline, seed: int
) -> "tuple[cp_model.CpSolver, cp_model.CpSolverStatus]":
    """The solver after so many deterministic seconds at most, and its status."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    wall_s = deadline.wall_s(work_s * WALL_FACTOR)
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = work_s
    solver.parameters.max_time_in_seconds = wall_s
    solver.parameters.max_memory_in_mb = MEMORY_MIB_MAX
    status = solver.solve(model)
    if status in (cp_model.FEASIBLE, cp_model.UNKNOWN) and solver.wall_time >= wall_s:
        deadline.tear()
    return solver, status

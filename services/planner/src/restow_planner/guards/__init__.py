"""Every reason not to plan, one file each. To add one: write its file, name it here, test it. Pure."""

from restow_planner.guards.base import Facts, Guard, Stop
from restow_planner.guards.empty_cloud import EmptyCloud
from restow_planner.guards.open_plans import OpenPlans
from restow_planner.guards.snapshot_age import SnapshotAge

__all__ = ["GUARDS", "Facts", "Guard", "Stop", "first_stop"]

GUARDS: tuple[Guard, ...] = (EmptyCloud(), SnapshotAge(), OpenPlans())


def first_stop(facts: Facts) -> Stop | None:
    """The first guard that says no, or None."""
    return next((stop for guard in GUARDS if (stop := guard.judge(facts)) is not None), None)

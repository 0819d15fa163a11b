"""The planner as a service: one handler of commands, and of what came of plans."""

from restow.runtime.service import Context, Service
from restow_planner.handler import PlannerHandler


def build(context: Context) -> Service:
    return Service(
        name="planner",
        handlers=(PlannerHandler(context),),
        checks=(("database", context.database.ping),),
    )

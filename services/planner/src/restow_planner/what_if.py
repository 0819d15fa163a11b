"""What if: a plan on a changed cloud, and beside it what the plan is without the changes; pure."""

from restow.cloud.changes import changed
from restow.cloud.model import Cloud
from restow.errors import BadInputError
from restow.messages.plan import Plan
from restow.messages.request import AnyRequest, Changes
from restow_planner.beside import BESIDE, DIFFERENCE, difference, without
from restow_planner.deadline import Deadline
from restow_planner.plan import plan_for

SHARE = 0.5
"""Of the time, for the plan without the changes; the plan with them gets what is left."""


def plan_if(cloud: Cloud, changes: Changes, request: AnyRequest, *, plan_id: str) -> Plan:
    """The plan on the changed cloud; its metadata tell of the plan without the changes. One time limit for both.

    Raises BadInputError where the changes, or on the changed cloud the request, name what is not there.
    """
    left = Deadline.after(request.limits.time_limit_s).countdown()
    other = changed(cloud, changes)
    old: Plan | None = None
    why = ""
    try:
        old = plan_for(cloud, request, plan_id=plan_id, seconds=left() * SHARE)
    except BadInputError as error:
        why = f"the cloud as it is cannot be asked this: {error}"
    new = plan_for(other, request, plan_id=plan_id, seconds=left())
    told = {BESIDE: without(old, why), DIFFERENCE: None if old is None else difference(cloud, old, new)}
    return new.model_copy(update={"metadata": new.metadata | told})

"""So many optional plans wait or run in a domain that another one would only be confusing; pure."""

from restow.messages.request import Mode
from restow_planner.guards.base import Facts, Stop, is_optional

OPEN_OPTIONAL_MAX = 10


class OpenPlans:
    name = "open-plans"

    def judge(self, facts: Facts) -> Stop | None:
        if facts.request.mode is Mode.DRY_RUN or not is_optional(facts.request):
            return None
        if facts.open_optional < OPEN_OPTIONAL_MAX:
            return None
        return Stop(
            self.name,
            f"{facts.open_optional} optional plans of {facts.cloud.domain} are proposed or run already, "
            f"{OPEN_OPTIONAL_MAX} are the most: approve, reject or cancel one",
        )

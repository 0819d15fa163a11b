"""A cloud without hosts is a cloud that was not read; pure."""

from restow_planner.guards.base import Facts, Stop


class EmptyCloud:
    name = "empty-cloud"

    def judge(self, facts: Facts) -> Stop | None:
        if facts.cloud.hosts:
            return None
        return Stop(self.name, f"domain {facts.cloud.domain} shows no host at all: nothing is decided on that")

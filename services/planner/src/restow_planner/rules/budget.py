"""Budget: at most so many of these servers are on their way at the same time; pure.

A server is on its way while it holds resources on two hosts. One that is rebuilt or started did not run before: that
disrupts nobody. What a soft budget charges is due at the end, when nobody is on the way any more: nothing.
"""

from collections.abc import Iterable

from restow.cloud.model import Budget, Cloud
from restow_planner.primitives import AtOnce, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known

ENDS_OF_A_MOVE = 2


class BudgetRule:
    """Kept by what the steps wait for; where the servers end is all the same to it."""

    name = "budget"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Budget):
                yield AtOnce(f"budget {index}", known(cloud, spec.servers), spec.at_once, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Budget) and spec.soft is None:
                going = [one for one in known(cloud, spec.servers) if len(set(where.get(one, ()))) >= ENDS_OF_A_MOVE]
                if len(going) > spec.at_once:
                    why = f"{len(going)} of the servers are on their way at once, at most {spec.at_once} may be"
                    yield Violation(f"budget {index}", f"budget {index}", len(going) - spec.at_once, why)

"""What a goal is: it checks the names in its request, and works on the desk; pure."""

from typing import Any, Protocol

from restow_planner.goals.names import Names
from restow_planner.goals.work import Verdict, Work


class Goal(Protocol):
    """`request` is the message class that asks for this goal; both methods are given one of these."""

    @property
    def request(self) -> type[Any]: ...

    def check(self, request: Any, names: Names, at: str) -> None:
        """Tell `names` what of the request must exist in the cloud; `at` is the path in front of its fields."""

    def pursue(self, work: Work, request: Any) -> Verdict:
        """Change the board towards the goal, within the limits; never break what holds."""

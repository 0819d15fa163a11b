"""What a rule is: it says itself in primitives, and judges a placement without any solver; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow_planner.primitives import Primitive

Occupancy = Mapping[ServerId, tuple[HostName, ...]]
"""Where each server holds its resources: one host; two while it moves (source, target); none if it runs nowhere."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken hard rule.

    `subject` is the host, rack, zone, server or group that breaks it, `amount` by how much:
    a plan may start from a cloud that breaks rules, but no (rule, subject) may ever get worse.
    """

    rule: str  # "capacity vcpu", "anti-affinity g1", "ban 3", …
    subject: str
    amount: float
    why: str


class Rule(Protocol):
    """One kind of rule for all its instances in a cloud. `name` is the kind."""

    @property
    def name(self) -> str: ...

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]: ...

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        """Every broken hard instance; needs no solver and shares no code with `primitives`."""

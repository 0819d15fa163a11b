"""Every rule, one file each. To add one: write its file, name it here, test it. Pure."""

from restow.cloud.model import Cloud
from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    AtOnce,
    Capacity,
    Isolated,
    Near,
    Primitive,
    Spread,
    Together,
)
from restow_planner.rules.aggregates import AggregateRule
from restow_planner.rules.allow import AllowRule
from restow_planner.rules.among import AmongRule
from restow_planner.rules.at_most import AtMostRule
from restow_planner.rules.ban import BanRule
from restow_planner.rules.base import Occupancy, Rule, Violation
from restow_planner.rules.budget import BudgetRule
from restow_planner.rules.capacity import CapacityRule
from restow_planner.rules.cpu import CpuRule
from restow_planner.rules.dedicate import DedicateRule
from restow_planner.rules.devices import DeviceRule
from restow_planner.rules.groups import GroupRule
from restow_planner.rules.host_state import HostStateRule
from restow_planner.rules.isolate import IsolateRule
from restow_planner.rules.licence import LicenceRule
from restow_planner.rules.load import LoadRule
from restow_planner.rules.near import NearRule
from restow_planner.rules.numa import NumaRule
from restow_planner.rules.reserve import ReserveRule
from restow_planner.rules.residency import ResidencyRule
from restow_planner.rules.services import ServiceRule
from restow_planner.rules.spread import SpreadRule
from restow_planner.rules.storage import StorageRule
from restow_planner.rules.together import TogetherRule
from restow_planner.rules.traits import TraitRule
from restow_planner.rules.unmovable import UnmovableRule
from restow_planner.rules.zone_pin import ZonePinRule

RULES: tuple[Rule, ...] = (
    CapacityRule(),
    ReserveRule(),
    HostStateRule(),
    UnmovableRule(),
    ZonePinRule(),
    TraitRule(),
    GroupRule(),
    AllowRule(),
    BanRule(),
    AtMostRule(),
    SpreadRule(),
    TogetherRule(),
    AmongRule(),
    LoadRule(),
    NearRule(),
    LicenceRule(),
    ResidencyRule(),
    DedicateRule(),
    IsolateRule(),
    BudgetRule(),
    AggregateRule(),
    CpuRule(),
    StorageRule(),
    DeviceRule(),
    ServiceRule(),
    NumaRule(),
)


def all_primitives(cloud: Cloud) -> tuple[Primitive, ...]:
    """What all rules say, hard and soft."""
    return tuple(primitive for rule in RULES for primitive in rule.primitives(cloud))


def hard_primitives(cloud: Cloud) -> tuple[Primitive, ...]:
    """What must hold at every instant: a soft rule has a price at the end only."""
    return tuple(primitive for primitive in all_primitives(cloud) if price_of(primitive) is None)


def price_of(primitive: Primitive) -> float | None:
    """The price of breaking this primitive, or None where it is hard."""
    match primitive:
        case Capacity() | Allowed() | AtMost() | Spread() | Together() | AtMostUnits() | Near() | Isolated() | AtOnce():
            return primitive.soft
        case _:
            return None


def all_violations(cloud: Cloud, where: Occupancy) -> tuple[Violation, ...]:
    """Every broken hard rule, judged without solver and without primitives."""
    return tuple(violation for rule in RULES for violation in rule.violations(cloud, where))


def worse(before: tuple[Violation, ...], after: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """The violations that are new, or larger than they were."""
    amounts: dict[tuple[str, str], float] = {}
    for violation in before:
        key = (violation.rule, violation.subject)
        amounts[key] = max(violation.amount, amounts.get(key, 0.0))
    return tuple(one for one in after if one.amount > amounts.get((one.rule, one.subject), 0.0) + 1e-9)

"""The policy, `restow.policy/1`: which incident calls for which goal, how, and within which limits; pure.

The detector keeps it in force; the API validates what people put. A broken one is refused whole
and the one in force stays.
"""

from datetime import datetime
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from restow.errors import BadInputError, FieldError
from restow.messages.base import Message, parse
from restow.messages.request import AnyRequest, Limits, parse_request

Symptom = Literal["failed-host", "returned-host", "hot-host", "imbalance", "underused-hosts"]


class Evidence(Message):
    """When a host counts as failed, and when as back."""

    quorum: int = Field(default=2, ge=2, le=10, description="independent sources that must agree")
    patience_s: float = Field(default=30.0, ge=0, description="for how long they must agree")
    returned_s: float = Field(default=60.0, ge=0, description="how long all must be well again")
    poll_s: float = Field(default=5.0, gt=0)
    read_s: float = Field(default=30.0, gt=0, description="how old the picture of a quiet cloud may be")
    source_silent_s: float = Field(default=60.0, gt=0, description="older words are no evidence")


class BlastRadius(Message):
    """More failures than this within the window look like the network or like us: nobody heals."""

    hosts: int = Field(default=3, ge=1)
    share: float = Field(default=0.25, gt=0, le=1)
    window_s: float = Field(default=300.0, gt=0)


class Thresholds(Message):
    """Shares of a host's physical cores (load) and how long they must hold; hysteresis by `clear`."""

    hot: float = Field(default=0.85, gt=0, le=2)
    hot_clear: float = Field(default=0.75, gt=0, le=2)
    hot_for_s: float = Field(default=300.0, ge=0)
    imbalance: float = Field(default=0.35, gt=0, le=2, description="highest less lowest host")
    imbalance_clear: float = Field(default=0.25, gt=0, le=2)
    imbalance_for_s: float = Field(default=900.0, ge=0)
    underused: float = Field(default=0.4, gt=0, le=1, description="mean claimed share of the domain")
    underused_clear: float = Field(default=0.5, gt=0, le=1)
    underused_for_s: float = Field(default=1800.0, ge=0)

    @model_validator(mode="after")
    def _hysteresis(self) -> "Thresholds":
        if self.hot_clear > self.hot or self.imbalance_clear > self.imbalance or self.underused_clear < self.underused:
            raise ValueError("hysteresis: *_clear must lie on the quiet side of its threshold")
        return self


class Scope(Message):
    """Where a rule holds; empty means everywhere."""

    domains: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class PolicyRule(Message):
    """`goal` null: no goal is called for. `options` are the goal's own fields (threshold, power_off, …)."""

    incident: Symptom
    scope: Scope = Scope()
    goal: Literal["recover", "evacuate", "rebalance", "consolidate"] | None = None
    mode: Literal["observe", "propose", "auto"] = "observe"
    limits: Limits = Limits()
    options: dict[str, Any] = Field(default_factory=dict)
    cool_down_s: float = Field(default=600.0, ge=0, description="between two plans of this rule in a domain")

    @model_validator(mode="after")
    def _options_fit_the_goal(self) -> "PolicyRule":
        if self.goal is None:
            if self.options:
                raise ValueError("options belong to a goal, and this rule has none")
            return self
        try:
            self.request(hosts=("any",), domain=None, reason="")
        except BadInputError as error:
            raise ValueError("; ".join(f"options.{one}" for one in error.errors)) from error
        return self

    def request(self, *, hosts: tuple[str, ...], domain: str | None, reason: str) -> AnyRequest:
        """The plan request that this rule calls for. Raises BadInputError where options do not fit the goal."""
        assert self.goal is not None, "only a rule with a goal calls for a plan"
        document: dict[str, Any] = {
            **self.options,
            "goal": self.goal,
            "domain": domain,
            "limits": self.limits.dump(),
            "mode": "propose" if self.mode == "observe" else self.mode,
            "reason": reason[:1000],
        }
        if self.goal in ("recover", "evacuate") or (self.goal == "rebalance" and hosts):
            document["hosts"] = list(hosts)
        return parse_request(document)


class MaintenanceWindow(Message):
    """What happens to these hosts in this time is explained; nothing is healed there."""

    hosts: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    starts_at: datetime
    ends_at: datetime
    reason: str = ""


class ExecutionPolicy(Message):
    """How the executor behaves."""

    fence_timeout_s: float = Field(default=120.0, gt=0)
    fence_attempts: int = Field(default=3, ge=1, le=10)
    migration_timeout_s: float = Field(default=1800.0, gt=0)
    overdue: Literal["abort", "force-complete"] = Field(
        default="abort", description="a live migration that takes longer: given up, or brought to its end at once"
    )
    clear_errors: bool = Field(
        default=False, description="a server that a failed move left in error, though its guest runs, is active again"
    )
    replans_max: int = Field(default=5, ge=0, le=20)
    server_cool_down_s: float = Field(default=1800.0, ge=0, description="no second optional move sooner")


class Policy(Message):
    format: Literal["restow.policy/1"] = "restow.policy/1"
    evidence: Evidence = Evidence()
    blast_radius: BlastRadius = BlastRadius()
    thresholds: Thresholds = Thresholds()
    rules: tuple[PolicyRule, ...] = ()
    windows: tuple[MaintenanceWindow, ...] = ()
    execution: ExecutionPolicy = ExecutionPolicy()

    def written(self) -> dict[str, Any]:
        """As it is stored and sent: without what is at its default.

        The version before refuses fields that it does not know; so it reads every policy that does not use a new one.
        """
        return {"format": self.format, **self.model_dump(mode="json", by_alias=True, exclude_defaults=True)}


DEFAULT_POLICY = Policy(
    rules=(
        PolicyRule(incident="failed-host", goal="recover", mode="auto", cool_down_s=0),
        PolicyRule(incident="hot-host", goal="rebalance", mode="propose"),
        PolicyRule(incident="imbalance", goal="rebalance", mode="propose"),
        PolicyRule(incident="underused-hosts", goal="consolidate", mode="observe"),
        PolicyRule(incident="returned-host", mode="observe"),
    )
)


def parse_policy(text: str | bytes | dict[str, Any]) -> Policy:
    """Read YAML or JSON. Raises BadInputError that names field, value and what is expected."""
    document: Any = text
    if not isinstance(text, dict):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "(document)"
            raise BadInputError("policy", (FieldError(where, getattr(error, "problem", ""), "valid YAML"),)) from error
    if not isinstance(document, dict):
        raise BadInputError("policy", (FieldError("(document)", document, "a mapping with format: restow.policy/1"),))
    return parse(Policy, _plain(document), what="policy")


def _plain(value: Any) -> Any:
    """YAML knows dates; JSON does not."""
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case _:
            return value

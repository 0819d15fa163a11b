"""The policy, `restow.policy/1`: which incident calls for which goal, how, and within which limits; pure.

The detector keeps it in force; the API validates what people put. A broken one is refused whole
and the one in force stays. One that says nothing of rules keeps the built-in ones: whoever changes a threshold
does not mean to end all healing.
"""

from datetime import datetime
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from restow.errors import BadInputError, FieldError
from restow.messages.base import FieldsError, Message, parse
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
            wrong = (FieldError(f"options.{one.field}", one.value, one.expected) for one in error.errors)
            raise FieldsError(tuple(wrong)) from error
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
    migration_stalled_s: float = Field(
        default=300.0, gt=0, description="a live migration that has not come further for so long is overdue at once"
    )
    overdue: Literal["abort", "force-complete"] = Field(
        default="abort", description="a live migration that takes longer: given up, or brought to its end at once"
    )
    clear_errors: bool = Field(
        default=False, description="a server that a failed move left in error, though its guest runs, is active again"
    )
    replans_max: int = Field(default=5, ge=0, le=20)
    server_cool_down_s: float = Field(default=1800.0, ge=0, description="no second optional move sooner")


BUILT_IN_RULES = (
    PolicyRule(incident="failed-host", goal="recover", mode="auto", cool_down_s=0),
    PolicyRule(incident="hot-host", goal="rebalance", mode="propose"),
    PolicyRule(incident="imbalance", goal="rebalance", mode="propose"),
    PolicyRule(incident="underused-hosts", goal="consolidate", mode="observe"),
    PolicyRule(incident="returned-host", mode="observe"),
)


class Policy(Message):
    """`rules` left out: the built-in ones. An empty list switches all healing off."""

    model_config = ConfigDict(json_schema_extra={"required": ["format"]})  # see `parse_policy`

    format: Literal["restow.policy/1"] = "restow.policy/1"
    evidence: Evidence = Evidence()
    blast_radius: BlastRadius = BlastRadius()
    thresholds: Thresholds = Thresholds()
    rules: tuple[PolicyRule, ...] = BUILT_IN_RULES
    windows: tuple[MaintenanceWindow, ...] = ()
    execution: ExecutionPolicy = ExecutionPolicy()

    def written(self) -> dict[str, Any]:
        """As it is stored and sent: without what is at its default, but for the rules.

        The version before refuses fields that it does not know; so it reads every policy that does not use a new one.
        It takes rules that are left out for none at all; so they always stand there.
        """
        sparse = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        rules = [rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for rule in self.rules]
        return {"format": self.format, **sparse, "rules": rules}

    def warnings(self) -> tuple[str, ...]:
        """What is allowed and seldom meant: a person is told."""
        if not self.rules:
            return ("rules is empty: no incident is healed, and no plan is proposed",)
        if not any(rule.incident == "failed-host" and rule.goal is not None for rule in self.rules):
            return ("no rule has a goal for failed-host: servers of a failed host are not started elsewhere",)
        return ()


DEFAULT_POLICY = Policy()


def parse_policy(text: str | bytes | dict[str, Any]) -> Policy:
    """Read YAML or JSON. Raises BadInputError that names field, value and what is expected."""
    document: Any = text
    if not isinstance(text, dict):
        document = _parsed_yaml(text)
    if not isinstance(document, dict):
        raise BadInputError("policy", (FieldError("(document)", document, "a mapping with format: restow.policy/1"),))
    if "format" not in document:  # a document of another kind must not pass for an empty policy
        raise BadInputError("policy", (FieldError("format", "(absent)", "restow.policy/1"),))
    return parse(Policy, _plain(document), what="policy")


class _EachKeyOnce(yaml.SafeLoader):
    """YAML takes the last of two equal keys; what the first said would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(None, None, f"the key {key.value} a second time", key.start_mark)
                seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return made


def _parsed_yaml(text: str | bytes) -> Any:
    try:
        return yaml.load(text, _EachKeyOnce)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "(document)"
        problem = getattr(error, "problem", "") or ""
        expected = "each key once" if problem.endswith("a second time") else "valid YAML"
        raise BadInputError("policy", (FieldError(where, problem, expected),)) from error


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

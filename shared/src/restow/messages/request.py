"""Plan requests, `restow.request/1`: what a person or a policy asks the planner for; pure."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, RootModel, model_validator

from restow.errors import BadInputError, FieldError
from restow.messages.base import Message, parse


class Mode(StrEnum):
    DRY_RUN = "dry-run"
    PROPOSE = "propose"
    AUTO = "auto"


class Limits(Message):
    """How much a plan may do, and how long its making may take."""

    moves: int | None = Field(default=None, ge=0, le=1_000_000)
    time_limit_s: float = Field(default=10.0, gt=0, le=3600)
    moved_gib: float | None = Field(default=None, ge=0)
    per_host: int = Field(default=2, ge=1, le=1000, description="moves at once into or out of one host")
    total: int = Field(default=20, ge=1, le=10_000, description="moves at once in the domain")


class Avoid(Message):
    """A pair that failed before: this server is not sent to this host again."""

    server: str
    host: str


class _Request(Message):
    format: Literal["restow.request/1"] = "restow.request/1"
    domain: str | None = Field(default=None, description="needed where there is more than one")
    limits: Limits = Limits()
    mode: Mode = Mode.PROPOSE
    pin: tuple[str, ...] = Field(default=(), description="servers that stay where they are")
    exclude_hosts: tuple[str, ...] = Field(default=(), description="hosts that take no server in")
    avoid: tuple[Avoid, ...] = ()
    reason: str = Field(default="", max_length=1000)
    seed: int = Field(default=1, ge=0, le=2**31 - 1)

    def written(self) -> dict[str, Any]:
        """As it is stored and sent: without what is at its default, but for the mode.

        The version before refuses fields that it does not know; so it reads every request that does not use a new one.
        """
        sparse = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"format": self.format, **sparse, "mode": self.mode.value}


class EvacuateRequest(_Request):
    goal: Literal["evacuate"]
    hosts: tuple[str, ...] = Field(min_length=1)


class RecoverRequest(_Request):
    """At least one host or server. `servers` whose host is null are started; those that run are left alone."""

    goal: Literal["recover"]
    hosts: tuple[str, ...] = ()
    servers: tuple[str, ...] = Field(default=(), description="lost with their host, running nowhere: to be started")
    empty_disks: bool = Field(default=False, description="rebuild also servers whose disk was on the failed host")

    @model_validator(mode="after")
    def _names_something(self) -> "RecoverRequest":
        if not self.hosts and not self.servers:
            raise ValueError("name at least one failed host, or a server that runs nowhere")
        return self


class RebalanceRequest(_Request):
    """`threshold`: the share of a host's capacity by which it may exceed the mean before it counts as uneven."""

    goal: Literal["rebalance"]
    resources: tuple[str, ...] = Field(default=("cpu_cores",), min_length=1)
    threshold: float = Field(default=0.1, ge=0, le=1)
    hosts: tuple[str, ...] = Field(default=(), description="relieve these first; empty: the whole domain")


class ConsolidateRequest(_Request):
    goal: Literal["consolidate"]
    max_utilisation: float = Field(default=0.9, gt=0, le=1)
    power_off: bool = False


class DefragmentRequest(_Request):
    goal: Literal["defragment"]
    shape: dict[str, int] = Field(min_length=1)
    count: int = Field(default=1, ge=1)


class ReachRequest(_Request):
    """Target null: shelve before anything else. A server whose host is null is started on its target, last."""

    goal: Literal["reach"]
    targets: dict[str, str | None] = Field(min_length=1)


class ThenRequest(_Request):
    goal: Literal["then"]
    goals: tuple["AnyRequest", ...] = Field(min_length=1, max_length=10)


AnyRequest = Annotated[
    EvacuateRequest
    | RecoverRequest
    | RebalanceRequest
    | ConsolidateRequest
    | DefragmentRequest
    | ReachRequest
    | ThenRequest,
    Field(discriminator="goal"),
]
ThenRequest.model_rebuild()
WrittenRequest = Annotated[AnyRequest, PlainSerializer(lambda request: request.written(), when_used="json")]


class HostCopies(Message):
    """So many empty hosts of the kind of `like`, in the same zone and rack."""

    like: str
    count: int = Field(default=1, ge=1, le=1_000)


class Growth(Message):
    """What servers claim times a factor per resource, rounded up; no servers named: all of them."""

    servers: tuple[str, ...] = ()
    factor: dict[str, Annotated[float, Field(gt=0, le=100)]]


class Changes(Message):
    """What a what-if changes on the snapshot before planning. `add_hosts` are hosts as in restow.cloud/1.

    Hosts that are removed must be empty; hosts and racks that are lost are down with their servers still on them.
    """

    add_hosts: tuple[dict[str, Any], ...] = Field(default=(), max_length=1_000)
    copy_hosts: tuple[HostCopies, ...] = Field(default=(), max_length=100)
    remove_hosts: tuple[str, ...] = ()
    lose_hosts: tuple[str, ...] = ()
    lose_racks: tuple[str, ...] = ()
    head_room: float | None = Field(default=None, ge=0, lt=1, description="share of every capacity kept free")
    grow: tuple[Growth, ...] = Field(default=(), max_length=100)


class RequestDocument(RootModel[AnyRequest]):
    """The document form of a request, for parsing and for the published schema."""


def parse_request(body: bytes | str | Any) -> AnyRequest:
    """Read a `restow.request/1`. Raises BadInputError; a wrong goal is told with the goals there are."""
    try:
        return parse(RequestDocument, body, what="request").root
    except BadInputError as error:
        raise BadInputError("request", tuple(without_tag(one) for one in error.errors)) from error


GOALS = ("evacuate", "recover", "rebalance", "consolidate", "defragment", "reach", "then")


def without_tag(error: FieldError, *, at: tuple[str, ...] = ()) -> FieldError:
    """Pydantic puts the goal in front of the fields of a request; the reader's document has no such level.

    `at`: where the request stands in the document.
    """
    parts = tuple(error.field.split("."))
    if error.field == "(document)":
        parts = ()
    if parts[: len(at)] != at:
        return error
    kept, rest = list(at), list(parts[len(at) :])
    inner = True
    while inner and rest and rest[0] in GOALS:  # the goal of the request, then of the one in it that is meant
        inner = rest[0] == "then" and rest[1:2] == ["goals"]
        kept, rest = kept + (rest[1:3] if inner else []), rest[3 if inner else 1 :]
    if "union_tag" in error.expected or "tag" in error.expected.lower():
        value = error.value.get("goal", "(absent)") if isinstance(error.value, dict) else error.value
        return FieldError(".".join((*kept, *rest, "goal")), value, "one of " + ", ".join(GOALS))
    return FieldError(".".join((*kept, *rest)) or "(document)", error.value, error.expected)

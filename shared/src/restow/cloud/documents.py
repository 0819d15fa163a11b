"""The parts of `restow.cloud/1` as strict documents: what stands where, of which type, in which bounds; pure."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from restow.cloud.model import GroupPolicy, HostState, Move, Power, ServerState, Unit
from restow.messages.base import Message

FORMAT: Literal["restow.cloud/1"] = "restow.cloud/1"
CELLS_MAX = 64
COOL_DOWN_MAX_S = 7 * 24 * 3600.0  # so long a move is remembered
AMOUNT_MAX = 10**12  # sums over 100,000 servers stay far inside 64 bits

Name = Annotated[str, Field(min_length=1, max_length=255)]
Amount = Annotated[int, Field(ge=0, le=AMOUNT_MAX)]
Measure = Annotated[float, Field(ge=0)]
Price = Annotated[float, Field(ge=0)]
Servers = tuple[Name, ...]
Hosts = tuple[Name, ...]


class Part(Message):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class HostDocument(Part):
    name: Name
    state: HostState = HostState.UP
    enabled: bool = True
    maintenance: bool = False
    zone: Name | None = None
    rack: Name | None = None
    aggregates: tuple[Name, ...] = ()
    traits: tuple[Name, ...] = ()
    capacity: dict[Name, Amount] = Field(description="what may be claimed: overcommit in, reserve off")
    load: dict[Name, Measure] = Field(default_factory=dict)
    physical: dict[Name, Measure] = Field(default_factory=dict)
    link_mbps: int | None = Field(default=None, ge=1, le=10**9)
    power: Power = Power.UNKNOWN
    forced_down: bool = Field(default=False, description="declared dead in the compute service")
    withheld: bool = Field(default=False, description="enabled, but placement does not offer it yet")
    cpu: tuple[Name, ...] = Field(default=(), description="CPU models and features that a guest may find here")
    storage: tuple[Name, ...] = Field(default=(), description="the storage pools that it reaches")
    numa: tuple[dict[Name, Amount], ...] = Field(default=(), max_length=CELLS_MAX, description="each cell's capacity")


class ServerDocument(Part):
    id: Name
    name: str = ""
    host: Name | None = Field(default=None, description="null: it runs nowhere yet")
    project: str = ""
    state: ServerState = ServerState.ACTIVE
    demand: dict[Name, Amount] = Field(default_factory=dict, description="what its flavor claims")
    load: dict[Name, Measure] = Field(default_factory=dict)
    dirty_mib_s: Measure | None = None
    zone: Name | None = Field(default=None, description="the zone it is pinned to")
    requires: tuple[Name, ...] = Field(default=(), description="traits")
    forbids: tuple[Name, ...] = Field(default=(), description="traits")
    move: Move = Move.LIVE
    priority: int = Field(default=0, ge=-AMOUNT_MAX, le=AMOUNT_MAX, description="higher is served first")
    metadata: dict[str, Any] = Field(default_factory=dict)
    locked: bool = False
    task: Name | None = Field(default=None, description="what the cloud does with it now (Nova: task_state)")
    cpu: tuple[Name, ...] = Field(default=(), description="what it was started with: needed where it comes to running")
    storage: Name | None = Field(default=None, description="the pool of its disks, or local; null: not known")
    extra_specs: dict[Name, str] = Field(default_factory=dict, description="of its flavor, matched with aggregates")
    image: dict[Name, str] = Field(default_factory=dict, description="properties, matched with aggregates")
    numa: tuple[dict[Name, Amount], ...] = Field(default=(), max_length=CELLS_MAX, description="each cell's claims")
    numa_at: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), description="its host's cells they are in")
    cool_down_s: float | None = Field(default=None, ge=0, le=COOL_DOWN_MAX_S, description="in place of the policy's")


class GroupDocument(Part):
    id: Name
    policy: GroupPolicy
    members: Servers = ()
    max_per_host: int = Field(default=1, ge=1, le=1_000_000, description="above 1 with anti-affinity only")


class AllowDocument(Part):
    kind: Literal["allow"]
    servers: Servers
    hosts: Hosts
    soft: Price | None = None


class BanDocument(Part):
    kind: Literal["ban"]
    servers: Servers
    hosts: Hosts
    soft: Price | None = None


class SpreadDocument(Part):
    kind: Literal["spread"]
    servers: Servers
    over: Unit
    at_least: int = Field(ge=1, le=1_000_000)
    soft: Price | None = None


class AtMostDocument(Part):
    kind: Literal["at-most"]
    servers: Servers
    per: Unit
    count: int = Field(ge=0, le=1_000_000)
    soft: Price | None = None


class TogetherDocument(Part):
    kind: Literal["together"]
    servers: Servers
    per: Unit
    soft: Price | None = None


class AmongDocument(Part):
    kind: Literal["among"]
    servers: Servers
    host_sets: tuple[Hosts, ...] = Field(min_length=1)
    soft: Price | None = None


class ReserveDocument(Part):
    kind: Literal["reserve"]
    hosts: Hosts
    keep_free: dict[Name, Amount]
    soft: Price | None = None


class SurviveDocument(Part):
    kind: Literal["survive"]
    failures: int = Field(ge=1, le=1_000_000)
    of: Unit
    soft: Price | None = None


class LoadDocument(Part):
    kind: Literal["load"]
    hosts: Hosts
    at_most: dict[Name, Annotated[float, Field(gt=0, le=1)]] = Field(min_length=1)
    soft: Price | None = None


class DedicateDocument(Part):
    kind: Literal["dedicate"]
    hosts: Hosts = Field(min_length=1)
    projects: tuple[Name, ...] = Field(min_length=1)
    exclusive: bool = False
    soft: Price | None = None


class IsolateDocument(Part):
    kind: Literal["isolate"]
    servers: Servers
    soft: Price | None = None


class LicenceDocument(Part):
    kind: Literal["licence"]
    servers: Servers
    count: int = Field(ge=1, le=1_000_000)
    per: Unit = "host"
    soft: Price | None = None


class ResidencyDocument(Part):
    kind: Literal["residency"]
    zones: tuple[Name, ...] = Field(min_length=1)
    servers: Servers = ()
    projects: tuple[Name, ...] = ()
    soft: Price | None = None


class NearDocument(Part):
    kind: Literal["near"]
    servers: Servers
    to: Servers = Field(min_length=1)
    per: Unit
    soft: Price | None = None


class BudgetDocument(Part):
    kind: Literal["budget"]
    servers: Servers
    at_once: int = Field(ge=1, le=1_000_000)
    soft: Price | None = None


RuleDocument = Annotated[
    AllowDocument
    | BanDocument
    | SpreadDocument
    | AtMostDocument
    | TogetherDocument
    | AmongDocument
    | ReserveDocument
    | SurviveDocument
    | LoadDocument
    | DedicateDocument
    | IsolateDocument
    | LicenceDocument
    | ResidencyDocument
    | NearDocument
    | BudgetDocument,
    Field(discriminator="kind"),
]


class CloudDocument(Part):
    """The whole of a domain at one moment."""

    format: Literal["restow.cloud/1"]
    taken_at: AwareDatetime
    domain: Name
    resources: tuple[Name, ...] = Field(min_length=1, description="the resources that count")
    hosts: tuple[HostDocument, ...]
    servers: tuple[ServerDocument, ...] = ()
    groups: tuple[GroupDocument, ...] = ()
    rules: tuple[RuleDocument, ...] = ()
    aggregates: dict[Name, dict[Name, str]] = Field(default_factory=dict, description="metadata of host aggregates")

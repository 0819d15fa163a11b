"""One read of a domain: a fixed number of calls for each page of the collections, put together as a Cloud."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from restow.cloud.model import Cloud, Host, Power, Resource, Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.faults import readable
from restow.cloud.openstack.hosts import (
    Aggregates,
    Node,
    Provider,
    common_resources,
    host_of,
    nodes_of,
    with_resources,
)
from restow.cloud.openstack.metrics import Loads, Metrics
from restow.cloud.openstack.providers import Providers
from restow.cloud.openstack.resources import amounts
from restow.cloud.openstack.roster import Roster
from restow.cloud.openstack.rules import chosen_rules, groups_of, metadata_of, rules_of_hints
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.errors import TransientError
from restow.ids import DomainName, HostName, ServerId

# cpu_info is enough of 2.87; from 2.88 on every hypervisor's agent is asked for its uptime, the dead ones too.
HYPERVISORS = 87
COMPUTE = "nova-compute"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the services said, not yet put together."""

    services: Sequence[Mapping[str, Any]]
    nodes: tuple[Node, ...]
    aggregates: Aggregates
    providers: Mapping[str, Provider]
    servers: tuple[Server, ...]
    images: Mapping[ServerId, Mapping[str, str]]  # the properties of their images, of those that have any
    groups: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Mapping[str, str]]  # of aggregates
    hints: Mapping[ServerId, Mapping[str, tuple[ServerId, ...]]] = field(default_factory=dict)
    loads: Loads = field(default_factory=Loads)


class Reader:
    """Blocking. `workers`: where the collections are read side by side; never called from one of them."""

    def __init__(
        self,
        api: Api,
        settings: OpenStackSettings,
        chosen: DomainSettings,
        workers: Executor,
        *,
        roster: Roster,
        metrics: Metrics | None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._chosen = chosen
        self._workers = workers
        self._roster = roster
        self._metrics = metrics
        self.providers = Providers(api, workers)

    def ask(self) -> tuple[Future[Any], ...]:
        """Begin to read: the collections that can be read side by side, each by one worker."""
        work: Mapping[str, Callable[[], Any]] = {
            "services": self._services, "hypervisors": self.nodes, "aggregates": self.aggregates,
            "servers": self._roster.read, "server groups": self._groups,
            "allocation candidates": self.providers.with_room,
        }  # fmt: skip
        return tuple(self._workers.submit(_named, what, one) for what, one in work.items())

    def answers(self, asked: Sequence[Future[Any]]) -> Answers:
        """What came of it; the first error is raised."""
        told, nodes, aggregates, roll, groups, summaries = (one.result() for one in asked)
        services = self._mine(told)
        if not any(_silent(one) for one in told):
            self._roster.keep(roll)
        mine = {service["host"] for service in services}
        with readable("resource providers"):
            providers = self.providers.of({node.uuid for node in nodes if node.host in mine}, summaries)
        loads = Loads() if self._metrics is None else self._metrics.loads(sorted(mine), self._workers)
        entries = [roll.entries[server] for server in sorted(roll.entries)]
        return Answers(
            services, nodes, Aggregates.of(aggregates), providers, tuple(one.server for one in entries),
            {one.server.id: one.image for one in entries if one.image}, groups, metadata_of(aggregates),
            {one.server.id: one.hints for one in entries if one.hints}, loads,
        )  # fmt: skip

    def side_by_side(self, *work: Callable[[], Any]) -> tuple[Any, ...]:
        """What each of these came to; the first error is raised."""
        return tuple(one.result() for one in [self._workers.submit(one) for one in work])

    # --- the collections ----------------------------------------------------------------------------------------

    def services(self, host: str | None = None) -> list[Mapping[str, Any]]:
        """The compute services of this domain; TransientError if Nova cannot tell of all of them now."""
        return self._mine(self._services(host))

    def heard(self) -> list[Mapping[str, Any]]:
        """Those of them that Nova can tell of now."""
        return self._mine([one for one in self._services() if not _silent(one)])

    def _services(self, host: str | None = None) -> list[Mapping[str, Any]]:
        query: dict[str, Any] = {"host": host} if host else {}
        found: list[Mapping[str, Any]] = self._api.get("compute", "/os-services", binary=COMPUTE, **query)["services"]
        return found

    def _mine(self, services: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of this domain. Nova leaves the servers of a cell that does not answer out of every list of pages."""
        silent = next((one["host"] for one in services if _silent(one) and self._chosen.may_have(one["host"])), None)
        if silent is not None:
            raise TransientError(f"the cell of host {silent} does not answer: the cloud cannot be told whole")
        found = [one for one in services if not _silent(one) and self._chosen.has(one["host"], zone=one.get("zone"))]
        return sorted(found, key=lambda one: str(one["host"]))

    def nodes(self) -> tuple[Node, ...]:
        version = self._api.version("compute")
        asked = f"2.{min(HYPERVISORS, version[1])}"
        limit = self._settings.page
        return nodes_of(self._api.pages("/os-hypervisors/detail", "hypervisors", version=asked, limit=limit))

    def aggregates(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self._api.get("compute", "/os-aggregates")["aggregates"]
        return found

    def _groups(self) -> list[Mapping[str, Any]]:
        """Nova pages groups by an offset that it honours only with all_projects."""
        found: list[Mapping[str, Any]] = []
        page = min(self._settings.page, 1000)
        for _ in range(10_000):
            query: dict[str, Any] = {"all_projects": "True", "limit": page, "offset": len(found)}
            more = self._api.get("compute", "/os-server-groups", **query)["server_groups"]
            found.extend(more)
            if not more:
                break
        return found


def _silent(service: Mapping[str, Any]) -> bool:
    """Whether it is one of a cell that does not answer: its host is all that Nova knows."""
    return bool(service.get("status") == "UNKNOWN")


def _named(what: str, work: Callable[[], T]) -> T:
    with readable(what):
        return work()


def assemble(
    answers: Answers, settings: OpenStackSettings, *, domain: DomainName, taken_at: datetime, shelved: bool,
    powers: Mapping[HostName, Power],
) -> Cloud:  # fmt: skip
    """The cloud of a domain; `shelved`: servers that are on no host belong here. Pure.

    What placement counts on a host beyond its own servers is taken off its capacity: servers on their way to it,
    a resize that waits to be confirmed, and claims that nobody gave back.
    """
    node_of = {node.host: node for node in answers.nodes}
    hosts = []
    for service in answers.services:
        node = node_of.get(HostName(service["host"]))
        provider = answers.providers.get(node.uuid, Provider()) if node else Provider()
        host = host_of(service, node, provider, answers.aggregates, rack_key=settings.rack_key)
        load = answers.loads.hosts.get(host.name, {})
        hosts.append(replace(host, power=powers.get(host.name, host.power), load=load))
    names = {host.name for host in hosts}
    mine = (one for one in answers.servers if (shelved if one.host is None else one.host in names))
    named = {key for metadata in answers.metadata.values() for key in metadata}
    servers = tuple(
        _with_load(_with_image(one, answers.images.get(one.id), named), answers.loads.servers.get(one.id))
        for one in mine
    )
    resources = common_resources(hosts, {resource for one in servers for resource in one.demand})
    own: dict[HostName, dict[Resource, int]] = {name: {} for name in names}
    for server in servers:
        if server.host is not None:
            for resource, amount in server.demand.items():
                own[server.host][resource] = own[server.host].get(resource, 0) + amount
    known = frozenset(server.id for server in servers)
    return Cloud(
        taken_at=taken_at,
        domain=domain,
        resources=resources,
        hosts=tuple(
            _told(host, node_of.get(host.name), answers.providers, own[host.name], resources) for host in hosts
        ),
        servers=servers,
        groups=groups_of(answers.groups, known),
        rules=(
            *chosen_rules(settings.rules, hosts, servers)[0],
            *rules_of_hints(answers.hints, {server.id: server.host for server in servers}),
        ),
        aggregates=answers.metadata,
    )


def _told(
    host: Host, node: Node | None, providers: Mapping[str, Provider], own: Mapping[Resource, int],
    resources: Sequence[Resource],
) -> Host:  # fmt: skip
    used = providers[node.uuid].used if node is not None and node.uuid in providers else {}
    beyond = {one: max(0, used.get(one, 0) - own.get(one, 0)) for one in resources}
    return with_resources(host, resources, beyond)


def _with_image(server: Server, properties: Mapping[str, str] | None, named: AbstractSet[str]) -> Server:
    """With those properties of its image that some aggregate names: the others matter to no host."""
    kept = {key: str(value) for key, value in (properties or {}).items() if key in named}
    return replace(server, image=kept) if kept else server


def _with_load(server: Server, load: Mapping[str, float] | None) -> Server:
    return server if load is None else replace(server, load=load)


def stale_claims(
    allocations: Mapping[str, Mapping[str, Any]], *, own: frozenset[str], in_flight: frozenset[str]
) -> dict[str, dict[Resource, int]]:
    """By consumer, what a provider holds for neither a server of its host nor a move under way. Pure."""
    return {
        consumer: amounts(held["resources"])
        for consumer, held in allocations.items()
        if consumer not in own and consumer not in in_flight
    }

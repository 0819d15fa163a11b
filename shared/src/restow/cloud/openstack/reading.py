"""One read of a domain: a fixed number of calls for each page of the collections, put together as a Cloud."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from restow.cloud.model import Cloud, Host, Power, Resource, Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.hosts import (
    Aggregates,
    Node,
    Provider,
    common_resources,
    host_of,
    nodes_of,
    provider_of,
    providers_of,
    with_resources,
)
from restow.cloud.openstack.metrics import Loads, Metrics
from restow.cloud.openstack.resources import amounts
from restow.cloud.openstack.roster import Roster
from restow.cloud.openstack.rules import groups_of, metadata_of
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.errors import NotFoundError
from restow.ids import DomainName, HostName, ServerId

# cpu_info is enough of 2.87; from 2.88 on every hypervisor's agent is asked for its uptime, the dead ones too.
HYPERVISORS = 87
COMPUTE = "nova-compute"


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

    def ask(self) -> tuple[Future[Any], ...]:
        """Begin to read: the collections that can be read side by side, each by one worker."""
        work = (self.services, self.nodes, self.aggregates, self._servers, self._groups, self._summaries)
        return tuple(self._workers.submit(one) for one in work)

    def answers(self, asked: Sequence[Future[Any]]) -> Answers:
        """What came of it; the first error is raised."""
        services, nodes, aggregates, (found, images), groups, summaries = (one.result() for one in asked)
        providers = providers_of(summaries)
        mine = {service["host"] for service in services}
        for node in nodes:
            if node.uuid not in providers and node.host in mine:
                providers[node.uuid] = self.provider(node.uuid)  # full to the last MiB: no candidate
        loads = Loads() if self._metrics is None else self._metrics.loads(sorted(mine), self._workers)
        return Answers(
            services, nodes, Aggregates.of(aggregates), providers, found, images, groups, metadata_of(aggregates), loads
        )

    # --- the collections ----------------------------------------------------------------------------------------

    def services(self, host: str | None = None) -> list[Mapping[str, Any]]:
        """The compute services of this domain."""
        query: dict[str, Any] = {"host": host} if host else {}
        found = self._api.get("compute", "/os-services", binary=COMPUTE, **query)["services"]
        return sorted(
            (one for one in found if self._chosen.has(one["host"], zone=one.get("zone"))), key=lambda one: one["host"]
        )

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

    def _summaries(self) -> Mapping[str, Mapping[str, Any]]:
        """Every provider that has memory left, with capacity, usage and traits, in one answer."""
        summaries: Mapping[str, Mapping[str, Any]] = self._api.get(
            "placement", "/allocation_candidates", resources="MEMORY_MB:1"
        )["provider_summaries"]
        return summaries

    def _servers(self) -> tuple[tuple[Server, ...], dict[ServerId, Mapping[str, str]]]:
        found = self._roster.read()
        images = {server: entry.image for server, entry in found.items() if entry.image}
        return tuple(found[server].server for server in sorted(found)), images

    def provider(self, uuid: str) -> Provider:
        """One provider by itself: three calls."""
        at = f"/resource_providers/{uuid}"
        try:
            return provider_of(
                self._api.get("placement", f"{at}/inventories")["inventories"],
                self._api.get("placement", f"{at}/usages")["usages"],
                self._api.get("placement", f"{at}/traits")["traits"],
            )
        except NotFoundError:
            return Provider()  # a host that has not told placement of itself yet offers nothing


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

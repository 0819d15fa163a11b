"""Single looks at a host, a server, its claims and its moves; blocking, each a few calls."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from restow.cloud.model import Host, Resource, Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.hosts import Aggregates, Node, host_of, with_resources
from restow.cloud.openstack.migrations import (
    ACTIONS,
    KINDS,
    Requests,
    in_order,
    migration_of,
    progress_of,
    status_of,
)
from restow.cloud.openstack.reading import Reader, stale_claims
from restow.cloud.openstack.resources import amounts, sum_of
from restow.cloud.openstack.servers import Flavors, server_of
from restow.cloud.openstack.settings import OpenStackSettings
from restow.cloud.port import Migration, MigrationStatus
from restow.errors import NotFoundError, PermanentError
from restow.ids import HostName, ServerId

REASONS_MAX = 1000
STRANGERS_MAX = 50  # claims on one host that are looked into one by one


class Looker:
    """`resources`: those of the last whole read, so that a host looks the same here and there."""

    def __init__(self, api: Api, settings: OpenStackSettings, reader: Reader, requests: Requests) -> None:
        self._api = api
        self._settings = settings
        self._reader = reader
        self._requests = requests
        self._flavors = Flavors()
        self._lock = Lock()
        self._nodes: dict[str, Node] = {}
        self._reasons: dict[int, str] = {}
        self.resources: tuple[Resource, ...] = ()

    def remember(self, nodes: Sequence[Node]) -> None:
        with self._lock:
            self._nodes = {node.uuid: node for node in nodes}

    # --- hosts --------------------------------------------------------------------------------------------------

    def service(self, host: HostName) -> Mapping[str, Any]:
        """Raises NotFoundError for a host that is none of this domain."""
        for one in self._reader.services(host):
            if one["host"] == host:
                return one
        raise NotFoundError(f"there is no host {host} in this domain")

    def host(self, name: HostName) -> Host:
        service, node = self.service(name), self._node_of(name)
        aggregates = Aggregates.of(self._reader.aggregates())
        if node is None:
            return with_resources(Host(name), self.resources)
        provider = self._reader.provider(node.uuid)
        host = host_of(service, node, provider, aggregates, rack_key=self._settings.rack_key)
        resources = self.resources or tuple(sorted(host.capacity))
        return with_resources(host, resources, sum_of(self.stale_on(node)))

    def _node_of(self, name: HostName) -> Node | None:
        with self._lock:
            for node in self._nodes.values():
                if node.host == name:
                    return node
        self.remember(self._reader.nodes())
        with self._lock:
            return next((node for node in self._nodes.values() if node.host == name), None)

    def stale_on(self, node: Node) -> Mapping[str, Mapping[Resource, int]]:
        """What nobody gave back there, by consumer."""
        allocations = self._api.get("placement", f"/resource_providers/{node.uuid}/allocations")["allocations"]
        if not allocations:
            return {}
        pages = self._api.pages("/servers/detail", "servers", all_tenants=1, host=node.host)
        own = frozenset(str(document["id"]) for document in pages)
        strangers = [one for one in allocations if one not in own][:STRANGERS_MAX]
        return stale_claims(
            allocations, own=own, in_flight=frozenset(one for one in strangers if self._moves(one, node))
        )

    def _moves(self, consumer: str, node: Node) -> bool:
        """Whether this consumer is a server with something under way, or such a move itself."""
        try:
            return self.server(ServerId(consumer)).task is not None
        except NotFoundError:
            query = {"host": node.host, "limit": 100}
            moves = self._api.get("compute", "/os-migrations", version="2.59", **query)["migrations"]
            return any(one["uuid"] == consumer and not status_of(one["status"]).ended for one in moves)

    def recent_moves(self) -> list[Mapping[str, Any]]:
        """The newest thousand migrations of the region."""
        found: list[Mapping[str, Any]] = self._api.get("compute", "/os-migrations", version="2.59", limit=1000)[
            "migrations"
        ]
        return found

    # --- servers ------------------------------------------------------------------------------------------------

    def server(self, server: ServerId) -> Server:
        document = self._api.get("compute", f"/servers/{server}")["server"]
        return server_of(document, self._flavors, priority_key=self._settings.priority_key, disks=self._settings.disks)

    def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        """By host, nested providers counted with their root. The source of a move under way is held by the move."""
        self.server(server)
        held: dict[HostName, dict[Resource, int]] = {}
        consumers = [str(server)]
        consumers += [str(one["uuid"]) for one in self._documents(server) if not status_of(one["status"]).ended]
        for consumer in consumers:
            for provider, claim in self._api.get("placement", f"/allocations/{consumer}")["allocations"].items():
                there = held.setdefault(self.host_with(provider), {})
                for resource, amount in amounts(claim["resources"]).items():
                    there[resource] = there.get(resource, 0) + amount
        return held

    def host_with(self, provider: str) -> HostName:
        """The host of a resource provider, nested ones included."""
        with self._lock:
            known = self._nodes.get(provider)
        if known is None:
            self.remember(self._reader.nodes())
            with self._lock:
                known = self._nodes.get(provider)
        if known is not None:
            return known.host
        root = self._api.get("placement", f"/resource_providers/{provider}")["root_provider_uuid"]
        with self._lock:
            known = self._nodes.get(root)
        if known is None:
            raise PermanentError(f"placement knows provider {provider}, Nova knows no hypervisor with that id")
        return known.host

    # --- moves --------------------------------------------------------------------------------------------------

    def migrations(self, server: ServerId) -> tuple[Migration, ...]:
        under_way = self._api.get("compute", f"/servers/{server}/migrations")["migrations"]
        progress = {int(one["id"]): progress_of(one) for one in under_way}
        documents = self._documents(server)
        owners = self._requests.owners(server, documents)
        return tuple(
            migration_of(
                one, server=server, request_id=owners.get(int(one["id"]), ""),
                progress=progress.get(int(one["id"]), 0.0),
                reason=self._reason(server, one, newest=one is documents[-1]),
            )
            for one in documents
        )  # fmt: skip

    def newest(self, server: ServerId) -> tuple[int, Mapping[str, Any] | None]:
        """The newest migration of this server: its id (0 if there is none) and its document."""
        documents = self._documents(server)
        return (int(documents[-1]["id"]), documents[-1]) if documents else (0, None)

    def failed_moves(self, server: ServerId, source: HostName) -> list[str]:
        """As placement knows them, the live migrations of this server from this host that failed, newest first."""
        return [
            str(one["uuid"]) for one in reversed(self._documents(server))
            if KINDS.get(one["migration_type"]) == "live-migrate" and one["source_compute"] == source
            and status_of(one["status"]) is MigrationStatus.FAILED
        ]  # fmt: skip

    def running(self, server: ServerId) -> Mapping[str, Any] | None:
        """The live migration of this server that is under way."""
        found = self._api.get("compute", f"/servers/{server}/migrations")["migrations"]
        return next(
            (one for one in in_order(found) if one.get("migration_type", "live-migration") == "live-migration"), None
        )

    def _documents(self, server: ServerId) -> list[Mapping[str, Any]]:
        version = "2.80" if self._api.knows(80) else "2.59"
        return in_order(self._api.pages("/os-migrations", "migrations", version=version, instance_uuid=server))

    def _reason(self, server: ServerId, document: Mapping[str, Any], *, newest: bool) -> str:
        """Why the newest migration failed, in Nova's words: those of the instance action that it belongs to."""
        number = int(document["id"])
        if status_of(document["status"]) is not MigrationStatus.FAILED or (not newest and number not in self._reasons):
            return ""
        if number not in self._reasons:
            if len(self._reasons) >= REASONS_MAX:
                self._reasons.clear()
            told = self._told(server, ACTIONS.get(KINDS.get(document["migration_type"], ""), ""))
            if not told:
                return ""
            self._reasons[number] = told
        return self._reasons[number]

    def _told(self, server: ServerId, action: str) -> str:
        actions = self._api.get("compute", f"/servers/{server}/os-instance-actions")["instanceActions"]
        mine = next((one for one in actions if one["action"] == action), None)  # newest first
        if mine is None:
            return ""
        at = f"/servers/{server}/os-instance-actions/{mine['request_id']}"
        events = self._api.get("compute", at)["instanceAction"].get("events") or ()
        broken = next((one for one in events if one.get("result") == "Error"), None)
        return "" if broken is None else str(broken.get("details") or f"{broken['event']} failed")

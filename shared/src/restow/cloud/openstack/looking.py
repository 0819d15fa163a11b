"""Single looks at a host, a server, its claims and its moves; blocking, each a few calls."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from restow.cloud.model import Host, Resource, Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.faults import ServiceFaultError
from restow.cloud.openstack.hosts import Aggregates, Node, Provider, host_of, with_resources
from restow.cloud.openstack.migrations import (
    ACTIONS,
    KINDS,
    Asked,
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
from restow.errors import CredentialError, NotFoundError, PermanentError
from restow.ids import HostName, ServerId

REASONS_MAX = 1000
MOVES_MAX = 5  # the newest moves of a server, whose claims are looked for though they have ended
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
        aggregates, provider, stale = self._reader.side_by_side(
            self._reader.aggregates,
            lambda: Provider() if node is None else self._reader.providers.one(node.uuid),
            lambda: {} if node is None else self.stale_on(node),
        )
        host = host_of(service, node, provider, Aggregates.of(aggregates), rack_key=self._settings.rack_key)
        return with_resources(host, self.resources or tuple(sorted(host.capacity)), sum_of(stale))

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

    def guest_runs(self, server: ServerId, host: HostName) -> None:
        """Raises PermanentError unless the hypervisor of this host, asked now, says that its guest runs.

        What Nova remembers of it may be an hour old.
        """
        if self.service(host)["state"] != "up":
            raise PermanentError(f"whether the guest of server {server} runs is not known: {host} is down")
        try:
            told = self._api.get_once("compute", f"/servers/{server}/diagnostics").get("state")
        except CredentialError:
            raise
        except (PermanentError, ServiceFaultError) as error:
            raise PermanentError(
                f"whether the guest of server {server} runs on {host} is not known: {error}"
            ) from error
        if told != "running":
            raise PermanentError(f"the guest of server {server} is {told or 'in no known state'} on {host}")

    def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        """By host, nested providers counted with their root. The source of a move under way is held by the move.

        So may that of one that has ended: then it is a claim that nobody gave back.
        """
        self.server(server)
        held: dict[HostName, dict[Resource, int]] = {}
        moves = self._documents(server)
        told = [one for one in moves[:-MOVES_MAX] if not status_of(one["status"]).ended] + moves[-MOVES_MAX:]
        for consumer in (str(server), *(str(one["uuid"]) for one in told)):
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
        progress = {int(one["id"]): progress_of(one) for one in self.under_way(server)}
        documents = self._documents(server)
        owners = self._requests.owners(server, documents)
        told = []
        for one in documents:
            number = int(one["id"])
            asked = owners.get(number)
            told.append(migration_of(
                one, server=server, request_id=asked.request_id if asked else "", progress=progress.get(number, 0.0),
                reason=self._reason(server, one, asked, newest=one is documents[-1]),
            ))  # fmt: skip
        return tuple(told)

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

    def under_way(self, server: ServerId) -> list[Mapping[str, Any]]:
        """The live migrations of this server that have not ended."""
        found: list[Mapping[str, Any]] = self._api.get("compute", f"/servers/{server}/migrations")["migrations"]
        return found

    def _documents(self, server: ServerId) -> list[Mapping[str, Any]]:
        version = "2.80" if self._api.knows(80) else "2.59"
        return in_order(self._api.pages("/os-migrations", "migrations", version=version, instance_uuid=server))

    def _reason(self, server: ServerId, document: Mapping[str, Any], asked: Asked | None, *, newest: bool) -> str:
        """Why it failed, in Nova's words: those of the instance action that it belongs to.

        Which one that is, is known of our own migrations; else the newest of that name is taken for the newest's.
        """
        number = int(document["id"])
        if status_of(document["status"]) is not MigrationStatus.FAILED:
            return ""
        if number not in self._reasons:
            if asked is not None and asked.nova_request:
                told = self._told(server, asked.nova_request)
            elif newest:
                told = self._told(
                    server, self._last(server, ACTIONS.get(KINDS.get(document["migration_type"], ""), ""))
                )
            else:
                told = ""
            if not told:
                return ""
            if len(self._reasons) >= REASONS_MAX:
                self._reasons.clear()
            self._reasons[number] = told
        return self._reasons[number]

    def _last(self, server: ServerId, action: str) -> str:
        """The request of the newest action of this name; empty if there is none."""
        actions = self._api.get("compute", f"/servers/{server}/os-instance-actions")["instanceActions"]
        return next((str(one["request_id"]) for one in actions if one["action"] == action), "")  # newest first

    def _told(self, server: ServerId, nova_request: str) -> str:
        """What went wrong in the action of this request; empty if nothing did, or nothing is known."""
        if not nova_request:
            return ""
        try:
            found = self._api.get("compute", f"/servers/{server}/os-instance-actions/{nova_request}")["instanceAction"]
        except NotFoundError:
            return ""
        broken = next((one for one in found.get("events") or () if one.get("result") == "Error"), None)
        return "" if broken is None else str(broken.get("details") or f"{broken['event']} failed")

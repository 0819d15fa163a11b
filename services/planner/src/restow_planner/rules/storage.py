"""Storage: a server stands where the pool of its disks can be reached; pure.

A disk on its own host (`local`) is copied in a move, live or cold, so it may go anywhere. It is lost with its host:
whether such a server may be rebuilt with an empty disk is for a request to say, and so not a rule.
"""

from collections.abc import Iterable

from restow.cloud.model import LOCAL_STORAGE, Cloud
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class StorageRule:
    """Where a server stands now, its disks are."""

    name = "storage"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        alike: dict[tuple[str, HostName | None], list[ServerId]] = {}
        for server in cloud.servers:
            if server.storage is not None and server.storage != LOCAL_STORAGE:
                home = cloud.host_by_name.get(server.host) if server.host is not None else None
                odd = home is not None and server.storage not in home.storage
                alike.setdefault((server.storage, server.host if odd else None), []).append(server.id)
        for (pool, at), servers in alike.items():
            hosts = {host.name for host in cloud.hosts if pool in host.storage or host.name == at}
            yield Allowed("storage", tuple(servers), frozenset(hosts))

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for server in cloud.servers:
            if server.storage in (None, LOCAL_STORAGE):
                continue
            for name in where.get(server.id, ()):
                host = cloud.host_by_name.get(name)
                if name != server.host and (host is None or server.storage not in host.storage):
                    why = f"the disks of {server.id} are in {server.storage}, which {name} does not reach"
                    yield Violation("storage", server.id, 1, why)

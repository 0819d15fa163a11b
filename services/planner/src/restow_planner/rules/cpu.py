"""CPU: a guest that comes to another host running finds there what it was started with; pure.

A cold move and a rebuilding start the guest anew: they are free to go. A host that tells nothing of its CPU is one
where nothing is sure to be found.
"""

from collections.abc import Iterable

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import runs


class CpuRule:
    """Where the guest runs now, it runs."""

    name = "cpu"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        alike: dict[tuple[frozenset[str], HostName | None], list[ServerId]] = {}
        for server in cloud.servers:
            if server.cpu and server.host is not None and server.moves_live and runs(cloud, server.host):
                odd = not server.cpu <= cloud.host_by_name[server.host].cpu
                alike.setdefault((server.cpu, server.host if odd else None), []).append(server.id)
        for (cpu, home), servers in alike.items():
            hosts = {host.name for host in cloud.hosts if cpu <= host.cpu or host.name == home}
            yield Allowed("cpu", tuple(servers), frozenset(hosts))

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for server in cloud.servers:
            if not server.cpu or not server.moves_live or server.host is None or not runs(cloud, server.host):
                continue
            for name in where.get(server.id, ()):
                host = cloud.host_by_name.get(name)
                lacking = server.cpu if host is None else server.cpu - host.cpu
                if name != server.host and lacking:
                    why = f"{server.id} runs with {', '.join(sorted(lacking))}, which {name} does not offer"
                    yield Violation("cpu", server.id, 1, why)

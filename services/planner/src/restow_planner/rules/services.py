"""Services: servers that another service made, watches and heals are not touched, dead or alive; pure.

Who moves them under that service's hands fights it: an Octavia amphora that is being moved looks failed, and is
replaced. `restow:healed-by` in a server's metadata names the service; some show by marks of their own.
"""

import re
from collections.abc import Iterable

from restow.cloud.model import Cloud, Server
from restow_planner.primitives import Fixed, Primitive
from restow_planner.rules.base import Occupancy, Violation

SERVICE = "restow:healed-by"
MARKS = {
    SERVICE: "another service",
    "cluster_node_id": "Senlin",
    "metering.server_group": "a Heat scaling group",
}
"""Keys of metadata, and who sets them; `restow:healed-by` says the name itself."""
AMPHORA = re.compile(r"amphora-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class ServiceRule:
    name = "services"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        why = {
            server.id: f"{healer} made it and heals it"
            for server in cloud.servers
            if (server.metadata or server.name.startswith("amphora-")) and (healer := healed_by(server)) is not None
        }
        if why:
            yield Fixed("services", why)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for server in cloud.servers:
            home = () if server.host is None else (server.host,)
            if where.get(server.id, ()) != home and healed_by(server) is not None:
                yield Violation("services", server.id, 1, f"{server.id} is touched, which {healed_by(server)} heals")


def healed_by(server: Server) -> str | None:
    """One table for both sides: the rule is this table."""
    if AMPHORA.fullmatch(server.name):
        return "Octavia"
    mark = next((one for one in MARKS if one in server.metadata), None)
    if mark is None:
        return None
    return server.metadata[mark] or MARKS[mark] if mark == SERVICE else MARKS[mark]

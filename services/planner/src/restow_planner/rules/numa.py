"""NUMA: the cells of a server fit into cells of its host, whichever of them Nova chooses for those that arrive; pure.

Nova chooses the cells of an arriving server by itself, by an order that depends on settings and on what happened
before. So an arrival counts in every cell of its host, with the largest of its own cells: then it fits wherever the
others have gone, and the others wherever it goes. Servers that are there do not shift; one that leaves gives back what
it had, and would be given other cells if it came back.
"""

from collections.abc import Iterable, Mapping

from restow.cloud.model import Cloud, Resource, Server
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, Cells, Primitive
from restow_planner.rules.base import Occupancy, Violation

Claims = Mapping[Resource, int]


class NumaRule:
    """A host that tells nothing of its cells takes no server that has any. Servers without cells are not counted."""

    name = "numa"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        having = [one for one in cloud.servers if one.numa]
        if not having:
            return
        cells = {host.name: host.numa for host in cloud.hosts if host.numa}
        alike: dict[tuple[int, HostName | None], list[ServerId]] = {}
        largest: dict[ServerId, Claims] = {}
        at_home: dict[ServerId, tuple[Claims, ...]] = {}
        for server in having:
            odd = server.host is not None and len(cells.get(server.host, ())) < len(server.numa)
            alike.setdefault((len(server.numa), server.host if odd else None), []).append(server.id)
            names = {name for cell in server.numa for name in cell}
            largest[server.id] = {name: max(cell.get(name, 0) for cell in server.numa) for name in names}
            if server.host in cells and server.numa_at:
                there: list[Claims] = [{} for _ in cells[server.host]]
                for cell, place in zip(server.numa, server.numa_at, strict=True):
                    there[place] = cell
                at_home[server.id] = tuple(there)
        for (count, home), servers in alike.items():
            wide = frozenset(name for name in (host.name for host in cloud.hosts) if len(cells.get(name, ())) >= count)
            yield Allowed("numa", tuple(servers), wide if home is None else wide | {home})
        yield Cells("numa", cells, largest, at_home)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        used: dict[tuple[HostName, int, Resource], int] = {}
        for server in cloud.servers:
            for name in where.get(server.id, ()) if server.numa else ():
                host = cloud.host_by_name.get(name)
                cells = () if host is None else host.numa
                if name != server.host and len(cells) < len(server.numa):
                    why = f"{server.id} has {len(server.numa)} NUMA cells, {name} has {len(cells)}"
                    yield Violation("numa", server.id, 1, why)
                for place in range(len(cells)):
                    for resource, amount in claims_in(server, name, place).items():
                        key = (name, place, resource)
                        used[key] = used.get(key, 0) + amount
        for (name, place, resource), amount in used.items():
            over = amount - cloud.host_by_name[name].numa[place].get(resource, 0)
            if over > 0:
                why = f"cell {place} of {name} may come to {amount} {resource}, {over} more than it has"
                yield Violation("numa", f"{name} cell {place} {resource}", over, why)


def claims_in(server: Server, host: HostName, place: int) -> dict[Resource, int]:
    """What the server may claim in this cell of a host: what it has there, where that is known, else the most."""
    if host == server.host and server.numa_at:
        return dict(server.numa[server.numa_at.index(place)]) if place in server.numa_at else {}
    found: dict[Resource, int] = {}
    for cell in server.numa:
        for resource, amount in cell.items():
            found[resource] = max(amount, found.get(resource, 0))
    return found

"""How much of something finds room as the cloud stands, by first fit; pure."""

from collections.abc import Iterable, Sequence

from restow.cloud.model import Cloud
from restow.ids import HostName


def first_fit(cloud: Cloud, hosts: Iterable[HostName], servers: Sequence[int]) -> int:
    """How many of these servers, by their number and in this order, find room on these hosts."""
    free = []
    for name in sorted(hosts):
        host = cloud.host_by_name.get(name)
        if host is not None and host.takes_servers:
            room = dict(host.capacity)
            for one in cloud.servers_on.get(name, ()):
                for resource, amount in one.demand.items():
                    room[resource] = room.get(resource, 0) - amount
            free.append(room)
    found = 0
    for server in servers:
        demand = {key: n for key, n in cloud.servers[server].demand.items() if n and key in cloud.resources}
        room = next((one for one in free if all(one.get(key, 0) >= amount for key, amount in demand.items())), {})
        for key, amount in demand.items() if room else ():
            room[key] -= amount
        found += bool(room)
    return found

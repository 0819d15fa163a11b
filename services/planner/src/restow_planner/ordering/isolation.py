"""Isolation in an ordering: on no host a member of a rule together with a stranger; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow_planner.primitives import Isolated


@dataclass(frozen=True, slots=True)
class Isolation:
    """One hard rule. `standing`: how many members and how many strangers are on each host at the start."""

    rule: str
    members: frozenset[ServerId]
    standing: dict[HostName, tuple[int, int]] = field(default_factory=dict)

    def strangers(self, host: HostName, *, member: bool) -> int:
        """How many stand on this host at the start whom such a server may not meet."""
        members, others = self.standing.get(host, (0, 0))
        return others if member else members


def isolations(cloud: Cloud, primitives: Iterable[Isolated]) -> Iterator[Isolation]:
    for one in primitives:
        found = Isolation(one.rule, frozenset(one.servers))
        for host, servers in cloud.servers_on.items():
            inside = sum(server.id in found.members for server in servers)
            found.standing[host] = (inside, len(servers) - inside)
        yield found

"""Unmovable: servers that nobody may touch stay where they are; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, HostState, Move, Server, ServerState
from restow_planner.primitives import Fixed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class UnmovableRule:
    """Locked, busy, in error, or said not to move. A server in error on a dead host may be rebuilt elsewhere."""

    name = "unmovable"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        why = {server.id: reason for server in cloud.servers if (reason := _why_fixed(cloud, server)) is not None}
        if why:
            yield Fixed("unmovable", why)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for server in cloud.servers:
            at = where.get(server.id, ())
            home = () if server.host is None else (server.host,)
            if at != home and _why_fixed(cloud, server) is not None:
                yield Violation("unmovable", server.id, 1, f"{server.id} is touched: {_why_fixed(cloud, server)}")


def _why_fixed(cloud: Cloud, server: Server) -> str | None:
    """One table for both sides: the rule is this table."""
    if server.locked:
        return "locked"
    if server.task is not None:
        return f"task {server.task} is under way"
    if server.move is Move.NONE and server.host is not None:
        return "must not be moved (move: none)"
    if server.state is ServerState.ERROR and server.host is not None:
        host = cloud.host_by_name.get(server.host)
        if host is None or (host.state is HostState.UP and not host.forced_down):
            return "in state error"
    return None

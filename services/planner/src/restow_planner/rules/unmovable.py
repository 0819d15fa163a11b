"""Unmovable: servers that nobody may touch stay where they are; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Move, Server, ServerState
from restow_planner.primitives import Fixed, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import runs

SET_ACTIVE = "openstack server set --state active {id}"
DIES_WITH_ITS_HOST = frozenset(
    {
        "image_snapshot", "image_snapshot_pending", "image_pending_upload", "image_uploading", "image_backup",
        "rebooting", "rebooting_hard", "reboot_pending", "reboot_pending_hard", "reboot_started", "reboot_started_hard",
        "powering-on", "powering-off",
    }
)  # fmt: skip
"""Tasks of which nothing is left, and that are no business of a rebuilding."""


class UnmovableRule:
    """Locked, busy, in error, or said not to move. On a host that runs nothing, what Nova rebuilds may be rebuilt."""

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
    fixed = _reason(cloud, server)
    return fixed and fixed[0]


def remedy(cloud: Cloud, server: Server) -> str | None:
    """What makes it movable; None where it is."""
    fixed = _reason(cloud, server)
    return fixed and fixed[1].format(id=server.id)


def _reason(cloud: Cloud, server: Server) -> tuple[str, str] | None:
    if server.locked:
        return "locked", "unlock it"
    if server.task is not None and not (server.task in DIES_WITH_ITS_HOST and _on_dead_host(cloud, server)):
        what = _remedy_of(server.task) if _on_dead_host(cloud, server) else "let its task end"
        return f"task {server.task} is under way", what
    if server.move is Move.NONE and server.host is not None:
        return "must not be moved (move: none)", "allow it to move"
    if server.state is ServerState.PAUSED and _on_dead_host(cloud, server):
        return "paused, and Nova rebuilds only what is active, stopped or in error", f"{SET_ACTIVE}, and ask again"
    if server.state is ServerState.ERROR and server.host is not None and not _on_dead_host(cloud, server):
        return "in state error", f"mend it, or {SET_ACTIVE} if it runs"
    return None


def _on_dead_host(cloud: Cloud, server: Server) -> bool:
    return server.host is not None and server.host in cloud.host_by_name and not runs(cloud, server.host)


def _remedy_of(task: str) -> str:
    """For a task that its host's death has cut, and that nobody ends."""
    if task in ("migrating", "verify_resize") or task.startswith("resize_"):
        what = "while it was being moved: see whether it runs on the other end, then"
    else:
        what = "during this task, which nobody ends:"
    return f"its host died {what} {SET_ACTIVE} and ask again"

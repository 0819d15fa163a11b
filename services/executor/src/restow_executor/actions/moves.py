"""What the three ways to move a server have in common: the look before, the room, the proof after."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

from restow.cloud.model import Cloud, Host, HostState, Resource, Server, ServerState
from restow.cloud.port import CloudPort, Migration, MigrationStatus
from restow.errors import NotFoundError, PermanentError
from restow.ids import HostName, ServerId
from restow_executor.actions.base import (
    Broken,
    Changed,
    Check,
    Done,
    Go,
    Later,
    Look,
    NoSign,
    Refused,
    Site,
    Underway,
    Verified,
)
from restow_executor.progress import StepState
from restow_executor.room import group_forbids, lacks, why_closed

TRUTH_GRACE_S = 60.0  # a migration may say completed before server and placement say so too
EVACUATED = ("evacuate", MigrationStatus.COMPLETED)
OVERDUE_FACTOR = 3  # of the time that a move is expected to take, where that is more than the policy's limit


def ends_of(site: Site) -> tuple[ServerId, HostName, HostName]:
    """The server, its source and its target."""
    step = site.step
    assert step.server is not None
    assert step.source is not None
    assert step.target is not None
    return ServerId(step.server), HostName(step.source), HostName(step.target)


def time_limit_s(site: Site) -> float:
    """How long the move may take: by the policy, or by what was expected of a very large server."""
    return max(site.policy.execution.migration_timeout_s, OVERDUE_FACTOR * (site.step.end_s - site.step.start_s))


async def look_at_move(site: Site, *, states: frozenset[ServerState], source_lives: bool) -> Look:
    """The part of a move's look that does not depend on its kind."""
    server_id, source, target = ends_of(site)
    try:
        # Moves before the server: one that ends in between is still counted as under way, never its end overlooked.
        known = await site.port.migrations(server_id)
        server = await site.port.server(server_id)
    except NotFoundError:
        return Changed(f"server {server_id} is gone")
    under_way = [one for one in known if not one.status.ended]
    if server.task is not None or under_way:
        return Later(f"{server_id} has a task under way: {server.task or under_way[-1].status.value}")
    if server.host == target and server.state is ServerState.ERROR:
        return Refused(f"{server_id} is in error on {target}: {_looked_at(server_id)}", "verification")
    if server.host == target:
        return Done(f"{server_id} is on {target} already", {"host": target, "state": server.state.value})
    if server.host != source:
        return Changed(f"{server_id} is on {server.host or 'no host'}, not on {source}: somebody moved it")
    if server.locked:
        return Changed(f"{server_id} is locked")
    if server.state not in states:
        return Changed(f"{server_id} is {server.state.value}")
    if source_lives:
        origin = await site.port.host(source)
        if origin.state is not HostState.UP or origin.forced_down:
            return Changed(f"{source} is down: a server cannot be moved away alive")
    held_back = await room_at(site, target, server)
    if held_back is not None:
        return Changed(held_back)
    return Go({"host": source, "state": server.state.value, "newest": known[-1].id if known else None})


async def room_at(site: Site, target: HostName, server: Server) -> str | None:
    """Why the target does not take this server, by fresh reads; None if it does, and then its room is claimed."""
    host, cloud = await asyncio.gather(_host(site, target), site.cloud())
    if host is None:
        return f"{target} is gone"
    closed = why_closed(host)
    if closed is not None:
        return closed
    in_flight = await allocations_in_flight(site.port, cloud, away_from=target)
    # From here to the claim nothing is awaited: two steps cannot count the same room for themselves.
    short = lacks(cloud, host, server, claims=site.claims, step=site.step.id, in_flight=in_flight)
    short = short or group_forbids(cloud, host, server, claims=site.claims, step=site.step.id)
    if short is None:
        site.claims.hold(site.step.id, target, server)
    return short


async def _host(site: Site, name: HostName) -> Host | None:
    """None: there is none of this name."""
    try:
        return await site.port.host(name)
    except NotFoundError:
        return None


async def allocations_in_flight(
    port: CloudPort, cloud: Cloud, *, away_from: HostName
) -> dict[ServerId, Mapping[HostName, Mapping[Resource, int]]]:
    """What placement holds for the servers that something is being done to, other than those on that host."""
    moving = [server.id for server in cloud.servers if server.task is not None and server.host != away_from]
    held = await asyncio.gather(*(_allocations(port, server) for server in moving))
    return dict(zip(moving, held, strict=True))


async def _allocations(port: CloudPort, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
    try:
        return await port.allocations(server)
    except NotFoundError:
        return {}


def ours(site: Site, migrations: Sequence[Migration]) -> Migration | None:
    """The newest migration that this step asked for.

    Nova keeps no id of a caller: after a restart a migration has none. Then it is ours if it does what we asked
    for and came after the newest that was there when we looked.
    """
    _, source, target = ends_of(site)
    seen = site.before.get("newest")
    first = next((number + 1 for number, one in enumerate(migrations) if one.id == seen), 0)
    known = [
        one for number, one in enumerate(migrations)
        if one.request_id in site.asked or (
            not one.request_id and number >= first
            and (one.kind, one.source, one.target) == (site.step.action.value, source, target)
        )
    ]  # fmt: skip
    return known[-1] if known and site.asked else None


async def check_move(site: Site, *, state_kept: bool) -> Check:
    """What came of it. Believed only when migration, server and placement agree."""
    server_id, source, target = ends_of(site)
    try:
        migrations = await site.port.migrations(server_id)
        server = await site.port.server(server_id)
    except NotFoundError:
        return Broken(f"server {server_id} was deleted meanwhile", StepState.STALE)
    mine = ours(site, migrations)
    running = [one for one in migrations if not one.status.ended]
    if (running or server.task is not None) and site.step.action != "evacuate" and site.lost(source):
        why = f"{source} died and was fenced while {server_id} was moved away from it: nobody ends that move any more"
        return Broken(why, StepState.STALE)
    if mine is not None and not mine.status.ended:
        queued = mine.status is MigrationStatus.QUEUED
        why = f"{mine.kind} is {mine.status.value}, {mine.progress:.0%} copied"
        return Underway(why, None if queued else mine.progress, queued=queued)
    if mine is not None and mine.status in (MigrationStatus.FAILED, MigrationStatus.CANCELLED):
        if running or server.task is not None:
            return Underway(f"{server_id} has a task under way: {server.task or running[-1].status.value}")
        if server.host != target:
            why = f"{mine.kind} to {target} is {mine.status.value}: {mine.reason or 'the cloud gave no reason'}"
            return await left_in_error(site, server, why) or Broken(why, StepState.MISSED)
    if running or server.task is not None:
        return Underway(f"{server_id} has a task under way: {server.task or running[-1].status.value}")
    if server.host == target:
        evacuated_from = frozenset(one.source for one in migrations if (one.kind, one.status) == EVACUATED)
        if site.step.action == "evacuate":
            evacuated_from |= {source}
        return await _proof(site, server, target=target, evacuated_from=evacuated_from, state_kept=state_kept)
    if mine is None:
        return NoSign(f"nothing shows that the move of {server_id} was taken")
    if _late(site):
        return Broken(f"the move is completed but {server_id} is on {server.host}", StepState.STALE)
    return Underway(f"completed, but {server_id} still shows {server.host}")


async def left_in_error(site: Site, server: Server, why: str) -> Check | None:
    """What to do about a server that a failed move of ours left in error on its old host; None if it did not.

    No plan can move it then, but for an evacuation, which Nova takes from error too.
    """
    if server.state is not ServerState.ERROR or site.before.get("state") == "error" or site.step.action == "evacuate":
        return None
    held = sorted(host for host in await site.port.allocations(server.id) if host != server.host)
    remedy = _looked_at(server.id)
    if held:  # another move would then leave it without any claim where it runs
        remedy += f", but first its claim, which placement has on {', '.join(held)}: execution.clear_errors does both"
    if site.policy.execution.clear_errors:
        try:
            await site.port.clear_error(server.id)
        except PermanentError as refused:
            remedy = f"it stays so: {refused}"
        else:
            return Underway(f"{server.id} was left in error though its guest runs: declared active again")
    return Broken(f"{why}; {server.id} is in error on {server.host}: {remedy}", StepState.FAILED)


def _looked_at(server: ServerId) -> str:
    return f"a person must look; if its guest runs there: openstack server set --state active {server}"


async def _proof(
    site: Site, server: Server, *, target: HostName, evacuated_from: frozenset[HostName], state_kept: bool
) -> Check:
    """Whether it is on the target as it was before, held by placement there and nowhere else.

    A dead host keeps the allocation of an evacuated server until its compute service starts again.
    """
    was = site.before.get("state")
    wrong = None
    if server.state is ServerState.ERROR or (state_kept and was in ("active", "stopped") and server.state != was):
        wrong = f"{server.id} is {server.state.value} on {target}, it was {was or 'not known'} before"
        if server.state is ServerState.ERROR:
            wrong += f": {_looked_at(server.id)}"
    holders = sorted(await site.port.allocations(server.id))
    left = [host for host in holders if host != target]
    stray = [host for host in left if host not in evacuated_from]
    if wrong is None and (stray or (target not in holders and bool(server.demand))):
        wrong = f"placement holds {server.id} on {', '.join(holders) or 'no host'}, not on {target} alone"
        wrong += f": openstack resource provider allocation show {server.id}, then nova-manage placement audit"
    if wrong is None:
        facts = {"host": target, "state": server.state.value, "allocations": holders}
        note = f"; {', '.join(left)} keeps its allocation until its compute service returns" if left else ""
        return Verified(f"on {target}, {server.state.value}, held by placement there{note}", facts)
    if _late(site):
        return Broken(wrong, StepState.FAILED)
    return Underway(wrong)


def _late(site: Site) -> bool:
    """Whether the truth has had its time to show. Counted from the first look that saw the end."""
    first = site.claims.seen_ended.setdefault(site.step.id, site.clock.now())
    return site.clock.now() - first > timedelta(seconds=TRUTH_GRACE_S)


def hands_off(site: Site, remedy: str = "") -> Broken:
    """For what cannot be aborted: asking for anything else now could start the server twice."""
    why = f"no end within the time given: hands off, a person must look at {site.step.server}"
    return Broken(f"{why}; {remedy}" if remedy else why, StepState.FAILED)

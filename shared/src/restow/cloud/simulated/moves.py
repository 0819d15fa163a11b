"""Migrations of the simulated cloud: taken or refused as Nova would, decided a moment later, then carried out; pure.

Most refusals come after the request was taken, as a migration that failed: so does Nova from microversion 2.34 on.
"""

from functools import partial

from restow.cloud.model import Move, ServerState
from restow.cloud.port import VERIFY, MigrationStatus
from restow.cloud.simulated.engine import Copy
from restow.cloud.simulated.scheduling import NO_VALID_HOST, refusal
from restow.cloud.simulated.world import Attempt, HostNow, ServerNow, World
from restow.errors import NotFoundError, PermanentError
from restow.ids import HostName, ServerId

LIVE, COLD, EVACUATE = "live-migrate", "cold-migrate", "evacuate"
RUNNING_STATES = (ServerState.ACTIVE, ServerState.PAUSED)


def live_migrate(world: World, server_id: ServerId, *, to: HostName, request_id: str) -> None:
    server = _free_server(world, server_id, (ServerState.ACTIVE, ServerState.PAUSED), "live-migrate")
    attempt = _taken(world, server, kind=LIVE, to=to, request_id=request_id)
    server.task = "migrating"
    world.touch(server)
    world.after(world.options.decide_s, partial(_decide, world, attempt))


def cold_migrate(world: World, server_id: ServerId, *, to: HostName, request_id: str) -> None:
    server = _free_server(world, server_id, (ServerState.ACTIVE, ServerState.STOPPED), "cold-migrate")
    attempt = _taken(world, server, kind=COLD, to=to, request_id=request_id)
    server.task = "resize_prep"
    world.touch(server)
    world.after(world.options.decide_s, partial(_decide, world, attempt))


def evacuate(world: World, server_id: ServerId, *, to: HostName, request_id: str) -> None:
    """Nova does not guard it against repetition, and neither does this: a second one corrupts the server."""
    server = world.server(server_id)
    if server.host is None:
        raise PermanentError(f"server {server_id} is on no host: it cannot be evacuated")
    source = world.hosts[server.host]
    if source.usable:
        raise PermanentError(f"Compute service of {source.name} is still in use: {server_id} is not evacuated")
    world.host(to)
    if to == source.name:
        raise PermanentError(f"server {server_id} cannot be evacuated to its own host {to}")
    if world.under_way(server_id, kind=EVACUATE) is not None:
        world.ledger.asked_twice(server_id, to, now=world.now)
        server.corrupt = True
        world.begin(server, kind=EVACUATE, target=to, request_id=request_id).status = MigrationStatus.RUNNING
        return
    if server.state not in (ServerState.ACTIVE, ServerState.STOPPED, ServerState.ERROR):
        raise PermanentError(f"cannot evacuate server {server_id} while it is {server.state}")
    if world.under_way(server_id) is not None:
        raise PermanentError(f"server {server_id} has a task under way: {server.task}")
    attempt = world.begin(server, kind=EVACUATE, target=to, request_id=request_id)
    attempt.status = MigrationStatus.RUNNING
    server.task = "rebuilding"
    world.touch(server)
    world.after(world.options.decide_s, partial(_decide_evacuation, world, attempt))


def abort(world: World, server_id: ServerId, migration: str) -> None:
    server = world.server(server_id)
    attempt = world.under_way(server_id)
    if attempt is None or attempt.kind != LIVE or attempt.id != migration:
        raise PermanentError(f"server {server_id} has no live migration under way that could be aborted")
    if attempt.stranded:
        return  # taken, and told to a host that does not hear it
    if attempt.copy is None and attempt in world.queues.get(attempt.source, ()):
        world.queues[attempt.source].remove(attempt)
        _back(world, attempt, server, MigrationStatus.CANCELLED, "aborted while queued")
        return
    world.after(world.options.abort_s, partial(_aborted, world, attempt))


def force_complete(world: World, server_id: ServerId, migration: str) -> None:
    """The guest is paused and the rest of its memory sent: the copy ends however fast it was dirtied."""
    server = world.server(server_id)
    attempt = world.under_way(server_id)
    if attempt is None or attempt.kind != LIVE or attempt.id != migration or attempt.copy is None:
        raise PermanentError(f"server {server_id} has no running live migration that could be completed")
    world.engine.give_up(attempt.copy)
    world.after(world.options.abort_s, partial(_forced, world, attempt))
    world.touch(server)


def confirm(world: World, server_id: ServerId) -> None:
    server = world.server(server_id)
    attempt = world.under_way(server_id, kind=COLD)
    if server.task != VERIFY or attempt is None:
        raise PermanentError(f"server {server_id} has no finished move that waits to be confirmed")
    _arrived(world, attempt, server, server.state)


def clear_error(world: World, server_id: ServerId) -> None:
    server = world.server(server_id)
    runs = server.host is not None and server.id in world.ledger.guests_of(server.host)
    if server.state is not ServerState.ERROR or server.task is not None or not runs:
        raise PermanentError(f"server {server_id} is not in error while its guest runs")
    for host in set(world.ledger.claims[server.id]) - {server.host}:
        world.ledger.release(server.id, host, now=world.now)
        world.touch(server, host)
    world.settle_records(server, host=server.host, state=ServerState.ACTIVE)


def interrupt(world: World, host: HostNow) -> None:
    """What copies to or from this host comes to nothing: it crashed, hung, lost its network or its power.

    Nova's records say so only where the source still reports. Where that died, the move stays under way for every
    reader, and its server has its task, until the source is back.
    """
    for attempt in world.all_under_way():
        if host.name not in (attempt.source, attempt.target) or not attempt.under_way:
            continue
        server = world.servers[attempt.server]
        if attempt.kind == EVACUATE:
            # A guest that boots on a host which dies is an error there; the source is dead anyway.
            if host.name == attempt.target and attempt.decided:
                world.ledger.release(server.id, attempt.target, now=world.now)
                world.end(attempt, MigrationStatus.FAILED, f"{host.name} failed")
                world.settle_records(server, host=server.host, state=ServerState.ERROR)
            continue
        if server.task == VERIFY:
            continue  # it has arrived; what is left is to give the old end back
        if not attempt.decided:
            continue  # the decision finds out for itself
        if host.name == attempt.source:
            _stranded(world, attempt)
            continue
        if attempt in world.queues.get(attempt.source, ()):
            world.queues[attempt.source].remove(attempt)
        _back(world, attempt, server, MigrationStatus.FAILED, f"{host.name} failed")


def _stranded(world: World, attempt: Attempt) -> None:
    if attempt.copy is not None:
        world.engine.give_up(attempt.copy)
        attempt.copy = None
    attempt.stranded = True


def take_up(world: World, host: HostNow) -> None:
    """Its compute service is back: it finds the moves that it had not ended, and ends them."""
    for attempt in world.all_under_way():
        if attempt.stranded and attempt.source == host.name:
            if attempt in world.queues.get(attempt.source, ()):
                world.queues[attempt.source].remove(attempt)
            _back(world, attempt, world.servers[attempt.server], MigrationStatus.FAILED, f"{host.name} failed")


def _free_server(world: World, server_id: ServerId, states: tuple[ServerState, ...], what: str) -> ServerNow:
    """Nova's 409s."""
    server = world.server(server_id)
    if server.base.locked:
        raise PermanentError(f"server {server_id} is locked")
    if server.task is not None:
        raise PermanentError(f"server {server_id} has a task under way: {server.task}")
    if server.host is None or server.state not in states:
        raise PermanentError(f"cannot {what} server {server_id} while it is {server.state}")
    return server


def _taken(world: World, server: ServerNow, *, kind: str, to: HostName, request_id: str) -> Attempt:
    attempt = world.begin(server, kind=kind, target=to, request_id=request_id)
    if to not in world.hosts:
        world.end(attempt, MigrationStatus.FAILED, f"{NO_VALID_HOST}: there is no host {to}")
        raise NotFoundError(f"there is no host {to} in domain {world.cloud.domain}")
    return attempt


def _decide(world: World, attempt: Attempt) -> None:
    """The scheduler answers: claims on both ends, or a failed migration."""
    if not attempt.under_way:
        return
    server, source = world.servers[attempt.server], world.hosts[attempt.source]
    if not (source.usable and source.copies):
        why = f"Compute service of {source.name} is unavailable"
    else:
        why = _unmovable(server, attempt.kind) or refusal(world, server, attempt.target)
    if why:
        world.end(attempt, MigrationStatus.FAILED, why)
        server.task = None
        world.touch(server)
        return
    attempt.decided = True
    world.ledger.claim(server.id, attempt.target, server.base.demand, now=world.now)
    if attempt.kind == LIVE:
        world.queues.setdefault(attempt.source, []).append(attempt)
        _serve_queue(world, attempt.source)
    else:
        attempt.status = MigrationStatus.RUNNING
        server.task = "resize_migrating"
        world.touch(server, attempt.target)
        world.ledger.ends(server.id, attempt.source)
        world.after(world.options.cold_s, partial(_cold_copies, world, attempt))


def _unmovable(server: ServerNow, kind: str) -> str:
    move = server.base.move
    if move is Move.NONE or (move is Move.COLD and kind == LIVE):
        return f"{NO_VALID_HOST}: server {server.id} cannot be moved so: its devices allow {move} migration"
    return ""


def _serve_queue(world: World, source: HostName) -> None:
    """Start what may start: so many live migrations out of one host at once, in the order of asking."""
    queue = world.queues.get(source, [])
    busy = sum(
        one.source == source and one.kind == LIVE and one.status is MigrationStatus.RUNNING
        for one in world.all_under_way()
    )
    while queue and busy < world.options.live_migrations_per_source_max and not queue[0].stranded:
        attempt = queue.pop(0)
        if not attempt.under_way:
            continue
        server = world.servers[attempt.server]
        if silent := [host for host in (attempt.source, attempt.target) if not world.hosts[host].copies]:
            _back(world, attempt, server, MigrationStatus.FAILED, f"{silent[0]} does not answer")
            continue
        busy += 1
        attempt.status = MigrationStatus.RUNNING
        world.touch(server, attempt.target)
        world.after(world.options.prepare_s, partial(_live_copies, world, attempt))


def _live_copies(world: World, attempt: Attempt) -> None:
    if not attempt.under_way or attempt.stranded:
        return
    server = world.servers[attempt.server]
    memory = float(server.base.demand.get("memory_mib", 0) or server.base.load.get("memory_mib", 0.0))
    dirty = float("inf") if server.id in world.stubborn else (server.base.dirty_mib_s or 0.0)
    attempt.copy = Copy(
        source=attempt.source,
        target=attempt.target,
        total_mib=memory,
        dirty_mib_s=dirty,
        done=partial(_live_done, world, attempt),
    )
    world.engine.copy(attempt.copy)
    if world.options.completion_timeout_s is not None:
        world.after(world.options.completion_timeout_s, partial(_timed_out, world, attempt))


def _cold_copies(world: World, attempt: Attempt) -> None:
    if not attempt.under_way or attempt.stranded:
        return
    disk = world.servers[attempt.server].base.demand.get("disk_gib", 0) * 1024.0
    attempt.copy = Copy(
        source=attempt.source,
        target=attempt.target,
        total_mib=disk if world.options.cold_copies_disk else 0.0,
        dirty_mib_s=0.0,
        done=partial(_cold_done, world, attempt),
    )
    world.engine.copy(attempt.copy)


def _live_done(world: World, attempt: Attempt) -> None:
    server = world.servers[attempt.server]
    if server.id in world.doomed:
        why, in_error = world.doomed.pop(server.id)
        _back(world, attempt, server, MigrationStatus.FAILED, why)
        if in_error:  # Nova gives it up as broken: what it claims on the target stays claimed
            world.ledger.claim(server.id, attempt.target, server.base.demand, now=world.now)
            world.settle_records(server, host=attempt.source, state=ServerState.ERROR)
        return
    world.ledger.ends(server.id, attempt.source)
    world.ledger.runs(server.id, attempt.target, now=world.now)
    _arrived(world, attempt, server, server.state)


def _cold_done(world: World, attempt: Attempt) -> None:
    server = world.servers[attempt.server]
    if server.id in world.doomed:
        why, in_error = world.doomed.pop(server.id)
        _back(world, attempt, server, MigrationStatus.FAILED, why)
        if in_error:
            world.settle_records(server, host=attempt.source, state=ServerState.ERROR)
        return
    if attempt.resume_as in RUNNING_STATES:
        world.ledger.runs(server.id, attempt.target, now=world.now)
    world.settle_records(server, host=attempt.target, state=attempt.resume_as)
    server.task = VERIFY  # it holds both ends until it is confirmed


def _forced(world: World, attempt: Attempt) -> None:
    if attempt.under_way and not attempt.stranded:
        _live_done(world, attempt)


def _arrived(world: World, attempt: Attempt, server: ServerNow, state: ServerState) -> None:
    world.end(attempt, MigrationStatus.COMPLETED)
    world.ledger.release(server.id, attempt.source, now=world.now)
    world.settle_records(server, host=attempt.target, state=state)
    _serve_queue(world, attempt.source)


def _back(world: World, attempt: Attempt, server: ServerNow, status: MigrationStatus, why: str) -> None:
    """The server stays where it was; what it claimed on the target is free again."""
    world.end(attempt, status, why)
    world.ledger.release(server.id, attempt.target, now=world.now)
    source = world.hosts[attempt.source]
    if attempt.kind == COLD and attempt.resume_as in RUNNING_STATES and source.runs:
        world.ledger.runs(server.id, attempt.source, now=world.now)
    server.task = None
    world.touch(server, attempt.target)
    _serve_queue(world, attempt.source)


def _aborted(world: World, attempt: Attempt) -> None:
    if not attempt.under_way or attempt.stranded:
        return
    server = world.servers[attempt.server]
    queue = world.queues.get(attempt.source, [])
    if attempt in queue:
        queue.remove(attempt)
    _back(world, attempt, server, MigrationStatus.CANCELLED, "aborted")


def _timed_out(world: World, attempt: Attempt) -> None:
    if attempt.under_way and not attempt.stranded:
        _back(world, attempt, world.servers[attempt.server], MigrationStatus.CANCELLED, "did not converge in time")


def _decide_evacuation(world: World, attempt: Attempt) -> None:
    if not attempt.under_way:
        return
    server = world.servers[attempt.server]
    if why := refusal(world, server, attempt.target, rebuilt=True):
        for one in tuple(world.active[server.id]):
            world.end(one, MigrationStatus.FAILED, why)
        server.corrupt = False
        world.settle_records(server, host=server.host, state=ServerState.ERROR)
        return
    attempt.decided = True
    world.ledger.claim(server.id, attempt.target, server.base.demand, now=world.now)
    world.touch(server, attempt.target)
    spread = 1 + 0.5 * world.chance("evacuate", attempt.id)
    world.after(world.options.evacuate_s * spread, partial(_rebuilt, world, attempt))


def _rebuilt(world: World, attempt: Attempt) -> None:
    """The guest boots. As Nova does: no task any more, but the old host until the move is on record."""
    if not attempt.under_way:
        return
    server = world.servers[attempt.server]
    server.task = None
    world.touch(server)
    world.after(world.options.record_s, partial(_evacuated, world, attempt))


def _evacuated(world: World, attempt: Attempt) -> None:
    """The guest runs elsewhere. The dead host keeps its claim until it returns."""
    if not attempt.under_way:
        return
    server = world.servers[attempt.server]
    state = ServerState.STOPPED if attempt.resume_as is ServerState.STOPPED else ServerState.ACTIVE
    if state is ServerState.ACTIVE:
        world.ledger.runs(server.id, attempt.target, now=world.now)
    world.end(attempt, MigrationStatus.COMPLETED)
    if world.hosts[attempt.source].reporting:  # back too early: it gives up guest and claim at once
        world.ledger.ends(server.id, attempt.source)
        world.ledger.release(server.id, attempt.source, now=world.now)
    if server.corrupt:
        _corrupted(world, attempt, server)
        return
    world.settle_records(server, host=attempt.target, state=state)


def _corrupted(world: World, first: Attempt, server: ServerNow) -> None:
    """What came of evacuating twice at once: the server in error where its guest runs, or rebuilding for good."""
    if world.chance("evacuated-twice", first.id) < 0.5:
        world.settle_records(server, host=first.target, state=ServerState.ERROR)
        return  # the second attempt stays as it is: accepted for good
    for attempt in tuple(world.active.get(server.id, ())):
        world.end(attempt, MigrationStatus.FAILED, f"instance already exists on {first.target}")
    world.settle_records(server, host=first.target, state=server.state)
    server.task = "rebuilding"
    world.touch(server)

"""Starting, stopping and shelving servers of the simulated cloud; pure."""

from functools import partial

from restow.cloud.model import ServerState
from restow.cloud.simulated.scheduling import refusal
from restow.cloud.simulated.world import ServerNow, World
from restow.errors import PermanentError
from restow.ids import HostName, ServerId


def start(world: World, server_id: ServerId, *, on: HostName | None) -> None:
    """A stopped server starts where it is; one without a host claims its place on `on` at once, or is refused."""
    server = _free(world, server_id)
    if server.host is None:
        if on is None:
            raise PermanentError(f"server {server_id} is on no host: say where to start it")
        if why := refusal(world, server, on):
            raise PermanentError(why)
        world.ledger.claim(server.id, on, server.base.demand, now=world.now)
        _under_way(world, server, "spawning", world.options.start_s, partial(_spawned, world, server, on))
        return
    if on is not None and on != server.host:
        raise PermanentError(f"server {server_id} is on {server.host}, not on {on}")
    if server.state is not ServerState.STOPPED:
        raise PermanentError(f"cannot start server {server_id} while it is {server.state}")
    _needs_its_host(world, server)
    _under_way(world, server, "powering-on", world.options.start_s, partial(_started, world, server))


def stop(world: World, server_id: ServerId) -> None:
    server = _free(world, server_id)
    if server.host is None or server.state not in (ServerState.ACTIVE, ServerState.ERROR):
        raise PermanentError(f"cannot stop server {server_id} while it is {server.state}")
    _needs_its_host(world, server)
    _under_way(world, server, "powering-off", world.options.stop_s, partial(_stopped, world, server))


def shelve(world: World, server_id: ServerId) -> None:
    server = _free(world, server_id)
    if server.host is None or server.state is ServerState.ERROR:
        raise PermanentError(f"cannot shelve server {server_id} while it is {server.state} on {server.host}")
    _needs_its_host(world, server)
    _under_way(world, server, "shelving", world.options.shelve_s, partial(_shelved, world, server))


def _free(world: World, server_id: ServerId) -> ServerNow:
    server = world.server(server_id)
    if server.base.locked:
        raise PermanentError(f"server {server_id} is locked")
    if server.task is not None:
        raise PermanentError(f"server {server_id} has a task under way: {server.task}")
    return server


def _needs_its_host(world: World, server: ServerNow) -> None:
    assert server.host is not None
    if not world.hosts[server.host].usable:
        raise PermanentError(f"Compute service of {server.host} is unavailable")


def _under_way(world: World, server: ServerNow, task: str, seconds: float, end: partial[None]) -> None:
    server.task = task
    world.touch(server)
    world.after(seconds, partial(_end, world, server, task, end))


def _end(world: World, server: ServerNow, task: str, end: partial[None]) -> None:
    if server.task == task and world.servers.get(server.id) is server:
        end()


def _spawned(world: World, server: ServerNow, on: HostName) -> None:
    if not world.hosts[on].runs:
        world.ledger.release(server.id, on, now=world.now)
        world.settle_records(server, host=None, state=server.state)
        return
    world.ledger.runs(server.id, on, now=world.now)
    world.settle_records(server, host=on, state=ServerState.ACTIVE)


def _started(world: World, server: ServerNow) -> None:
    assert server.host is not None
    if world.hosts[server.host].runs:
        world.ledger.runs(server.id, server.host, now=world.now)
        world.settle_records(server, host=server.host, state=ServerState.ACTIVE)
    else:
        world.settle_records(server, host=server.host, state=server.state)


def _stopped(world: World, server: ServerNow) -> None:
    assert server.host is not None
    world.ledger.ends(server.id, server.host)
    world.settle_records(server, host=server.host, state=ServerState.STOPPED)


def _shelved(world: World, server: ServerNow) -> None:
    assert server.host is not None
    world.ledger.ends(server.id, server.host)
    world.ledger.release(server.id, server.host, now=world.now)
    world.settle_records(server, host=None, state=ServerState.STOPPED)

"""Hosts of the simulated cloud: the operator's switches, power, faults, death and return; pure."""

from functools import partial

from restow.cloud.model import HostState, ServerState
from restow.cloud.port import FAULTS, Heartbeat
from restow.cloud.simulated import moves
from restow.cloud.simulated.moves import EVACUATE, RUNNING_STATES
from restow.cloud.simulated.world import AGENT_DOWN, CRASH, HANG, HOT, NETWORK_LOSS, HostNow, World, moment_of
from restow.errors import BadInputError, FieldError
from restow.ids import HostName


def disable(world: World, name: HostName) -> None:
    host = world.host(name)
    host.enabled = False
    world.touch_host(host)


def enable(world: World, name: HostName) -> None:
    host = world.host(name)
    host.enabled = True
    world.touch_host(host)


def force_down(world: World, name: HostName, *, down: bool) -> None:
    """Down at once and for every reader, whatever the service reports; up a moment after it is taken back."""
    host = world.host(name)
    if down:
        host.forced_down = True
        world.touch_host(host)
    elif host.forced_down:
        world.after(world.options.unforce_s, partial(_unforced, world, host))


def power(world: World, name: HostName, *, on: bool) -> None:
    host = world.host(name)
    if on == host.power_wanted:
        return  # asked for again: what is under way goes on
    host.power_wanted = on
    host.power_changes += 1
    if on == host.powered:
        return
    seconds = 0.0 if on else world.options.power_off_s
    world.after(seconds, partial(_powered, world, host, on=on, order=host.power_changes))


def inject(world: World, kind: str, name: HostName) -> None:
    if kind not in FAULTS:
        raise BadInputError("fault", (FieldError("kind", kind, "one of " + ", ".join(FAULTS)),))
    host = world.host(name)
    if kind in host.faults:
        return
    host.faults.add(kind)
    match kind:
        case _ if kind == CRASH:
            if world.chance("crash", name, world.now) < world.options.crash_powers_off:
                host.powered = host.power_wanted = False
            _guests_die(world, host)
            moves.interrupt(world, host)
        case _ if kind in (HANG, NETWORK_LOSS):
            moves.interrupt(world, host)  # its guests live on, unseen
        case _ if kind == HOT:
            _heat(world, host)
        case _:
            assert kind == AGENT_DOWN
    _settle(world, host)


def clear_faults(world: World, name: HostName | None = None) -> None:
    """A host that is without power because of the fault, or of its fencing, is switched on and boots."""
    for host in [world.host(name)] if name is not None else list(world.hosts.values()):
        if not host.faults:
            continue
        dead = host.faults != {HOT} and (bool(host.faults & {CRASH, HANG}) or not host.powered)
        host.faults.clear()
        _cool(world, host)
        if dead:
            _guests_die(world, host)
            host.powered, host.power_wanted, host.booted = True, True, False
            host.power_changes += 1
            world.after(world.options.host_boot_s, partial(_booted, world, host, order=host.power_changes))
        _settle(world, host)


def heartbeats(world: World, silent: dict[str, tuple[Heartbeat, ...]]) -> tuple[Heartbeat, ...]:
    """Every source's word about every host. A silent source's last words stay as they were."""
    found: list[Heartbeat] = []
    for source in world.options.heartbeat_sources:
        if source in silent:
            found.extend(silent[source])
        else:
            found.extend(_word(world, source, host) for host in world.hosts.values())
    return tuple(found)


def _heat(world: World, host: HostNow) -> None:
    """Its servers work harder, wherever they go then; what they cannot burn is burnt beside them."""
    wanted = world.options.hot_share * host.base.physical.get("cpu_cores", float(host.base.capacity.get("vcpu", 0)))
    servers = [one for one in world.records_on(host.name) if host.name in world.ledger.guests.get(one.id, ())]
    slot = int(world.now // world.options.load_period_s)
    loads = [one.curve.at(slot, running=True).get("cpu_cores", 0.0) for one in servers]  # at this time of the day
    busy = sum(loads)
    idle = sum(max(0.0, one.base.demand.get("vcpu", 0) - load) for one, load in zip(servers, loads, strict=True))
    share = min(1.0, max(0.0, wanted - busy) / idle) if idle > 0 else 0.0
    world.heated[host.name] = tuple(one.id for one in servers)
    for server in servers:
        world.heat[server.id] = share
        world.touch(server)
    world.hot_cores[host.name] = max(0.0, wanted - busy - share * idle)


def _cool(world: World, host: HostNow) -> None:
    world.hot_cores.pop(host.name, None)
    for name in world.heated.pop(host.name, ()):
        world.heat.pop(name, None)
        if name in world.servers:
            world.touch(world.servers[name])


def _word(world: World, source: str, host: HostNow) -> Heartbeat:
    at = world.now
    match source:
        case "compute-service":
            # Nova tells the age of the last report; the operator's forcing is no evidence about the host.
            alive = host.reported is HostState.UP
            last = world.now if host.reporting else host.silent_since
            at = last - last % world.options.report_interval_s if alive else world.now
        case "storage":
            alive = host.writes_storage
        case "power":
            alive = host.powered
        case _:
            alive = host.answers_pings
    return Heartbeat(source, host.name, alive, moment_of(at))


def _settle(world: World, host: HostNow) -> None:
    """Whether its agent reports follows from all else; the compute service believes it dead some time later."""
    reports = host.agent_reports
    if host.reporting and not reports:
        host.silent_since = world.now
        world.after(world.options.service_down_time_s, partial(_seen_silent, world, host, since=world.now))
    elif reports and not host.reporting:
        host.reported = HostState.UP
        moves.take_up(world, host)
        _evacuated_guests_go(world, host)
    host.reporting = reports
    world.touch_host(host)


def _seen_silent(world: World, host: HostNow, *, since: float) -> None:
    if not host.reporting and host.silent_since == since:
        host.reported = HostState.DOWN
        world.touch_host(host)


def _unforced(world: World, host: HostNow) -> None:
    host.forced_down = False
    world.touch_host(host)


def _powered(world: World, host: HostNow, *, on: bool, order: int) -> None:
    if order != host.power_changes or on == host.powered:
        return
    host.powered = on
    host.booted = False
    if on:
        world.after(world.options.host_boot_s, partial(_booted, world, host, order=order))
    else:
        _guests_die(world, host)
        moves.interrupt(world, host)
    _settle(world, host)


def _booted(world: World, host: HostNow, *, order: int) -> None:
    """Its own servers start again, if the cloud is so set; those that were evacuated do not."""
    if order != host.power_changes or not host.powered or host.booted:
        return
    host.booted = True
    if CRASH in host.faults:
        return
    for server in world.records_on(host.name):
        evacuating = world.under_way(server.id, kind=EVACUATE) is not None
        if server.state not in RUNNING_STATES or evacuating or server.task == "rebuilding":
            continue
        if world.options.guests_resume:
            world.ledger.runs(server.id, host.name, now=world.now)
        else:
            world.settle_records(server, host=host.name, state=ServerState.STOPPED)
    _settle(world, host)


def _guests_die(world: World, host: HostNow) -> None:
    for server in world.ledger.guests_of(host.name):
        world.ledger.ends(server, host.name)
        world.touch(world.servers[server])


def _evacuated_guests_go(world: World, host: HostNow) -> None:
    """nova-compute is back: what was rebuilt elsewhere is deleted here, with its claim."""
    for name in world.ledger.claims_on(host.name):
        server = world.servers[name]
        arriving = any(one.target == host.name for one in world.active.get(name, ()))
        leaving = any(one.source == host.name and one.kind != EVACUATE for one in world.active.get(name, ()))
        starting = server.host is None
        if server.host != host.name and not (arriving or leaving or starting):
            world.ledger.ends(name, host.name)
            world.ledger.release(name, host.name, now=world.now)
            world.touch(server, host.name)

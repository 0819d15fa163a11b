"""Whether the scheduler and the destination would take a server, and if not, why; pure."""

from restow.cloud.model import Group, GroupPolicy
from restow.cloud.simulated.world import ServerNow, World
from restow.ids import HostName, ServerId

NO_VALID_HOST = "No valid host was found"


def refusal(world: World, server: ServerNow, target: HostName, *, rebuilt: bool = False) -> str:
    """Why this server may not go to this host now; empty if it may. `rebuilt`: its own host is dead."""
    why = _why_not(world, server, target, rebuilt=rebuilt)
    return f"{NO_VALID_HOST}: {why}" if why else ""


def _why_not(world: World, server: ServerNow, target: HostName, *, rebuilt: bool) -> str:
    host = world.host(target)
    base = server.base
    if target == server.host:
        return f"{target} is where it is"
    if not host.usable:
        return f"compute service of {target} is unavailable"
    if not host.takes_servers:
        return f"{target} is disabled"
    if base.zone is not None and base.zone != host.base.zone:
        return f"{target} is not in zone {base.zone}"
    if lacking := base.requires - host.base.traits:
        return f"{target} lacks traits {', '.join(sorted(lacking))}"
    if forbidden := base.forbids & host.base.traits:
        return f"{target} has forbidden traits {', '.join(sorted(forbidden))}"
    if lacks := world.ledger.lacks(target, base.demand):
        return lacks
    for group in world.groups_of.get(server.id, ()):
        if why := _group_forbids(world, group, server.id, target, rebuilt=rebuilt):
            return why
    return ""


def _group_forbids(world: World, group: Group, server: ServerId, target: HostName, *, rebuilt: bool) -> str:
    places = [
        places
        for member in group.members
        if member != server and member in world.servers and (places := _places(world, member))
    ]
    match group.policy:
        case GroupPolicy.ANTI_AFFINITY:
            there = sum(target in one for one in places)
            if there >= group.max_per_host:
                return f"group policy of {group.id} was violated: {there} members on {target}"
        case GroupPolicy.AFFINITY:
            # Nova would count members on dead hosts too, and so could never recover such a group; this one can.
            alive = {host for one in places for host in one if not rebuilt or world.hosts[host].usable}
            if alive and target not in alive:
                return f"group policy of {group.id} was violated: its members are on {', '.join(sorted(alive))}"
        case GroupPolicy.SOFT_AFFINITY | GroupPolicy.SOFT_ANTI_AFFINITY:
            pass
    return ""


def _places(world: World, member: ServerId) -> set[HostName]:
    """Its host and where it is going to."""
    found = {attempt.target for attempt in world.active.get(member, ()) if attempt.decided}
    host = world.servers[member].host
    return found if host is None else found | {host}

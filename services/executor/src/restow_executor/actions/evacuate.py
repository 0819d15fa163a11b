"""Rebuild a server elsewhere, whose host is proven dead: fenced in this journal, and off when asked now.

Never sent twice while a migration of it may be under way: the cloud itself does not guard against that,
and the server would be lost (see the measurements in the docs).
"""

import asyncio

from restow.cloud.model import HostState, Power, ServerState
from restow.errors import NotFoundError, TransientError
from restow.ids import HostName
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Broken, Changed, Check, Go, Later, Look, Patience, Refused, Site
from restow_executor.actions.moves import check_move, ends_of, hands_off, look_at_move, time_limit_s

GUARD = "fence"


class Evacuate:
    name = Name.EVACUATE
    host_change = None

    def patience(self, site: Site) -> Patience:
        # Longer than for a migration: a second evacuation of one server is the worst that can be asked for.
        return Patience(settle_s=60.0, limit_s=time_limit_s(site))

    async def look(self, site: Site) -> Look:
        seen = await look_at_move(site, states=frozenset(ServerState), source_lives=False)
        if not isinstance(seen, Go):
            return seen
        _, source, _ = ends_of(site)
        return await _gate(site, source) or seen

    async def ask(self, site: Site, *, request_id: str) -> None:
        server, _, target = ends_of(site)
        await site.port.evacuate(server, to=target, request_id=request_id)

    async def check(self, site: Site) -> Check:
        return await check_move(site, state_kept=True)

    async def give_up(self, site: Site) -> Broken | None:
        return hands_off(site)


async def _gate(site: Site, source: HostName) -> Refused | Changed | Later | None:
    """The fence gate: None lets pass."""
    if not site.fenced(source):
        return Refused(f"{source} was not fenced in this plan: nothing is started elsewhere", GUARD)
    try:
        power, host = await asyncio.gather(site.port.power_state(source), site.port.host(source))
    except NotFoundError:
        return Refused(f"{source} is not known any more: whether it is off cannot be told", GUARD)
    except TransientError as error:
        return Later(f"whether {source} is off cannot be told just now: {error}")
    match power:
        case Power.ON:
            return Changed(f"{source} is powered on again: nothing is started elsewhere", GUARD)
        case Power.UNKNOWN:
            return Later(f"whether {source} is off cannot be told just now")
        case Power.OFF if host.state is HostState.DOWN or host.forced_down:
            return None
        case Power.OFF:
            return Changed(f"{source} is off but its compute service counts as up", GUARD)

"""Power an emptied host off. Only a disabled host without servers: this is never a fence."""

from restow.cloud.model import Power
from restow.errors import NotFoundError
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Broken, Changed, Check, Done, Go, Later, Look, NoSign, Patience, Site, Verified
from restow_executor.actions.hosts import POWER, host_of, not_confirmed
from restow_executor.actions.moves import allocations_in_flight


class PowerOff:
    name = Name.POWER_OFF
    host_change = "powered-off"

    def patience(self, site: Site) -> Patience:
        del site
        return POWER

    async def look(self, site: Site) -> Look:
        name = host_of(site)
        try:
            host = await site.port.host(name)
        except NotFoundError:
            return Changed(f"{name} is gone")
        if await site.port.power_state(name) is Power.OFF:
            return Done(f"{name} is off already", {"power": "off"})
        if host.enabled:
            return Changed(f"{name} is enabled: a server could arrive while it goes off")
        cloud = await site.cloud()
        there = cloud.servers_on.get(name, ())
        if there:
            return Changed(f"{name} is not empty: {len(there)} servers, {there[0].id} among them")
        moving = await allocations_in_flight(site.port, cloud, away_from=name)
        held = sorted(server for server, ends in moving.items() if name in ends)
        if held:
            return Later(f"{name} is one end of a move of {held[0]} that has not ended")
        return Go()

    async def ask(self, site: Site, *, request_id: str) -> None:
        del request_id
        await site.port.power(host_of(site), on=False)

    async def check(self, site: Site) -> Check:
        name = host_of(site)
        power = await site.port.power_state(name)
        if power is not Power.OFF:
            return NoSign(f"{name} is still {power.value}")
        return Verified(f"{name} is off", {"power": "off"})

    async def give_up(self, site: Site) -> Broken | None:
        return not_confirmed(site, "powering off")

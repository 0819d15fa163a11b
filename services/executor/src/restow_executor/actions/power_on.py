"""Power a host on, and wait until its compute service is up."""

from restow.cloud.model import HostState, Power
from restow.errors import NotFoundError
from restow.messages.plan import Action as Name
from restow_executor.actions.base import (
    Broken,
    Changed,
    Check,
    Done,
    Go,
    Look,
    NoSign,
    Patience,
    Site,
    Underway,
    Verified,
)
from restow_executor.actions.hosts import POWER, host_of, not_confirmed


class PowerOn:
    name = Name.POWER_ON
    host_change = "powered-on"

    def patience(self, site: Site) -> Patience:
        del site
        return POWER

    async def look(self, site: Site) -> Look:
        name = host_of(site)
        try:
            host = await site.port.host(name)
        except NotFoundError:
            return Changed(f"{name} is gone")
        if await site.port.power_state(name) is Power.ON and (host.state is HostState.UP or host.forced_down):
            return Done(f"{name} is on already", {"power": "on"})
        return Go()

    async def ask(self, site: Site, *, request_id: str) -> None:
        del request_id
        name = host_of(site)
        if await site.port.power_state(name) is not Power.ON:
            await site.port.power(name, on=True)

    async def check(self, site: Site) -> Check:
        name = host_of(site)
        power = await site.port.power_state(name)
        if power is not Power.ON:
            return NoSign(f"{name} is still {power.value}")
        host = await site.port.host(name)
        if host.state is not HostState.UP and not host.forced_down:
            return Underway(f"{name} is on, its compute service is not up yet")
        return Verified(f"{name} is on", {"power": "on", "state": host.state.value})

    async def give_up(self, site: Site) -> Broken | None:
        return not_confirmed(site, "powering on")

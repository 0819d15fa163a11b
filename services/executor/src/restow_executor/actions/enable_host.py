"""Put a host back in service. One that was declared down is declared up again, if it is on and lives."""

from dataclasses import replace
from datetime import timedelta

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
    Refused,
    Site,
    Verified,
)
from restow_executor.actions.hosts import SWITCH, host_of, not_confirmed


class EnableHost:
    name = Name.ENABLE_HOST
    host_change = "enabled"

    def patience(self, site: Site) -> Patience:
        del site
        return replace(SWITCH, limit_s=180.0)  # Nova's hosts tell placement of themselves once a minute

    async def look(self, site: Site) -> Look:
        name = host_of(site)
        try:
            host = await site.port.host(name)
        except NotFoundError:
            return Changed(f"{name} is gone")
        if host.enabled and not host.forced_down and not host.withheld:
            return Done(f"{name} is enabled already", {"enabled": True})
        if host.forced_down and not await _lives(site):
            return Refused(f"{name} was fenced and does not answer on all paths: it stays out of service", "fence")
        return Go()

    async def ask(self, site: Site, *, request_id: str) -> None:
        del request_id
        name = host_of(site)
        if (await site.port.host(name)).forced_down:
            await site.port.force_down(name, down=False)
            return  # enabled once its service is up: before, it would not hear of it and stay closed in placement
        await site.port.enable(name)

    async def check(self, site: Site) -> Check:
        host = await site.port.host(host_of(site))
        if not host.enabled and not host.forced_down and host.state is HostState.UP:
            await site.port.enable(host.name)
            host = await site.port.host(host.name)
        if not host.enabled or host.forced_down:
            return NoSign(f"{host.name} is still {'declared down' if host.forced_down else 'disabled'}")
        if host.withheld:
            return NoSign(f"{host.name} is enabled, but placement does not offer it yet")
        return Verified(f"{host.name} takes servers again", {"enabled": True})

    async def give_up(self, site: Site) -> Broken | None:
        return not_confirmed(site, "enabling")


async def _lives(site: Site) -> bool:
    """On, and nobody who spoke of late says otherwise (the compute service apart: a fenced host counts as down)."""
    name = host_of(site)
    if await site.port.power_state(name) is not Power.ON:
        return False
    silent = timedelta(seconds=site.policy.evidence.source_silent_s)
    words = [
        word
        for word in await site.port.heartbeats()
        if word.host == name and site.clock.now() - word.at <= silent and word.source != "compute-service"
    ]
    return all(word.alive for word in words)

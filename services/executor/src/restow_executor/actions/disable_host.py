"""Let no new server arrive on a host."""

from restow.errors import NotFoundError
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Broken, Changed, Check, Done, Go, Look, NoSign, Patience, Site, Verified
from restow_executor.actions.hosts import SWITCH, host_of, not_confirmed


class DisableHost:
    name = Name.DISABLE_HOST
    host_change = "disabled"

    def patience(self, site: Site) -> Patience:
        del site
        return SWITCH

    async def look(self, site: Site) -> Look:
        name = host_of(site)
        try:
            host = await site.port.host(name)
        except NotFoundError:
            return Changed(f"{name} is gone")
        return Go() if host.enabled else Done(f"{name} is disabled already", {"enabled": False})

    async def ask(self, site: Site, *, request_id: str) -> None:
        del request_id
        await site.port.disable(host_of(site), reason=site.reason or "restow")

    async def check(self, site: Site) -> Check:
        host = await site.port.host(host_of(site))
        if host.enabled:
            return NoSign(f"{host.name} is still enabled")
        return Verified(f"{host.name} takes no new servers", {"enabled": False})

    async def give_up(self, site: Site) -> Broken | None:
        return not_confirmed(site, "disabling")

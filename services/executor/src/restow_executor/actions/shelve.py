"""Take a server off its host: shelved and offloaded, its claim given back."""

from restow.cloud.model import Server
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Changed, Check, Done, Go, Look, NoSign, Patience, Site, Underway, Verified
from restow_executor.actions.in_place import InPlace, server_of


class Shelve(InPlace):
    name = Name.SHELVE

    def patience(self, site: Site) -> Patience:
        return Patience(settle_s=20.0, limit_s=site.policy.execution.migration_timeout_s)

    async def look_at(self, site: Site, server: Server) -> Look:
        source = site.step.source
        if server.host is None:
            return Done(f"{server.id} is on no host already", {"host": None})
        if source is not None and server.host != source:
            return Changed(f"{server.id} is on {server.host}, not on {source}")
        if server.locked:
            return Changed(f"{server.id} is locked")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        await site.port.shelve(server_of(site), request_id=request_id)

    async def check_on(self, site: Site, server: Server) -> Check:
        if server.host is not None:
            return NoSign(f"{server.id} is still on {server.host}")
        holders = sorted(await site.port.allocations(server.id))
        if holders:
            return Underway(f"placement still holds {server.id} on {', '.join(holders)}")
        return Verified("shelved, its claim given back", {"host": None, "allocations": []})

"""Stop a server; it keeps its host and its claim."""

from restow.cloud.model import Server, ServerState
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Changed, Check, Done, Go, Look, NoSign, Site, Verified
from restow_executor.actions.in_place import InPlace, server_of


class Stop(InPlace):
    name = Name.STOP

    async def look_at(self, site: Site, server: Server) -> Look:
        source = site.step.source
        if source is not None and server.host != source:
            return Changed(f"{server.id} is on {server.host or 'no host'}, not on {source}")
        if server.state is ServerState.STOPPED:
            return Done(f"{server.id} is stopped already", {"state": "stopped"})
        if server.locked:
            return Changed(f"{server.id} is locked")
        if server.state is ServerState.ERROR:
            return Changed(f"{server.id} is in error")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        await site.port.stop(server_of(site), request_id=request_id)

    async def check_on(self, site: Site, server: Server) -> Check:
        del site
        if server.state is ServerState.STOPPED:
            return Verified(f"stopped on {server.host}", {"host": server.host, "state": "stopped"})
        return NoSign(f"{server.id} is {server.state.value}")

"""Stop a server; it keeps its host and its claim."""

from restow.cloud.model import ServerState
from restow.errors import NotFoundError
from restow.ids import ServerId
from restow.messages.plan import Action as Name
from restow_executor.actions.base import (
    Broken,
    Changed,
    Check,
    Done,
    Go,
    Later,
    Look,
    NoSign,
    Patience,
    Site,
    Underway,
    Verified,
)
from restow_executor.actions.moves import hands_off
from restow_executor.progress import StepState


class Stop:
    name = Name.STOP
    host_change = None

    def patience(self, site: Site) -> Patience:
        del site
        return Patience(settle_s=20.0, limit_s=600.0)

    async def look(self, site: Site) -> Look:
        server_id, source = ServerId(site.step.server or ""), site.step.source
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Changed(f"server {server_id} is gone")
        if server.task is not None:
            return Later(f"{server_id} has a task under way: {server.task}")
        if source is not None and server.host != source:
            return Changed(f"{server_id} is on {server.host or 'no host'}, not on {source}")
        if server.state is ServerState.STOPPED:
            return Done(f"{server_id} is stopped already", {"state": "stopped"})
        if server.locked:
            return Changed(f"{server_id} is locked")
        if server.state is ServerState.ERROR:
            return Changed(f"{server_id} is in error")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        await site.port.stop(ServerId(site.step.server or ""), request_id=request_id)

    async def check(self, site: Site) -> Check:
        server_id = ServerId(site.step.server or "")
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Broken(f"server {server_id} was deleted meanwhile", StepState.STALE)
        if server.task is not None:
            return Underway(f"{server_id} has a task under way: {server.task}")
        if server.state is ServerState.STOPPED:
            return Verified(f"stopped on {server.host}", {"host": server.host, "state": "stopped"})
        return NoSign(f"{server_id} is {server.state.value}")

    async def give_up(self, site: Site) -> Broken | None:
        return hands_off(site)

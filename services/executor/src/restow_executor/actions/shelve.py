"""Take a server off its host: shelved and offloaded, its claim given back."""

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


class Shelve:
    name = Name.SHELVE
    host_change = None

    def patience(self, site: Site) -> Patience:
        return Patience(settle_s=20.0, limit_s=site.policy.execution.migration_timeout_s)

    async def look(self, site: Site) -> Look:
        server_id, source = ServerId(site.step.server or ""), site.step.source
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Changed(f"server {server_id} is gone")
        if server.task is not None:
            return Later(f"{server_id} has a task under way: {server.task}")
        if server.host is None:
            return Done(f"{server_id} is on no host already", {"host": None})
        if source is not None and server.host != source:
            return Changed(f"{server_id} is on {server.host}, not on {source}")
        if server.locked:
            return Changed(f"{server_id} is locked")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        await site.port.shelve(ServerId(site.step.server or ""), request_id=request_id)

    async def check(self, site: Site) -> Check:
        server_id = ServerId(site.step.server or "")
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Broken(f"server {server_id} was deleted meanwhile", StepState.STALE)
        if server.task is not None:
            return Underway(f"{server_id} has a task under way: {server.task}")
        if server.host is not None:
            return NoSign(f"{server_id} is still on {server.host}")
        holders = sorted(await site.port.allocations(server_id))
        if holders:
            return Underway(f"placement still holds {server_id} on {', '.join(holders)}")
        return Verified("shelved, its claim given back", {"host": None, "allocations": []})

    async def give_up(self, site: Site) -> Broken | None:
        return hands_off(site)

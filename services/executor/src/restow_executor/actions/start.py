"""Start a stopped server where it is, or one that runs nowhere yet on its target."""

from restow.cloud.model import ServerState
from restow.errors import NotFoundError
from restow.ids import HostName, ServerId
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
from restow_executor.actions.moves import hands_off, room_at
from restow_executor.progress import StepState


class Start:
    name = Name.START
    host_change = None

    def patience(self, site: Site) -> Patience:
        del site
        return Patience(settle_s=20.0, limit_s=600.0)

    async def look(self, site: Site) -> Look:
        server_id, target = ServerId(site.step.server or ""), site.step.target
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Changed(f"server {server_id} is gone")
        if server.task is not None:
            return Later(f"{server_id} has a task under way: {server.task}")
        if server.host is not None and target is not None and server.host != target:
            return Changed(f"{server_id} is on {server.host}, not on {target}")
        if server.host is not None and server.state is ServerState.ACTIVE:
            return Done(f"{server_id} runs on {server.host} already", {"host": server.host, "state": "active"})
        if server.locked:
            return Changed(f"{server_id} is locked")
        if server.host is None:
            if target is None:
                return Changed(f"{server_id} is on no host and the plan names none")
            held_back = await room_at(site, HostName(target), server)
            if held_back is not None:
                return Changed(held_back)
        elif server.state is not ServerState.STOPPED:
            return Changed(f"{server_id} is {server.state.value}")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        on = HostName(site.step.target) if site.step.target and site.before.get("host") is None else None
        await site.port.start(ServerId(site.step.server or ""), on=on, request_id=request_id)

    async def check(self, site: Site) -> Check:
        server_id, target = ServerId(site.step.server or ""), site.step.target
        try:
            server = await site.port.server(server_id)
        except NotFoundError:
            return Broken(f"server {server_id} was deleted meanwhile", StepState.STALE)
        if server.task is not None:
            return Underway(f"{server_id} has a task under way: {server.task}")
        if server.state is ServerState.ERROR and site.before.get("state") != "error":
            return Broken(f"{server_id} went into error when it was started", StepState.MISSED)
        if server.state is ServerState.ACTIVE and server.host is not None:
            if target is not None and server.host != target:
                return Broken(f"{server_id} was started on {server.host}, not on {target}", StepState.STALE)
            holders = sorted(await site.port.allocations(server_id))
            if holders != [server.host] and server.demand:
                return Underway(f"placement holds {server_id} on {', '.join(holders) or 'no host'}")
            facts = {"host": server.host, "state": "active", "allocations": holders}
            return Verified(f"runs on {server.host}", facts)
        return NoSign(f"{server_id} is {server.state.value} on {server.host or 'no host'}")

    async def give_up(self, site: Site) -> Broken | None:
        return hands_off(site)

"""Start a stopped server where it is, or one that runs nowhere yet on its target."""

from restow.cloud.model import Server, ServerState
from restow.ids import HostName
from restow.messages.plan import Action as Name
from restow_executor.actions.base import (
    Broken,
    Changed,
    Check,
    Done,
    Go,
    Look,
    NoSign,
    Site,
    Underway,
    Verified,
)
from restow_executor.actions.in_place import InPlace, server_of
from restow_executor.actions.moves import room_at
from restow_executor.progress import StepState


class Start(InPlace):
    name = Name.START

    async def look_at(self, site: Site, server: Server) -> Look:
        target = site.step.target
        if server.host is not None and target is not None and server.host != target:
            return Changed(f"{server.id} is on {server.host}, not on {target}")
        if server.host is not None and server.state is ServerState.ACTIVE:
            return Done(f"{server.id} runs on {server.host} already", {"host": server.host, "state": "active"})
        if server.locked:
            return Changed(f"{server.id} is locked")
        if server.host is None:
            if target is None:
                return Changed(f"{server.id} is on no host and the plan names none")
            held_back = await room_at(site, HostName(target), server)
            if held_back is not None:
                return Changed(held_back)
        elif server.state is not ServerState.STOPPED:
            return Changed(f"{server.id} is {server.state.value}")
        return Go({"host": server.host, "state": server.state.value})

    async def ask(self, site: Site, *, request_id: str) -> None:
        on = HostName(site.step.target) if site.step.target and site.before.get("host") is None else None
        await site.port.start(server_of(site), on=on, request_id=request_id)

    async def check_on(self, site: Site, server: Server) -> Check:
        target = site.step.target
        if server.state is ServerState.ERROR and site.before.get("state") != "error":
            return Broken(f"{server.id} went into error when it was started", StepState.MISSED)
        if server.state is ServerState.ACTIVE and server.host is not None:
            if target is not None and server.host != target:
                return Broken(f"{server.id} was started on {server.host}, not on {target}", StepState.STALE)
            holders = sorted(await site.port.allocations(server.id))
            if holders != [server.host] and server.demand:
                return Underway(f"placement holds {server.id} on {', '.join(holders) or 'no host'}")
            facts = {"host": server.host, "state": "active", "allocations": holders}
            return Verified(f"runs on {server.host}", facts)
        return NoSign(f"{server.id} is {server.state.value} on {server.host or 'no host'}")

"""What starting, stopping and shelving have in common: one server, not to be touched while it has a task."""

from abc import ABC, abstractmethod
from typing import ClassVar

from restow.cloud.model import Server
from restow.errors import NotFoundError
from restow.ids import ServerId
from restow_executor.actions.base import Broken, Changed, Check, Later, Look, Patience, Site, Underway
from restow_executor.actions.moves import hands_off
from restow_executor.progress import StepState


class InPlace(ABC):
    """The frame of such an action: `look_at` and `check_on` get the server as it is now, without a task."""

    host_change: ClassVar[None] = None

    def patience(self, site: Site) -> Patience:
        del site
        return Patience(settle_s=20.0, limit_s=600.0)

    async def look(self, site: Site) -> Look:
        try:
            server = await site.port.server(server_of(site))
        except NotFoundError:
            return Changed(f"server {server_of(site)} is gone")
        if server.task is not None:
            return Later(f"{server.id} has a task under way: {server.task}")
        return await self.look_at(site, server)

    async def check(self, site: Site) -> Check:
        try:
            server = await site.port.server(server_of(site))
        except NotFoundError:
            return Broken(f"server {server_of(site)} was deleted meanwhile", StepState.STALE)
        if server.task is not None:
            return Underway(f"{server.id} has a task under way: {server.task}")
        return await self.check_on(site, server)

    async def give_up(self, site: Site) -> Broken | None:
        return hands_off(site)

    @abstractmethod
    async def look_at(self, site: Site, server: Server) -> Look: ...

    @abstractmethod
    async def check_on(self, site: Site, server: Server) -> Check: ...


def server_of(site: Site) -> ServerId:
    return ServerId(site.step.server or "")

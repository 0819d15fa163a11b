"""Move a server that is stopped for it, or that is stopped already."""

from restow.cloud.model import Move, ServerState
from restow.cloud.port import VERIFY
from restow.errors import PermanentError
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Broken, Changed, Check, Go, Look, Patience, Site, Underway
from restow_executor.actions.moves import check_move, ends_of, hands_off, look_at_move, ours, time_limit_s


class ColdMigrate:
    name = Name.COLD_MIGRATE
    host_change = None

    def patience(self, site: Site) -> Patience:
        return Patience(settle_s=20.0, limit_s=time_limit_s(site))

    async def look(self, site: Site) -> Look:
        server, _, _ = ends_of(site)
        states = frozenset({ServerState.ACTIVE, ServerState.STOPPED})
        seen = await look_at_move(site, states=states, source_lives=True)
        if isinstance(seen, Go) and (await site.port.server(server)).move is Move.NONE:
            return Changed(f"{server} may no longer be moved")
        return seen

    async def ask(self, site: Site, *, request_id: str) -> None:
        server, _, target = ends_of(site)
        await site.port.cold_migrate(server, to=target, request_id=request_id)

    async def check(self, site: Site) -> Check:
        """Nova holds both ends until somebody confirms: that is ours to do if the move is."""
        seen = await check_move(site, state_kept=True)
        if isinstance(seen, Underway):
            server, _, target = ends_of(site)
            now = await site.port.server(server)
            if now.task == VERIFY and now.host == target and ours(site, await site.port.migrations(server)) is not None:
                try:
                    await site.port.confirm_cold_migration(server)
                except (
                    PermanentError
                ) as refused:  # it was confirmed just now, or it cannot be yet: the next check tells
                    return Underway(f"{seen.why}; not confirmed: {refused}")
        return seen

    async def give_up(self, site: Site) -> Broken | None:
        server, _, _ = ends_of(site)
        return hands_off(site, f"where it ends in VERIFY_RESIZE: openstack server resize confirm {server}")

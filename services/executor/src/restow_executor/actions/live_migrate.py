"""Move a running server without stopping it."""

from restow.cloud.model import Move, ServerState
from restow.cloud.port import MigrationStatus
from restow.errors import NotFoundError
from restow.ids import HostName
from restow.messages.plan import Action as Name
from restow_executor.actions.base import Broken, Changed, Check, Go, Look, Patience, Site
from restow_executor.actions.moves import check_move, ends_of, look_at_move, ours, time_limit_s
from restow_executor.progress import StepState


class LiveMigrate:
    name = Name.LIVE_MIGRATE
    host_change = None

    def patience(self, site: Site) -> Patience:
        execution = site.policy.execution
        return Patience(settle_s=20.0, limit_s=time_limit_s(site), stalled_s=execution.migration_stalled_s)

    async def look(self, site: Site) -> Look:
        server, _, _ = ends_of(site)
        states = frozenset({ServerState.ACTIVE, ServerState.PAUSED})
        seen = await look_at_move(site, states=states, source_lives=True)
        if isinstance(seen, Go) and (await site.port.server(server)).move is not Move.LIVE:
            return Changed(f"{server} may no longer be moved live")
        return seen

    async def ask(self, site: Site, *, request_id: str) -> None:
        server, _, target = ends_of(site)
        await site.port.live_migrate(server, to=HostName(target), request_id=request_id)

    async def check(self, site: Site) -> Check:
        return await check_move(site, state_kept=True)

    async def give_up(self, site: Site) -> Broken | None:
        """It does not converge: abort it, and the server stays where it was; or end it, by policy.

        Only ours: what somebody else has asked for is theirs to end.
        """
        server, _, _ = ends_of(site)
        try:
            known = await site.port.migrations(server)
            under_way = [one for one in known if not one.status.ended]
            mine = ours(site, known)
            if mine is None or mine.status.ended:
                foreign = f"somebody else moves {server} to {under_way[-1].target}" if under_way else ""
                return Broken(foreign, StepState.STALE) if foreign else None
            forced = site.policy.execution.overdue == "force-complete" and mine.status is MigrationStatus.RUNNING
            end = site.port.force_complete if forced else site.port.abort_migration
            await end(server, migration=mine.id)
        except NotFoundError:
            return Broken(f"server {server} was deleted meanwhile", StepState.STALE)
        return None

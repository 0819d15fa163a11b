"""Make sure that a failed host cannot write to any disk: power off, confirmed, then declared down.

Before that the sources are heard once more: a host that lives again is not shot.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from restow.cloud.model import Host, HostState, Power
from restow.cloud.port import Heartbeat
from restow.errors import NotFoundError
from restow.ids import HostName
from restow.messages.plan import Action as Name
from restow.policy import Evidence
from restow_executor.actions.base import Broken, Changed, Check, Done, Go, Look, NoSign, Patience, Site, Verified
from restow_executor.actions.hosts import host_of
from restow_executor.progress import StepState

GUARD = "fence"


class Fence:
    name = Name.FENCE
    host_change = "fenced"

    def patience(self, site: Site) -> Patience:
        execution = site.policy.execution
        return Patience(
            settle_s=execution.fence_timeout_s / execution.fence_attempts,
            asks_max=execution.fence_attempts,
            again=True,  # to ask for power off twice does no harm
            limit_s=execution.fence_timeout_s,
        )

    async def look(self, site: Site) -> Look:
        name = host_of(site)
        try:
            host = await site.port.host(name)
        except NotFoundError:
            return Changed(f"{name} is gone")
        power = await site.port.power_state(name)
        if power is Power.OFF and host.forced_down:
            return Done(f"{name} is off and declared down already", {"power": "off", "forced_down": True})
        if power is Power.OFF:
            return Go()
        alive = why_not_dead(host, await site.port.heartbeats(), evidence=site.policy.evidence, now=site.clock.now())
        return Go() if alive is None else Changed(f"{alive}: it is not fenced", GUARD)

    async def ask(self, site: Site, *, request_id: str) -> None:
        del request_id  # a board controller knows no such thing
        name = host_of(site)
        if await site.port.power_state(name) is not Power.OFF:
            await site.port.power(name, on=False)

    async def check(self, site: Site) -> Check:
        name = host_of(site)
        power = await site.port.power_state(name)
        if power is not Power.OFF:
            return NoSign(f"{name} is still {power.value} by its board controller")
        host = await site.port.host(name)
        if not host.forced_down:
            await site.port.force_down(name, down=True)
            host = await site.port.host(name)
        if not host.forced_down:
            return NoSign(f"{name} is off but not yet declared down")
        return Verified(f"{name} is off and declared down", {"power": "off", "forced_down": True})

    async def give_up(self, site: Site) -> Broken | None:
        why = f"power-off of {host_of(site)} was not confirmed: nothing was evacuated"
        return Broken(why, StepState.FAILED, GUARD)


def why_not_dead(host: Host, words: Sequence[Heartbeat], *, evidence: Evidence, now: datetime) -> str | None:
    """What speaks against fencing this host; None if nothing does. Pure.

    Power that is on says nothing of life. Sources that say "alive" are outvoted only by the quorum that also
    opens an incident; and without any word at all the compute service must count the host as down.
    """
    fresh = [
        word for word in words
        if word.host == host.name and now - word.at <= timedelta(seconds=evidence.source_silent_s)
    ]  # fmt: skip
    alive = sorted({word.source for word in fresh if word.alive and word.source != "power"})
    dead = {word.source for word in fresh if not word.alive}
    if alive and len(dead) < evidence.quorum:
        return f"{host.name} lives by {', '.join(alive)}"
    if not alive and not dead and host.state is HostState.UP and not host.forced_down:
        return f"nobody says that {HostName(host.name)} is dead"
    return None

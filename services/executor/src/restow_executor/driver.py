"""The loop of the process: per domain, while there is work and the lease is ours, a session."""

import asyncio
from dataclasses import dataclass, field

import structlog

from restow.clock import Clock
from restow.cloud.port import Clouds
from restow.database.leases import LeaseLostError, Leases
from restow.errors import PermanentError, TransientError
from restow.ids import DomainName
from restow_executor.journal import Journal
from restow_executor.session import Session, wait_for

FAULT_S = 10.0  # after an error that nobody foresaw
RETRY_S = 2.0  # after a lost lease, a lease that another holds, a database or cloud that is away

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Driver:
    journal: Journal
    leases: Leases
    ttl_s: float
    idle_s: float  # a bound on the wait for work that another process put on record
    clouds: Clouds
    clock: Clock
    wakes: dict[str, asyncio.Event] = field(default_factory=dict)

    def wake(self, domain: str) -> None:
        """Something new is on record for this domain."""
        self._wake(domain).set()

    def _wake(self, domain: str) -> asyncio.Event:
        return self.wakes.setdefault(domain, asyncio.Event())

    async def run(self) -> None:
        """Until cancelled. Running moves go on in the cloud and are found again by whoever comes next."""
        async with asyncio.TaskGroup() as group:
            for domain in self.clouds.domains():
                group.create_task(self._domain(domain), name=f"executor {domain}")

    async def _domain(self, domain: DomainName) -> None:
        wake = self._wake(domain)
        while True:
            wake.clear()
            pause_s = self.idle_s
            try:
                if await self.journal.unfinished(domain) and not await self._session(domain, wake):
                    pause_s = RETRY_S
            except LeaseLostError as lost:
                log.warning("everything is dropped: the lease is lost", domain=domain, why=str(lost))
                pause_s = RETRY_S
            except (TransientError, PermanentError) as error:
                log.warning("dropped for now, to be taken up again", domain=domain, error=repr(error))
                pause_s = RETRY_S
            except Exception:
                # A fault in one domain is no reason to leave the others alone; and the next try may not meet it.
                log.exception("dropped after a fault, to be taken up again", domain=domain)
                pause_s = FAULT_S
            await wait_for(wake, self.clock, pause_s)

    async def _session(self, domain: DomainName, wake: asyncio.Event) -> bool:
        """Work on this domain until nothing is left; False if another process holds it."""
        asked_at = self.clock.now()
        lease = await self.leases.acquire(f"executor/{domain}")
        if lease is None:
            return False
        session = Session(
            domain=domain, journal=self.journal, leases=self.leases, lease=lease, ttl_s=self.ttl_s,
            port=self.clouds.port(domain), clock=self.clock, wake=wake, renewed_at=asked_at,
        )  # fmt: skip
        try:
            await session.work()
        finally:
            await self.leases.release(lease)
        return True

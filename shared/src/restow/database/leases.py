"""Leases: who may act alone, with an epoch that guards every write of the holder.

An assignment by the consumer group is a hint, never a guard: after a rebalance the old owner still
believes that it owns the domain for a moment. Only the epoch, compared in the same transaction
as the write, keeps two from acting.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from restow.clock import Clock
from restow.database.engine import Database, Transaction
from restow.database.tables import LeaseRow
from restow.errors import PermanentError


class LeaseLostError(PermanentError):
    """Another holder has the lease: whoever meets this stops at once and changes nothing."""


@dataclass(frozen=True, slots=True)
class Lease:
    name: str
    holder: str
    epoch: int


class Leases:
    """`holder` names this process and must be unique to it; `ttl_s` is how long a silent holder keeps it."""

    def __init__(self, database: Database, clock: Clock, *, holder: str, ttl_s: float) -> None:
        assert ttl_s > 0
        self._database = database
        self._clock = clock
        self._holder = holder
        self._ttl = timedelta(seconds=ttl_s)

    async def acquire(self, name: str) -> Lease | None:
        """The lease if it is free, expired or ours already (then renewed); None if another holds it."""
        now = self._clock.now()
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        fresh = insert(LeaseRow).values(name=name, holder=self._holder, epoch=1, expires_at=now + self._ttl)
        expired = LeaseRow.expires_at <= now
        taken = fresh.on_conflict_do_update(
            index_elements=["name"],
            set_={
                "holder": fresh.excluded.holder,
                "epoch": case((expired, LeaseRow.epoch + 1), else_=LeaseRow.epoch),
                "expires_at": fresh.excluded.expires_at,
            },
            where=or_(expired, LeaseRow.holder == fresh.excluded.holder),
        ).returning(LeaseRow.epoch)
        async with self._database.writing() as transaction:
            epoch = (await transaction.session.execute(taken)).scalar_one_or_none()
        return None if epoch is None else Lease(name, self._holder, epoch)

    async def release(self, lease: Lease) -> None:
        """Give it back now, so that another need not wait for it to expire."""
        async with self._database.writing() as transaction:
            await transaction.session.execute(
                update(LeaseRow)
                .where(LeaseRow.name == lease.name, LeaseRow.holder == lease.holder, LeaseRow.epoch == lease.epoch)
                .values(expires_at=self._clock.now())
            )

    async def guard(self, transaction: Transaction, lease: Lease) -> None:
        """Raises LeaseLostError unless the lease is still ours; locks it until the commit."""
        row = (
            await transaction.session.execute(select(LeaseRow).where(LeaseRow.name == lease.name).with_for_update())
        ).scalar_one_or_none()
        if row is None or row.epoch != lease.epoch or row.holder != lease.holder or row.expires_at <= self._clock.now():
            raise LeaseLostError(f"lease {lease.name} (epoch {lease.epoch}) is no longer held by {lease.holder}")


async def release_all(database: Database, *, holder: str, now: datetime) -> None:
    """Give back every lease of a process that ends: its own, and those of its parts (`holder/…`)."""
    ours = or_(LeaseRow.holder == holder, LeaseRow.holder.startswith(f"{holder}/", autoescape=True))
    async with database.writing() as transaction:
        await transaction.session.execute(
            update(LeaseRow).where(ours, LeaseRow.expires_at > now).values(expires_at=now)
        )

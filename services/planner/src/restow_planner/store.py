"""The planner's rows: plans with their state, moves of a short while ago, the policy it goes by."""

from datetime import datetime, timedelta

from sqlalchemy import Float, Index, String, Text, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from restow.database.engine import Database, Transaction
from restow.database.tables import Row, UtcDateTime
from restow.ids import ServerId
from restow.policy import DEFAULT_POLICY

OPEN_STATES = ("proposed", "approved", "running", "paused")
MOVES_KEPT_S = 7 * 24 * 3600.0
IN_FORCE = "in-force"
WHY_LENGTH = 2_000


class PlanRow(Row):
    """One plan that was asked for. `optional`: 1 if its goal can wait."""

    __tablename__ = "plan"
    __table_args__ = (Index("ix_plan_domain_state", "domain", "state"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    domain: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    goal: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    optional: Mapped[int]
    outcome: Mapped[str | None] = mapped_column(String(16))
    document: Mapped[str | None] = mapped_column(String(80))
    snapshot: Mapped[str | None] = mapped_column(String(80))
    incident: Mapped[str | None] = mapped_column(String(64))
    replaces: Mapped[str | None] = mapped_column(String(64))
    requested_by: Mapped[str] = mapped_column(String(255))
    decided_by: Mapped[str | None] = mapped_column(String(255))
    why: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RecentMoveRow(Row):
    """When a server was moved last; for the cool-down."""

    __tablename__ = "recent_move"

    domain: Mapped[str] = mapped_column(String(255), primary_key=True)
    server: Mapped[str] = mapped_column(String(255), primary_key=True)
    plan: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class PlannerPolicyRow(Row):
    """What the policy in force says to the planner; one row."""

    __tablename__ = "planner_policy"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    server_cool_down_s: Mapped[float] = mapped_column(Float)
    event: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


async def known_plan(database: Database, plan: str) -> PlanRow | None:
    async with database.reading() as session:
        return await session.get(PlanRow, plan)


async def locked_plan(transaction: Transaction, plan: str) -> PlanRow | None:
    """The row, locked until the commit, so that its state is still the one read here when it is written."""
    wanted = select(PlanRow).where(PlanRow.id == plan).with_for_update()
    return (await transaction.session.execute(wanted)).scalar_one_or_none()


async def open_optional(database: Database, domain: str, *, besides: str | None) -> int:
    """How many optional plans of this domain are open, not counting the one that is to be replaced."""
    wanted = select(func.count()).where(
        PlanRow.domain == domain, PlanRow.optional == 1, PlanRow.state.in_(OPEN_STATES), PlanRow.id != (besides or "")
    )
    async with database.reading() as session:
        return int((await session.execute(wanted)).scalar_one())


async def moved_at(database: Database, domain: str, *, since: datetime) -> dict[ServerId, datetime]:
    wanted = select(RecentMoveRow.server, RecentMoveRow.at).where(
        RecentMoveRow.domain == domain, RecentMoveRow.at > since
    )
    async with database.reading() as session:
        return {ServerId(row.server): row.at for row in (await session.execute(wanted)).all()}


async def note_move(transaction: Transaction, *, domain: str, server: str, plan: str, at: datetime) -> None:
    """Remember this move, and forget those that no cool-down reaches any more."""
    await transaction.session.merge(RecentMoveRow(domain=domain, server=server, plan=plan, at=at))
    old = at - timedelta(seconds=MOVES_KEPT_S)
    await transaction.session.execute(delete(RecentMoveRow).where(RecentMoveRow.at < old))


async def cool_down_s(database: Database) -> float:
    """From the newest policy that was put, else from the default one."""
    async with database.reading() as session:
        row = await session.get(PlannerPolicyRow, IN_FORCE)
        return DEFAULT_POLICY.execution.server_cool_down_s if row is None else row.server_cool_down_s


async def put_policy(transaction: Transaction, *, server_cool_down_s: float, event: str, at: datetime) -> None:
    await transaction.session.merge(
        PlannerPolicyRow(name=IN_FORCE, server_cool_down_s=server_cool_down_s, event=event, at=at)
    )

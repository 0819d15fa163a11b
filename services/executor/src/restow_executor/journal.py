"""The executor's memory in SQL: runs, their steps, orders that came early, the policy in force.

An intention is written before the call to the cloud, and only by the holder of the domain's lease: the
lease's epoch and the step's old state are compared in the same transaction. So a step has one doer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ForeignKey, Index, String, Text, func, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, aliased, mapped_column

from restow.database.engine import Database, Transaction
from restow.database.leases import Lease, LeaseLostError, Leases
from restow.database.tables import BigId, Row, UtcDateTime
from restow.log.port import Effect
from restow.messages.base import read_own
from restow.messages.events import Event
from restow.messages.plan import MOVES, Step
from restow.messages.request import RequestDocument
from restow.policy import DEFAULT_POLICY, Policy
from restow_executor.progress import RunState, StepState
from restow_executor.records import Cause, Kind, RunRecord, StepRecord, as_json

CHAIN_MAX = 50  # plans that replaced one another

UNFINISHED = tuple(state.value for state in RunState if not state.ended)


class RunRow(Row):
    """One plan that is carried out, or one chore."""

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_domain_state", "domain", "state"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    domain: Mapped[str] = mapped_column(String(255))
    state: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(255))
    goal: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    incident: Mapped[str | None] = mapped_column(String(64))
    document: Mapped[str | None] = mapped_column(String(80))
    request: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int]
    by: Mapped[str] = mapped_column(String(255))
    cause: Mapped[str] = mapped_column(String(64))
    correlation: Mapped[str] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(64))
    replaced_by: Mapped[str | None] = mapped_column(String(64), index=True)
    why: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    planned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class StepRow(Row):
    """One step of a run: how far it is, under which ids the cloud was asked, what was seen and verified."""

    __tablename__ = "run_step"

    run: Mapped[str] = mapped_column(String(64), ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    definition: Mapped[str] = mapped_column(Text)  # the plan's step, as JSON
    asked: Mapped[str] = mapped_column(Text)  # JSON list of request ids
    before: Mapped[str] = mapped_column(Text)
    facts: Mapped[str] = mapped_column(Text)
    epoch: Mapped[int | None] = mapped_column(BigId)  # of the lease under which it was last written
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    why: Mapped[str] = mapped_column(Text)


class OrderRow(Row):
    """An order for a plan that has no run yet, or an undo that waits for the run's end."""

    __tablename__ = "run_order"

    plan: Mapped[str] = mapped_column(String(64), primary_key=True)
    verb: Mapped[str] = mapped_column(String(16), primary_key=True)
    by: Mapped[str] = mapped_column(String(255))
    why: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class PolicyRow(Row):
    """The policy in force as this service learned it."""

    __tablename__ = "executor_policy"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class Order:
    plan: str
    verb: str
    by: str
    why: str
    event: str
    at: datetime


class Journal:
    def __init__(self, database: Database, leases: Leases) -> None:
        self._database = database
        self._leases = leases

    # --- reading ---------------------------------------------------------------------------

    async def unfinished(self, domain: str) -> tuple[RunRecord, ...]:
        """The runs of this domain that have not ended, oldest first."""
        wanted = (
            select(RunRow)
            .where(RunRow.domain == domain, RunRow.state.in_(UNFINISHED))
            .order_by(RunRow.created_at, RunRow.id)
        )
        async with self._database.reading() as session:
            return tuple(_run(row) for row in (await session.execute(wanted)).scalars())

    async def steps(self, run: str) -> tuple[StepRecord, ...]:
        wanted = select(StepRow).where(StepRow.run == run).order_by(StepRow.position)
        async with self._database.reading() as session:
            return tuple(_step(row) for row in (await session.execute(wanted)).scalars())

    async def run(self, run: str) -> RunRecord | None:
        async with self._database.reading() as session:
            row = await session.get(RunRow, run)
            return None if row is None else _run(row)

    async def tried_too_often(self, run: str) -> bool:
        """Whether CHAIN_MAX plans have replaced one another, however few of them began."""
        async with self._database.reading() as session:
            return len(await _lineage(session, run)) >= CHAIN_MAX

    async def others_moved(self, run: RunRecord, *, since: datetime) -> bool:
        """Whether any other run of the domain has moved a server."""
        wanted = (
            select(StepRow)
            .join(RunRow, RunRow.id == StepRow.run)
            .where(RunRow.domain == run.domain, RunRow.id != run.id)
            .where(StepRow.state == StepState.FINISHED.value, StepRow.ended_at > since)
        )
        async with self._database.reading() as session:
            steps = [_step(row).step for row in (await session.execute(wanted)).scalars()]
        return any(step.action in MOVES for step in steps)

    async def awaits_replacement(self, domain: str, *, since: datetime) -> bool:
        """Whether a plan that went stale while it waited, after `since`, is being made again."""
        anew = aliased(RunRow)
        wanted = select(RunRow.id).where(
            RunRow.domain == domain,
            RunRow.state == RunState.STALE.value,
            RunRow.started_at.is_(None),
            RunRow.ended_at > since,
            RunRow.replaced_by.is_not(None),
            ~select(anew.id).where(anew.id == RunRow.replaced_by).exists(),
        )
        async with self._database.reading() as session:
            return (await session.execute(wanted.limit(1))).first() is not None

    async def policy(self) -> Policy:
        async with self._database.reading() as session:
            row = await session.get(PolicyRow, "policy")
            return DEFAULT_POLICY if row is None else Policy.model_validate_json(row.document)

    async def ping(self) -> None:
        await self._database.ping()

    # --- writing by the holder of the lease ------------------------------------------------

    async def keep_step(self, lease: Lease, record: StepRecord, *, was: StepRecord, events: Sequence[Event]) -> None:
        """Write a step's new state with its events, if the lease is ours and the step is as it `was`.

        Beginning a step also needs its run to be running still: a pause or a cancel may have come between.
        Raises LeaseLostError, or MovedOnError where another wrote first.
        """
        async with self._database.writing() as transaction:
            await self._leases.guard(transaction, lease)
            if was.state is StepState.WAITING and record.state is StepState.STARTED:
                state = await self._locked_state(transaction, record.run)
                if state is not RunState.RUNNING:
                    raise MovedOnError(f"the run is {state.value}: step {record.step.id} is not begun")
            changed = await transaction.session.execute(
                update(StepRow)
                .where(
                    StepRow.run == record.run,
                    StepRow.step == record.step.id,
                    StepRow.state == was.state.value,
                    StepRow.asked == json.dumps(was.asked),
                )
                .values(
                    state=record.state.value, asked=json.dumps(record.asked), before=as_json(record.before),
                    facts=as_json(record.facts), epoch=lease.epoch, started_at=record.started_at,
                    ended_at=record.ended_at, why=record.why,
                )
            )  # fmt: skip
            if _rows(changed) != 1:
                raise LeaseLostError(f"step {record.step.id} was written by another: this process stops")
            transaction.emit(*events)

    async def move_run(
        self, lease: Lease, run: RunRecord, *, was: RunState, at: datetime, events: Sequence[Event] = (),
        replaced_by: str | None = None, then: Effect | None = None,
    ) -> bool:  # fmt: skip
        """Write a run's new state with its events; False, and nothing written, if it is no longer as it `was`."""
        async with self._database.writing() as transaction:
            await self._leases.guard(transaction, lease)
            changed = await transaction.session.execute(
                update(RunRow)
                .where(RunRow.id == run.id, RunRow.state == was.value)
                .values(
                    state=run.state.value, why=run.why, started_at=run.started_at, replaced_by=replaced_by,
                    ended_at=at if run.state.ended else None,
                )
            )  # fmt: skip
            if _rows(changed) != 1:
                return False
            transaction.emit(*events)
            if then is not None:
                await then(transaction)
            return True

    async def _locked_state(self, transaction: Transaction, run: str) -> RunState:
        wanted = select(RunRow.state).where(RunRow.id == run).with_for_update()
        return RunState((await transaction.session.execute(wanted)).scalar_one())

    async def order(self, plan: str, verb: str) -> Order | None:
        async with self._database.reading() as session:
            row = await session.get(OrderRow, (plan, verb))
            return None if row is None else _order(row)


class MovedOnError(Exception):
    """The run was paused, cancelled or retired just now: the step stays as it is."""


# --- writing by the handler, within its effect ---------------------------------------------


async def open_run(transaction: Transaction, run: RunRecord, steps: Sequence[Step]) -> bool:
    """Put a new run on record with all its steps waiting; False if it is there already."""
    session = transaction.session
    if await session.get(RunRow, run.id) is not None:
        return False
    session.add(
        RunRow(
            id=run.id, kind=run.kind, domain=run.domain, state=run.state.value, subject=run.subject, goal=run.goal,
            mode=run.mode, incident=run.incident, document=run.document,
            request=None if run.request is None else json.dumps(run.request.written()), attempt=run.attempt, by=run.by,
            cause=run.cause.id, correlation=run.cause.correlation, traceparent=run.cause.traceparent,
            replaced_by=None, why=run.why, created_at=run.created_at, planned_at=run.planned_at,
            started_at=run.started_at, ended_at=None,
        )
    )  # fmt: skip
    await session.flush()
    for position, step in enumerate(steps):
        session.add(
            StepRow(
                run=run.id, step=step.id, position=position, state=StepState.WAITING.value,
                definition=json.dumps(step.dump()), asked="[]", before="{}", facts="{}", epoch=None,
                started_at=None, ended_at=None, why="",
            )
        )  # fmt: skip
    await session.flush()
    return True


async def locked_run(transaction: Transaction, run: str) -> RunRecord | None:
    """The run, locked until the commit."""
    wanted = select(RunRow).where(RunRow.id == run).with_for_update()
    row = (await transaction.session.execute(wanted)).scalar_one_or_none()
    return None if row is None else _run(row)


async def set_state(transaction: Transaction, run: str, state: RunState, *, why: str) -> None:
    """Only under `locked_run` of the same transaction."""
    await transaction.session.execute(update(RunRow).where(RunRow.id == run).values(state=state.value, why=why))


async def remember_order(transaction: Transaction, order: Order) -> None:
    row = OrderRow(plan=order.plan, verb=order.verb, by=order.by, why=order.why, event=order.event, at=order.at)
    await transaction.session.merge(row)


async def orders_for(transaction: Transaction, plan: str) -> tuple[Order, ...]:
    """Oldest first."""
    wanted = select(OrderRow).where(OrderRow.plan == plan).order_by(OrderRow.at, OrderRow.verb)
    return tuple(_order(row) for row in (await transaction.session.execute(wanted)).scalars())


async def after_others(transaction: Transaction, subject: str, at: datetime) -> datetime:
    """A time not before `at` that is later than that of every chore of this subject: their order is that of arrival."""
    wanted = select(func.max(RunRow.created_at)).where(RunRow.kind == "chore", RunRow.subject == subject)
    latest = (await transaction.session.execute(wanted)).scalar_one_or_none()
    return at if latest is None or latest < at else latest + timedelta(microseconds=1)


async def in_place_of(transaction: Transaction, run: RunRecord) -> RunRecord:
    """The run as what follows the one that it replaces: one attempt later, or in its place in line.

    A plan that went stale while it waited for its turn was no attempt, and loses nothing by it.
    """
    wanted = select(RunRow).where(RunRow.replaced_by == run.id)
    before = (await transaction.session.execute(wanted)).scalar_one_or_none()
    if before is None:
        return run
    if before.started_at is None:
        return replace(run, attempt=before.attempt, created_at=before.created_at)
    return replace(run, attempt=before.attempt + 1)


async def story_of(transaction: Transaction, run: str) -> tuple[StepRecord, ...]:
    """The steps of this run and of those that it replaced, oldest run first."""
    steps: list[StepRecord] = []
    for one in reversed(await _lineage(transaction.session, run)):
        rows = select(StepRow).where(StepRow.run == one).order_by(StepRow.position)
        steps += [_step(row) for row in (await transaction.session.execute(rows)).scalars()]
    return tuple(steps)


async def _lineage(session: AsyncSession, run: str) -> list[str]:
    """A run and those that it replaced, newest first; at most CHAIN_MAX of them."""
    chain = [run]
    while len(chain) < CHAIN_MAX:
        wanted = select(RunRow.id).where(RunRow.replaced_by == chain[-1])
        before = (await session.execute(wanted)).scalar_one_or_none()
        if before is None:
            break
        chain.append(before)
    return chain


async def put_policy(transaction: Transaction, policy: Policy, *, at: datetime) -> None:
    await transaction.session.merge(PolicyRow(name="policy", document=json.dumps(policy.written()), at=at))


def _rows(result: Any) -> int:
    return cast("CursorResult[Any]", result).rowcount


def _order(row: OrderRow) -> Order:
    return Order(row.plan, row.verb, row.by, row.why, row.event, row.at)


def _run(row: RunRow) -> RunRecord:
    return RunRecord(
        id=row.id, kind=cast("Kind", row.kind), domain=row.domain, state=RunState(row.state),
        cause=Cause(row.cause, row.correlation, row.traceparent), created_at=row.created_at, subject=row.subject,
        goal=row.goal, mode=row.mode, incident=row.incident, document=row.document,
        request=None if row.request is None else RequestDocument.model_validate_json(row.request).root,
        attempt=row.attempt, by=row.by, planned_at=row.planned_at, started_at=row.started_at, why=row.why,
    )  # fmt: skip


def _step(row: StepRow) -> StepRecord:
    return StepRecord(
        run=row.run, step=read_own(Step, row.definition), state=StepState(row.state),
        asked=tuple(json.loads(row.asked)), before=json.loads(row.before), facts=json.loads(row.facts),
        started_at=row.started_at, ended_at=row.ended_at, why=row.why,
    )  # fmt: skip


def changed(record: StepRecord, state: StepState, *, why: str, at: datetime, facts: Mapping[str, Any]) -> StepRecord:
    """The record in another state; an end carries its time."""
    ended_at = at if state.ended else None
    return replace(record, state=state, why=why, ended_at=ended_at, facts={**record.facts, **facts})

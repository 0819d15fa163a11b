"""One domain in the hands of this process, for as long as it holds the lease: all that the driver does there."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from restow.clock import Clock
from restow.cloud.permission import act_only_while
from restow.cloud.port import CloudPort
from restow.database.engine import Transaction
from restow.database.leases import Lease, LeaseLostError, Leases
from restow.errors import PermanentError, TransientError
from restow.ids import HostName
from restow.messages.events import Event, PlanRequest
from restow.messages.plan import HOST_ACTIONS, Action
from restow.messages.request import Limits
from restow.policy import Policy
from restow_executor.carry import Carrier
from restow_executor.follow_up import again, others_at_work, undo_id, why_stale
from restow_executor.handler import begin_undo
from restow_executor.journal import Journal
from restow_executor.progress import (
    Finish,
    RunSignal,
    RunState,
    Start,
    StepState,
    Turn,
    Wait,
    counts,
    next_commands,
    run_after,
    whose_turn,
)
from restow_executor.reads import SharedReads
from restow_executor.records import RunRecord, StepRecord, event_of, plan_event, refusal_event
from restow_executor.room import Claims

TICK_MAX_S = 2.0  # a bound on the wait; steps that end and commands that come wake at once
STUCK_S = 300.0  # what a recovery waits for a move of another plan
HOLD_S = 10.0  # what the line waits for its first plan to be made again
OTHERS_WAIT_S = 120.0  # for what others do to servers of a plan that is to be made again
FRESH_SHARE = 0.8  # of the lease's time: after it no call is made until it is renewed

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Session:
    """`wake` is set when something new is to be seen to."""

    domain: str
    journal: Journal
    leases: Leases
    lease: Lease
    ttl_s: float
    port: CloudPort
    clock: Clock
    wake: asyncio.Event
    renewed_at: datetime
    steps: dict[str, dict[str, StepRecord]] = field(default_factory=dict)
    tasks: dict[tuple[str, str], asyncio.Task[None]] = field(default_factory=dict)
    claims: dict[str, Claims] = field(default_factory=dict)
    reads: SharedReads = field(init=False)
    policy: Policy = field(init=False)
    settling: dict[str, datetime] = field(default_factory=dict)  # since when a run waits for others before its end
    failure: BaseException | None = None
    over: bool = False

    def __post_init__(self) -> None:
        self.reads = SharedReads(self.port)

    async def work(self) -> None:
        """Until nothing is left to do. Raises LeaseLostError or TransientError; then all is dropped at once.

        What a thread of an adapter is about to send when that happens is not sent any more.
        """
        act_only_while(self.fresh)
        keeper = asyncio.get_running_loop().create_task(self._keep_lease())
        try:
            while True:
                self.wake.clear()
                if self.failure is not None:
                    raise self.failure
                if not await self._tick() and not self.tasks:
                    return
                await wait_for(self.wake, self.clock, TICK_MAX_S)
        finally:
            self.over = True
            left = [keeper, *self.tasks.values()]
            for task in left:
                task.cancel()
            self.reads.drop()
            await asyncio.gather(*left, return_exceptions=True)

    # --- the lease -------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        try:
            while True:
                await self.clock.sleep(self.ttl_s / 3)
                asked_at = self.clock.now()
                renewed = await self.leases.acquire(self.lease.name)
                if renewed is None or renewed.epoch != self.lease.epoch:
                    raise LeaseLostError(f"lease {self.lease.name} went to another")
                self.renewed_at = asked_at
        except Exception as error:  # noqa: BLE001  (raised again in the session's own flow)
            self._fail(error)

    def fresh(self) -> None:
        """Raises LeaseLostError where another may hold the lease by now."""
        if self.over:
            raise LeaseLostError(f"lease {self.lease.name} was given back: no call is made")
        if self.clock.now() - self.renewed_at > timedelta(seconds=self.ttl_s * FRESH_SHARE):
            raise LeaseLostError(f"lease {self.lease.name} was not renewed in time: no call is made")

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.wake.set()

    # --- one look at all runs --------------------------------------------------------------

    async def _tick(self) -> bool:
        """Whether anything is unfinished."""
        runs = await self.journal.unfinished(self.domain)
        self.policy = await self.journal.policy()
        for run in runs:
            if run.id not in self.steps:
                await self._load(run.id)
        by_id = {run.id: run for run in runs}
        plans = [run for run in runs if run.kind == "plan"]
        since = self.clock.now() - timedelta(seconds=HOLD_S)
        waiting = any(run.started_at is None for run in plans)
        held = waiting and await self.journal.awaits_replacement(self.domain, since=since)
        turns = whose_turn([self._turn(run) for run in plans], held=held)
        for run_id in turns.retire:
            run = by_id[run_id]
            why = "the recovery of a failed host comes first"
            retired = replace(run, state=run_after(run.state, RunSignal.RETIRE), why=why)
            if await self.journal.move_run(self.lease, retired, was=run.state, at=self.clock.now()):
                by_id[run_id] = retired
        for run_id in turns.drive:
            await self._drive(by_id[run_id], moves=run_id in turns.moves)
        taken: set[str] = set()
        for run in runs:
            if run.kind == "chore":
                hosts = {record.step.host or "" for record in self.steps[run.id].values()}
                if not hosts & taken:  # chores of one host keep their order
                    await self._drive(run, moves=True)
                taken |= hosts
        return bool(runs)

    async def _load(self, run: str) -> None:
        self.steps[run] = {record.step.id: record for record in await self.journal.steps(run)}
        self.claims.setdefault(run, Claims())

    def _turn(self, run: RunRecord) -> Turn:
        """What a stuck move claims is counted all the same by whoever goes on."""
        since = self.clock.now() - timedelta(seconds=STUCK_S)
        states = self._states(run.id)
        moving = [
            record for step, record in self.steps[run.id].items()
            if states[step] is StepState.STARTED and record.step.action not in HOST_ACTIONS
        ]  # fmt: skip
        stuck = bool(moving) and all(one.started_at is not None and one.started_at <= since for one in moving)
        return Turn(
            run.id, run.state, run.goal == "recover", bool(moving), run.created_at, begun=run.started_at is not None,
            stuck=stuck,
        )  # fmt: skip

    def _states(self, run: str) -> dict[str, StepState]:
        """A step that is being looked at counts as started: it holds its place within the limits."""
        return {
            step: StepState.STARTED if record.state is StepState.WAITING and (run, step) in self.tasks else record.state
            for step, record in self.steps[run].items()
        }

    async def _drive(self, run: RunRecord, *, moves: bool) -> None:
        records = self.steps[run.id]
        for record in records.values():
            if record.state is StepState.STARTED:
                self._carry(run, record)  # begun by a process that is gone, or by this one
        if run.state is RunState.WAITING:
            begun = await self._begin(run)
            if begun is None:
                return
            run = begun
        if run.state is not RunState.RUNNING or any(one.state is StepState.STALE for one in records.values()):
            await self._stop_looking(run.id)
        match self._next(run, moves=moves):
            case Start(steps):
                for step in steps:
                    self._carry(run, self.steps[run.id][step])
            case Finish() as end:
                await self._finish(run, end, moves=moves)
            case Wait():
                pass

    def _next(self, run: RunRecord, *, moves: bool) -> Start | Wait | Finish:
        records = self.steps[run.id]
        limits = run.request.limits if run.request is not None and run.kind == "plan" else Limits()
        why = {step: record.why for step, record in records.items()}
        steps = [record.step for record in records.values()]
        return next_commands(steps, self._states(run.id), run=run.state, limits=limits, moves=moves, why=why)

    # --- steps -----------------------------------------------------------------------------

    def _carry(self, run: RunRecord, record: StepRecord) -> None:
        key = (run.id, record.step.id)
        if key in self.tasks:
            return

        def keep(changed: StepRecord) -> None:
            self.steps[run.id][record.step.id] = changed

        def fenced(host: HostName) -> bool:
            return _fenced(host, self.steps[run.id].values())

        carrier = Carrier(
            journal=self.journal, lease=self.lease, port=self.port, clock=self.clock, policy=self.policy, run=run,
            record=record, cloud=self.reads.read, fenced=fenced, lost=self._lost, claims=self.claims[run.id],
            keep=keep,
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(carrier.carry(), name=f"step {run.id} {record.step.id}")
        self.tasks[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            self.tasks.pop(key, None)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                self._fail(error)
            self.wake.set()

        task.add_done_callback(ended)

    def _lost(self, host: HostName) -> bool:
        return any(_fenced(host, records.values()) for records in self.steps.values())

    async def _stop_looking(self, run: str) -> None:
        """End the tasks of steps that have not begun. What the journal says afterwards is read, not guessed."""
        looking = [
            task
            for (of_run, step), task in sorted(self.tasks.items())
            if of_run == run and self.steps[run][step].state is StepState.WAITING
        ]
        if not looking:
            return
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        await asyncio.sleep(0)  # their callbacks take them off the list
        await self._load(run)
        self.wake.set()

    # --- runs ------------------------------------------------------------------------------

    async def _begin(self, run: RunRecord) -> RunRecord | None:
        """The run in state running; None if it was overtaken by an order, or is stale before it begins."""
        now = self.clock.now()
        if run.kind == "plan":
            try:
                cloud = await self.reads.read() if self.steps[run.id] else None
            except (TransientError, PermanentError):
                cloud = None
            moved = run.planned_at is not None and await self.journal.others_moved(run, since=run.planned_at)
            stale = why_stale(run, tuple(self.steps[run.id].values()), cloud, others_moved=moved, now=now)
            if stale is not None and not any(state is StepState.STARTED for state in self._states(run.id).values()):
                await self._end(run, RunSignal.EXPIRE, stale)
                return None
        begun = replace(run, state=run_after(run.state, RunSignal.BEGIN), started_at=run.started_at or now)
        events = [plan_event(begun, "started", by="executor", why="", at=now)] if run.kind == "plan" else []
        if not await self.journal.move_run(self.lease, begun, was=run.state, at=now, events=events):
            self.wake.set()
            return None
        return begun

    async def _finish(self, run: RunRecord, end: Finish, *, moves: bool) -> None:
        await self._stop_looking(run.id)
        still = self._next(run, moves=moves)
        if isinstance(still, Finish) and not await self._others_at_work(run, end):
            await self._end(run, end.signal, end.why or run.why)

    async def _others_at_work(self, run: RunRecord, end: Finish) -> bool:
        """Whether to wait a little before planning anew: see `others_at_work`."""
        if run.kind != "plan" or run.state is not RunState.RUNNING or end.signal is not RunSignal.EXPIRE:
            return False
        since = self.settling.setdefault(run.id, self.clock.now())
        if self.clock.now() - since >= timedelta(seconds=OTHERS_WAIT_S):
            return False
        try:
            return others_at_work(tuple(self.steps[run.id].values()), await self.reads.read())
        except (TransientError, PermanentError):
            return True

    async def _end(self, run: RunRecord, signal: RunSignal, why: str) -> None:
        """Write the run's end with what it leads to, in one transaction."""
        now, records = self.clock.now(), tuple(self.steps[run.id].values())
        replacement: PlanRequest | None = None
        if signal is RunSignal.EXPIRE and run.kind == "plan":
            if not await self.journal.tried_too_often(run.id):
                replacement = again(run, records, replans_max=self.policy.execution.replans_max)
            if replacement is None:
                signal, why = RunSignal.FAIL, f"{why}; planned {run.attempt} times already: a person must look"
        ended = replace(run, state=run_after(run.state, signal), why=why)
        events = self._told(ended, records, why=why, at=now, replacement=replacement)
        undo = await self.journal.order(run.id, "undo") if run.kind == "plan" else None

        async def follow_up(transaction: Transaction) -> None:
            if undo is not None:
                await begin_undo(transaction, ended, undo, at=now)

        cancelled_by = await self.journal.order(run.id, "cancel") if signal is RunSignal.STOP else None
        if cancelled_by is not None:
            events[0] = plan_event(
                ended, "cancelled", by=cancelled_by.by, why=cancelled_by.why, at=now, cause=cancelled_by.event,
                counts=self._counts(records),
            )  # fmt: skip
        if replacement is not None and undo is not None:
            events, replacement = events[:1], None  # the way back is asked for instead
        replaced_by = None if replacement is None else replacement.plan
        done = await self.journal.move_run(
            self.lease, ended, was=run.state, at=now, events=events, replaced_by=replaced_by, then=follow_up
        )
        if done:
            self.steps.pop(run.id)
            self.claims.pop(run.id)
            self.settling.pop(run.id, None)
            log.info("run ended", outcome=ended.state.value, plan_id=run.id, why=why)
        self.wake.set()

    def _told(
        self, run: RunRecord, records: Sequence[StepRecord], *, why: str, at: datetime,
        replacement: PlanRequest | None,
    ) -> list[Event]:  # fmt: skip
        if run.kind == "chore":
            return self._chore_told(run, why=why, at=at)
        done_before = sum(1 for record in records if record.state is StepState.SKIPPED)
        if run.state is RunState.FINISHED:
            why = f"all {len(records)} steps are done" + (f", {done_before} of them before" if done_before else "")
        replaced_by = None if replacement is None else replacement.plan
        events = [
            plan_event(
                run, run.state.value, by="executor", why=why, at=at, replaced_by=replaced_by,
                counts=self._counts(records),
            )
        ]  # fmt: skip
        if replacement is not None:
            events.append(
                event_of(run, "restow.command.plan.request", replacement, subject=replacement.plan, at=at,
                         effect="replan", cause=events[0].id)
            )  # fmt: skip
        return events

    def _chore_told(self, run: RunRecord, *, why: str, at: datetime) -> list[Event]:
        events = []
        if run.state is not RunState.FINISHED:
            what = "undo" if run.goal == "undo" else "maintenance"
            events.append(refusal_event(run, what=f"{what} {run.subject}", guard=what, why=why, at=at, effect="end"))
        if run.goal == "undo" and run.request is not None:  # asked for in any case: the planner says what is possible
            request = PlanRequest(
                plan=undo_id(run.subject), request=run.request, requested_by=run.by, approved_by=run.by
            )
            events.append(
                event_of(run, "restow.command.plan.request", request, subject=request.plan, at=at, effect="undo")
            )
        return events

    def _counts(self, records: Sequence[StepRecord]) -> dict[str, int]:
        return counts({record.step.id: record.state for record in records})


def _fenced(host: HostName, records: Iterable[StepRecord]) -> bool:
    return any(one.state.done and one.step.action is Action.FENCE and one.step.host == host for one in records)


async def wait_for(wake: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Until `wake` is set, for at most so many seconds of the clock."""
    loop = asyncio.get_running_loop()
    waits = {loop.create_task(wake.wait()), loop.create_task(clock.sleep(seconds))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

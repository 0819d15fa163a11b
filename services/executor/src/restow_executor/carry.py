"""Carries one step from its look to its proven end: journal first, then the call, then the watch.

A call whose answer is lost is never simply repeated: first the cloud is watched for a sign of it, and only
where none shows for long enough is everything looked at again and asked anew, under a new request id.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, assert_never

import structlog

from restow.clock import Clock
from restow.cloud.model import Cloud
from restow.cloud.port import CloudPort
from restow.database.leases import Lease, LeaseLostError
from restow.errors import CredentialError, NotFoundError, PermanentError, TransientError
from restow.ids import HostName, ServerId
from restow.messages.events import Event
from restow.messages.plan import HOST_ACTIONS
from restow.policy import Policy
from restow_executor.actions import ACTION_BY_NAME
from restow_executor.actions.base import (
    Broken,
    Changed,
    Check,
    Done,
    Go,
    Later,
    Look,
    NoSign,
    Patience,
    Refused,
    Site,
    Underway,
    Verified,
)
from restow_executor.journal import Journal, MovedOnError, changed
from restow_executor.progress import StepSignal, StepState, step_after
from restow_executor.records import RunRecord, StepRecord, host_event, refusal_event, request_id_of, step_event
from restow_executor.room import Claims

LOOK_WAIT_S = 300.0  # for what is under way at a server that a step wants to move
ABORT_WAIT_S = 120.0  # for an aborted migration to end
POLL_MIN_S = 0.2
POLL_MAX_S = 5.0
POLL_SHARE = 0.1  # of the expected duration
QUEUE_LIMITS = 4  # so many times its limit a step may take, its time in the cloud's queue included
PROGRESS_MIN = 0.01  # less than this is no progress: what is copied and what is dirtied keep each other busy

log = structlog.get_logger(__name__)


class Sent(Enum):
    TAKEN = "taken"  # the cloud said yes
    UNKNOWN = "unknown"  # it may or may not have taken it
    REFUSED = "refused"


class Course:
    """How a request that was taken comes along: what is left of its time, and whether it advances at all; pure.

    The time that it stands in the cloud's own queue is not its own, up to a bound.
    """

    def __init__(self, patience: Patience, *, began: datetime, limit_min: datetime) -> None:
        self._full, self._stalled_s = timedelta(seconds=patience.limit_s), patience.stalled_s
        self._queue_end = began + QUEUE_LIMITS * self._full
        self.limit = max(began + self._full, limit_min)
        self._best, self._advanced_at = 0.0, limit_min
        self.ending_by: datetime | None = None
        self.end_taken = False

    def see(self, found: Underway, *, now: datetime) -> None:
        if found.queued:
            self.limit = max(self.limit, min(now + self._full, self._queue_end))
            self._advanced_at = now
        elif found.progress is None or found.progress >= self._best + PROGRESS_MIN:
            self._best, self._advanced_at = found.progress or self._best, now

    def begin_again(self, *, now: datetime) -> None:
        self.limit, self._best, self._advanced_at = now + self._full, 0.0, now

    def overdue(self, now: datetime) -> str | None:
        """Why it is to be brought to an end; None while it may go on."""
        if now >= self.limit:
            return "it has used up its time"
        stood_s = (now - self._advanced_at).total_seconds()
        if self._stalled_s is not None and stood_s >= self._stalled_s:
            return f"it has not come further for {stood_s:.0f} s"
        return None


@dataclass(slots=True)
class Carrier:
    """One step on its way. What it asks of the cloud is sent only while the lease holds: see `Session.work`."""

    journal: Journal
    lease: Lease
    port: CloudPort
    clock: Clock
    policy: Policy
    run: RunRecord
    record: StepRecord
    cloud: Callable[[], Awaitable[Cloud]]
    fenced: Callable[[HostName], bool]
    lost: Callable[[HostName], bool]
    claims: Claims
    keep: Callable[[StepRecord], None]  # tells the driver of the step's new state
    sent: Sent = Sent.UNKNOWN
    refusal: str = ""
    asked_at: datetime | None = None
    refused: set[str] = field(default_factory=set)  # request ids that the cloud did not take

    async def carry(self) -> None:
        """Return when the step has ended, or when its run was stopped before it began."""
        step = self.record.step
        with structlog.contextvars.bound_contextvars(plan_id=self.run.id, step=step.id, action=step.action.value):
            try:
                if self.record.state is StepState.WAITING:
                    if not await self._look_and_ask():
                        return
                else:
                    await self._claim_again()
                await self._watch()
            except MovedOnError as stopped:
                log.info("step not begun", why=str(stopped))
            finally:
                self.claims.drop(step.id)

    # --- look, and ask ---------------------------------------------------------------------

    async def _look_and_ask(self) -> bool:
        """Whether the cloud was asked, or may have been; if not, the step has ended."""
        seen = await self._look()
        match seen:
            case Go():
                before = seen.before if self.record.state is StepState.WAITING else self.record.before
                await self._intend(before)
                await self._ask()
                return True
            case Done() if self.record.state is StepState.STARTED:
                return True  # it was taken after all: the check below proves its end
            case Done():
                await self._end(StepSignal.SKIP, seen.why, facts=seen.facts)
            case Changed():
                await self._end(StepSignal.EXPIRE, seen.why, guard=seen.guard)
            case Later():
                await self._end(StepSignal.EXPIRE, f"{seen.why}; waited {LOOK_WAIT_S:.0f} s for it")
            case Refused():
                await self._end(StepSignal.FAIL, seen.why, guard=seen.guard)
            case _:
                assert_never(seen)
        return False

    async def _look(self) -> Look:
        action = ACTION_BY_NAME[self.record.step.action]
        until = self.clock.now() + timedelta(seconds=LOOK_WAIT_S)
        wait_s = POLL_MIN_S
        while True:
            seen: Look
            try:
                seen = await action.look(self._site())
            except TransientError as error:
                seen = Later(f"the cloud does not answer: {error}")
            except CredentialError as error:
                seen = Later(f"the cloud cannot be read: {error}")
            except PermanentError as error:
                seen = Changed(str(error))
            if not isinstance(seen, Later) or self.clock.now() >= until:
                return seen
            await self.clock.sleep(wait_s)
            wait_s = min(POLL_MAX_S, wait_s * 1.5)

    async def _intend(self, before: Mapping[str, Any]) -> None:
        """Put on record that the cloud will be asked, and under which id, before it is."""
        now, was = self.clock.now(), self.record
        request_id = request_id_of(self.run.id, was.step.id, len(was.asked) + 1)
        state = step_after(was.state, StepSignal.BEGIN)
        intended = replace(
            was, state=state, asked=(*was.asked, request_id), before=dict(before), started_at=was.started_at or now
        )
        events = [step_event(self.run, intended, "started", at=now)] if self.run.kind == "plan" else []
        await self._write(intended, events)

    async def _ask(self) -> None:
        action = ACTION_BY_NAME[self.record.step.action]
        self.asked_at = self.clock.now()
        try:
            await action.ask(self._site(), request_id=self.record.asked[-1])
        except (TransientError, CredentialError) as error:  # a credential may be mended: asked anew, after a look
            log.warning("no clear answer from the cloud: looking for signs of the request", error=str(error))
            self.sent, self.refusal = Sent.UNKNOWN, str(error)
        except LeaseLostError:
            raise
        except PermanentError as error:
            self.sent, self.refusal = Sent.REFUSED, str(error)
            self.refused.add(self.record.asked[-1])
        else:
            self.sent, self.refusal = Sent.TAKEN, ""

    async def _claim_again(self) -> None:
        """A step that was begun before this process: what it may be taking on its target counts."""
        step = self.record.step
        if step.server is None or step.target is None:
            return
        try:
            server = await self.port.server(ServerId(step.server))
        except (TransientError, NotFoundError):
            return  # the check below meets the same and deals with it
        self.claims.hold(step.id, HostName(step.target), server)

    # --- watch -----------------------------------------------------------------------------

    async def _watch(self) -> None:
        action = ACTION_BY_NAME[self.record.step.action]
        patience = action.patience(self._site())
        settle, now = timedelta(seconds=patience.settle_s), self.clock.now()
        began = self.record.started_at or now
        sign_by = now + settle
        # Whoever takes a step over has at least the time to see whether it was asked for at all.
        course = Course(patience, began=began, limit_min=sign_by + timedelta(seconds=1))
        while True:
            found = await self._check(unread_counts=not patience.again)
            now = self.clock.now()
            match found:
                case Verified():
                    await self._end(StepSignal.VERIFY, found.why, facts=found.facts)
                    return
                case Broken():
                    await self._break(found)
                    return
                case Underway():
                    sign_by = now + settle
                    course.see(found, now=now)
                case NoSign() if self.sent is Sent.REFUSED and not patience.again:
                    await self._break(Broken(f"the cloud refused: {self.refusal}", self._unmet()))
                    return
                case NoSign() if now >= sign_by:
                    may_ask = patience.again or self.sent is Sent.UNKNOWN
                    if not may_ask or len(self.record.asked) >= patience.asks_max:
                        if patience.again and now < course.limit:
                            await self.clock.sleep(min(POLL_MAX_S, (course.limit - now).total_seconds()))
                            continue  # asked often enough, but there is time left for it to show
                        await self._break(await self._nothing_came(found))
                        return
                    if not await self._look_and_ask():
                        return
                    sign_by = self.clock.now() + settle
                    if not patience.again:
                        course.begin_again(now=self.clock.now())
                case NoSign():
                    pass
                case _:
                    assert_never(found)
            overdue = course.overdue(now)
            if overdue is not None:
                broken = await self._bring_to_an_end(course, f"{found.why}; {overdue}", now=now)
                if broken is not None:
                    await self._break(broken)
                    return
            await self.clock.sleep(self._pause(now - (self.asked_at or began)))

    async def _bring_to_an_end(self, course: "Course", why: str, *, now: datetime) -> Broken | None:
        """Ask for the end until that is taken, then wait for it; for a bounded time in all."""
        if course.ending_by is None:
            log.warning("step has used up its time", why=why)
            course.ending_by = now + timedelta(seconds=ABORT_WAIT_S)
        if now >= course.ending_by:
            told = "it did not end after it was aborted" if course.end_taken else "its end could not be asked for"
            return Broken(f"{why}; {told}: a person must look", StepState.FAILED)
        if course.end_taken:
            return None
        try:
            broken = await ACTION_BY_NAME[self.record.step.action].give_up(self._site())
        except LeaseLostError:
            raise
        except (TransientError, PermanentError) as error:
            log.warning("the abort was not taken", error=str(error))
            return None
        course.end_taken = True
        return broken

    async def _check(self, *, unread_counts: bool) -> Check:
        """`unread_counts`: while the cloud cannot be read, a request of ours may be under way for all we know."""
        action = ACTION_BY_NAME[self.record.step.action]
        try:
            return await action.check(self._site())
        except TransientError as error:
            why = f"the cloud does not answer: {error}"
            return Underway(why) if unread_counts else NoSign(why)
        except NotFoundError as error:
            return Broken(str(error), StepState.STALE)
        except LeaseLostError:
            raise
        except PermanentError as error:  # a credential withdrawn in mid-plan: until it is mended nothing is known
            why = f"the cloud cannot be read: {error}"
            return Underway(why) if unread_counts else NoSign(why)

    async def _nothing_came(self, found: NoSign) -> Broken:
        action = ACTION_BY_NAME[self.record.step.action]
        if self.record.step.action in HOST_ACTIONS:
            broken = await action.give_up(self._site())
            if broken is not None:
                return broken
        asked = len(self.record.asked)
        return Broken(f"{found.why}, asked {asked} times {self.refusal}".rstrip(), self._unmet())

    def _unmet(self) -> StepState:
        """Servers can go elsewhere by another plan; a host that cannot be switched needs a person."""
        return StepState.FAILED if self.record.step.action in HOST_ACTIONS else StepState.MISSED

    def _pause(self, elapsed: timedelta) -> float:
        """Until the next check: seldom while it cannot be over, often when it should be, seldom when it is late."""
        step = self.record.step
        expected, so_far = max(0.0, step.end_s - step.start_s), max(0.0, elapsed.total_seconds())
        pause = expected * POLL_SHARE if so_far < expected else (so_far - expected) * 0.25
        return max(POLL_MIN_S, min(POLL_MAX_S, pause))

    # --- ends ------------------------------------------------------------------------------

    async def _break(self, broken: Broken) -> None:
        signal = {
            StepState.STALE: StepSignal.EXPIRE,
            StepState.MISSED: StepSignal.MISS,
            StepState.FAILED: StepSignal.FAIL,
        }[broken.end]
        await self._end(signal, broken.why, guard=broken.guard)

    async def _end(
        self, signal: StepSignal, why: str, *, facts: Mapping[str, Any] | None = None, guard: str | None = None
    ) -> None:
        now, was = self.clock.now(), self.record
        ended = changed(was, step_after(was.state, signal), why=why, at=now, facts=facts or {})
        assert ended.state.ended
        events: list[Event] = []
        if self.run.kind == "plan":
            skipped = ended.state is StepState.SKIPPED or was.state is StepState.WAITING
            change = "finished" if ended.state is StepState.FINISHED else "skipped" if skipped else "failed"
            change = "failed" if ended.state is StepState.FAILED else change
            events.append(step_event(self.run, ended, change, at=now))
        host_change = ACTION_BY_NAME[was.step.action].host_change
        told = ended.state is StepState.FINISHED or (ended.state is StepState.SKIPPED and self.run.kind == "chore")
        if host_change is not None and told:
            events.append(host_event(self.run, ended, host_change, at=now))
        if guard is not None:
            hosts = tuple(host for host in (was.step.host, was.step.source) if host is not None)
            what = f"{was.step.action.value} {was.step.server or was.step.host}"
            events.append(
                refusal_event(
                    self.run, what=what, guard=guard, why=why, at=now, effect=f"step/{was.step.id}", hosts=hosts
                )
            )
        await self._write(ended, events)
        level = log.info if ended.state.done else log.warning
        level(
            "step ended",
            outcome=ended.state.value,
            server=was.step.server,
            host=was.step.host or was.step.target,
            why=why,
        )

    async def _write(self, record: StepRecord, events: Sequence[Event]) -> None:
        await self.journal.keep_step(self.lease, record, was=self.record, events=events)
        self.record = record
        self.keep(record)

    def _site(self) -> Site:
        record = self.record
        reason = self.run.request.reason if self.run.request is not None and self.run.request.reason else ""
        return Site(
            step=record.step, port=self.port, clock=self.clock, policy=self.policy, cloud=self.cloud,
            fenced=self.fenced, lost=self.lost, claims=self.claims, before=record.before,
            asked=tuple(one for one in record.asked if one not in self.refused),
            reason=f"restow: {reason or record.step.why or self.run.why or self.run.goal}",
        )  # fmt: skip

"""The state machines of a run and of a step, whose turn it is, and what a run does next; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from restow.messages.plan import HOST_ACTIONS, Step
from restow.messages.request import Limits


class StepState(StrEnum):
    WAITING = "waiting"
    STARTED = "started"  # the intention is on record; the call may or may not have been made
    FINISHED = "finished"
    SKIPPED = "skipped"  # it was done already
    STALE = "stale"  # the world has changed: plan again
    MISSED = "missed"  # it failed on this target: plan again, elsewhere
    FAILED = "failed"  # no plan can mend it: a person must

    @property
    def done(self) -> bool:
        return self in (StepState.FINISHED, StepState.SKIPPED)

    @property
    def ended(self) -> bool:
        return self not in (StepState.WAITING, StepState.STARTED)


class StepSignal(StrEnum):
    BEGIN = "begin"
    VERIFY = "verify"
    SKIP = "skip"
    EXPIRE = "expire"
    MISS = "miss"
    FAIL = "fail"


def step_after(state: StepState, signal: StepSignal) -> StepState:
    """The step's next state; the same state where the signal has no meaning any more."""
    match state, signal:
        case StepState.WAITING, StepSignal.BEGIN:
            return StepState.STARTED
        case StepState.STARTED, StepSignal.VERIFY:
            return StepState.FINISHED
        case StepState.WAITING, StepSignal.SKIP:
            return StepState.SKIPPED
        case ((StepState.WAITING | StepState.STARTED), StepSignal.EXPIRE):
            return StepState.STALE
        case ((StepState.WAITING | StepState.STARTED), StepSignal.FAIL):
            return StepState.FAILED
        case StepState.STARTED, StepSignal.MISS:
            return StepState.MISSED
        case _:
            return state


class RunState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"  # what runs ends, nothing new starts
    RETIRING = "retiring"  # the same, because something more urgent came or the plan is stale
    FINISHED = "finished"
    FAILED = "failed"
    STALE = "stale"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (RunState.FINISHED, RunState.FAILED, RunState.STALE, RunState.CANCELLED)


class RunSignal(StrEnum):
    BEGIN = "begin"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETIRE = "retire"
    FINISH = "finish"
    FAIL = "fail"
    EXPIRE = "expire"
    STOP = "stop"


def run_after(state: RunState, signal: RunSignal) -> RunState:
    """The run's next state; the same state where the signal is forbidden or has no meaning any more.

    A resumed run waits for its turn again, so that it is held against the cloud before it goes on.
    """
    match state, signal:
        case RunState.WAITING, RunSignal.BEGIN:
            return RunState.RUNNING
        case ((RunState.WAITING | RunState.RUNNING), RunSignal.PAUSE):
            return RunState.PAUSED
        case RunState.PAUSED, RunSignal.RESUME:
            return RunState.WAITING
        case ((RunState.WAITING | RunState.RUNNING | RunState.PAUSED | RunState.RETIRING), RunSignal.CANCEL):
            return RunState.CANCELLING
        case ((RunState.WAITING | RunState.RUNNING), RunSignal.RETIRE):
            return RunState.RETIRING
        case RunState.CANCELLING, RunSignal.STOP:
            return RunState.CANCELLED
        case _ if state.ended:
            return state
        case _, RunSignal.FINISH:
            return RunState.FINISHED
        case _, RunSignal.FAIL:
            return RunState.FAILED
        case _, RunSignal.EXPIRE:
            return RunState.STALE
        case _:
            return state


@dataclass(frozen=True, slots=True)
class Turn:
    """A run as far as the question of turns goes.

    `busy`: a move of it is under way; `stuck`: all that are have been for so long that nobody should wait for them.
    """

    run: str
    state: RunState
    recover: bool
    busy: bool
    created_at: datetime
    begun: bool = False
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class Turns:
    """Who goes on.

    `drive`: these runs are carried on; `moves`: those of them that may start to move servers; `retire`: these
    start nothing more and are planned again.
    """

    drive: tuple[str, ...] = ()
    moves: frozenset[str] = frozenset()
    retire: tuple[str, ...] = ()


def whose_turn(runs: Sequence[Turn], *, held: bool = False) -> Turns:
    """One run of a domain at a time; a recovery goes first and retires the others.

    While moves of another run still end, a recovery already disables and fences, but moves nothing: its order was
    made without those moves. It waits for none that is stuck. All recoveries fence at once; they move one after the
    other. A paused run keeps its place, except before a recovery.
    `held`: the first in line is being planned again, and nothing but a recovery begins before it.
    """
    in_order = sorted(
        (run for run in runs if not run.state.ended), key=lambda run: (not run.begun, run.created_at, run.run)
    )
    leaving = [run for run in in_order if run.state in (RunState.CANCELLING, RunState.RETIRING)]
    staying = [run for run in in_order if run not in leaving]
    urgent = [run for run in staying if run.recover and run.state is not RunState.PAUSED]
    retire = [run for run in staying if urgent and not run.recover and run.state is RunState.RUNNING]
    paused = [run for run in staying if run.state is RunState.PAUSED]
    candidates = urgent or ([] if leaving else [run for run in staying if run.begun or not held])
    head = sorted(candidates, key=lambda run: bool(urgent) and run.stuck)[:1]  # stable
    going = urgent or head
    drive = [*leaving, *retire, *paused, *(run for run in going if run not in paused)]
    others_move = any(other.busy and not (urgent and other.stuck) for other in in_order if other not in head)
    moves = frozenset(run.run for run in head if not others_move)
    return Turns(tuple(run.run for run in drive), moves, tuple(run.run for run in retire))


@dataclass(frozen=True, slots=True)
class Start:
    """Start these steps now, in this order."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start: what runs must end first, or a person resumes."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over; `why` is for a person."""

    signal: RunSignal  # FINISH, FAIL, EXPIRE or STOP
    why: str


def next_commands(
    steps: Sequence[Step],
    states: Mapping[str, StepState],
    *,
    run: RunState,
    limits: Limits,
    moves: bool = True,
    why: Mapping[str, str] | None = None,
) -> Start | Wait | Finish:
    """What a run does next, by its edges and within its limits, never by barriers.

    A step that failed, or that must be tried elsewhere, holds back only what waits for it. One that found the
    world changed stops all new starts: what the order of the steps was built on is no longer true.
    `moves` false: only steps on hosts may start. `why` gives the reasons of steps that ended badly.
    """
    reasons = why or {}
    stale = [step.id for step in steps if states[step.id] is StepState.STALE]
    if run is RunState.RUNNING and not stale:
        starts = _startable(steps, states, limits=limits, moves=moves)
        if starts:
            return Start(starts)
    if any(state is StepState.STARTED for state in states.values()):
        return Wait()
    waiting = [step.id for step in steps if states[step.id] is StepState.WAITING]
    failed = [step.id for step in steps if states[step.id] is StepState.FAILED]
    missed = [step.id for step in steps if states[step.id] is StepState.MISSED]
    if not (waiting or failed or missed or stale):
        return Finish(RunSignal.FINISH, "")
    match run:
        case RunState.CANCELLING:
            return Finish(RunSignal.STOP, "")
        case RunState.RETIRING:
            return Finish(RunSignal.EXPIRE, "")
        case RunState.PAUSED | RunState.WAITING:
            return Wait()
        case RunState.RUNNING:
            if failed:
                return Finish(RunSignal.FAIL, _because(failed, reasons))
            if stale or missed:
                return Finish(RunSignal.EXPIRE, _because([*stale, *missed], reasons))
            return Wait()  # moves is false: they wait for another run's end
        case RunState.FINISHED | RunState.FAILED | RunState.STALE | RunState.CANCELLED:
            return Wait()
        case _:
            assert_never(run)


REASONS_SHOWN = 3


def _because(steps: Sequence[str], reasons: Mapping[str, str]) -> str:
    told = [f"{step}: {reasons[step]}" for step in steps if reasons.get(step)]
    more = len(told) - REASONS_SHOWN
    return "; ".join(told[:REASONS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _startable(
    steps: Sequence[Step], states: Mapping[str, StepState], *, limits: Limits, moves: bool
) -> tuple[str, ...]:
    at_hosts: Counter[str] = Counter()
    total = 0
    for step in steps:
        if states[step.id] is StepState.STARTED and step.action not in HOST_ACTIONS:
            total += 1
            at_hosts.update(step.hosts_loaded)
    starts: list[str] = []
    for step in sorted(steps, key=lambda step: step.start_s):  # stable: the plan's own order among equals
        if states[step.id] is not StepState.WAITING:
            continue
        if not all(states[edge.step].done for edge in step.waits_for):
            continue
        if step.action in HOST_ACTIONS:
            starts.append(step.id)
            continue
        held = step.hosts_loaded
        if not moves or total >= limits.total or any(at_hosts[host] >= limits.per_host for host in held):
            continue
        total += 1
        at_hosts.update(held)
        starts.append(step.id)
    return tuple(starts)


def counts(states: Mapping[str, StepState]) -> dict[str, int]:
    """Steps by how they ended; those that never started as "not-started"."""
    named = Counter("not-started" if state is StepState.WAITING else state.value for state in states.values())
    return dict(sorted(named.items()))

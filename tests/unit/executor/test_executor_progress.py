"""The state machines row by row, whose turn it is, and what a run does next."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from restow.messages.request import Limits
from restow_executor.progress import (
    Finish,
    RunSignal,
    RunState,
    Start,
    StepSignal,
    StepState,
    Turn,
    Wait,
    counts,
    next_commands,
    run_after,
    step_after,
    whose_turn,
)
from support.executing import move, rescue, step

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

STEP_ROWS = {
    (StepState.WAITING, StepSignal.BEGIN): StepState.STARTED,
    (StepState.WAITING, StepSignal.SKIP): StepState.SKIPPED,
    (StepState.WAITING, StepSignal.EXPIRE): StepState.STALE,
    (StepState.WAITING, StepSignal.FAIL): StepState.FAILED,
    (StepState.STARTED, StepSignal.VERIFY): StepState.FINISHED,
    (StepState.STARTED, StepSignal.EXPIRE): StepState.STALE,
    (StepState.STARTED, StepSignal.MISS): StepState.MISSED,
    (StepState.STARTED, StepSignal.FAIL): StepState.FAILED,
}


@pytest.mark.parametrize("state", StepState)
@pytest.mark.parametrize("signal", StepSignal)
def test_every_row_of_the_step_is_as_written_and_all_others_stay(state, signal):
    assert step_after(state, signal) is STEP_ROWS.get((state, signal), state)


OPEN = (RunState.WAITING, RunState.RUNNING, RunState.PAUSED, RunState.CANCELLING, RunState.RETIRING)
RUN_ROWS = {
    (RunState.WAITING, RunSignal.BEGIN): RunState.RUNNING,
    (RunState.WAITING, RunSignal.PAUSE): RunState.PAUSED,
    (RunState.RUNNING, RunSignal.PAUSE): RunState.PAUSED,
    (RunState.PAUSED, RunSignal.RESUME): RunState.WAITING,
    (RunState.WAITING, RunSignal.RETIRE): RunState.RETIRING,
    (RunState.RUNNING, RunSignal.RETIRE): RunState.RETIRING,
    (RunState.CANCELLING, RunSignal.STOP): RunState.CANCELLED,
    **{(state, RunSignal.CANCEL): RunState.CANCELLING for state in OPEN},
    **{(state, RunSignal.FINISH): RunState.FINISHED for state in OPEN},
    **{(state, RunSignal.FAIL): RunState.FAILED for state in OPEN},
    **{(state, RunSignal.EXPIRE): RunState.STALE for state in OPEN},
}


@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("signal", RunSignal)
def test_every_row_of_the_run_is_as_written_and_all_others_stay(state, signal):
    assert run_after(state, signal) is RUN_ROWS.get((state, signal), state)


def states_of(steps, **known):
    return {one.id: StepState(known.get(one.id, "waiting")) for one in steps}


def commands(steps, run=RunState.RUNNING, *, per_host=2, total=20, moves=True, why=None, **known):
    limits = Limits(per_host=per_host, total=total)
    return next_commands(steps, states_of(steps, **known), run=run, limits=limits, moves=moves, why=why)


def test_a_step_starts_when_all_that_it_waits_for_is_done_and_not_before():
    steps = (move("a", "s1", "h1", "h2"), move("b", "s2", "h2", "h3", after=["a"]))
    assert commands(steps) == Start(("a",))
    assert commands(steps, a="started") == Wait()
    assert commands(steps, a="finished") == Start(("b",))
    assert commands(steps, a="skipped") == Start(("b",))


def test_no_host_has_more_moves_in_and_out_than_its_limit():
    steps = tuple(move(f"m{n}", f"s{n}", "h1", f"h{n + 2}") for n in range(5))
    assert commands(steps, per_host=2) == Start(("m0", "m1"))
    assert commands(steps, per_host=2, m0="started") == Start(("m1",))
    into = tuple(move(f"m{n}", f"s{n}", f"h{n + 2}", "h1") for n in range(5))
    assert commands(into, per_host=3) == Start(("m0", "m1", "m2"))


def test_all_moves_together_stay_within_the_total():
    steps = tuple(move(f"m{n}", f"s{n}", f"a{n}", f"b{n}") for n in range(5))
    assert commands(steps, total=3) == Start(("m0", "m1", "m2"))
    assert commands(steps, total=3, m0="started", m1="started") == Start(("m2",))


def test_a_dead_host_has_nothing_to_send_so_only_targets_bound_its_recovery():
    steps = rescue("h1", [(f"s{n}", f"h{n + 2}") for n in range(4)])
    assert commands(steps, off="finished", fence="finished", per_host=1) == Start(("e-s0", "e-s1", "e-s2", "e-s3"))
    assert steps[2].hosts_loaded == ("h2",)


def test_steps_start_in_the_order_of_the_schedule():
    late = step("late", "live-migrate", server="s1", source="h1", target="h2", start_s=9.0, end_s=10.0)
    soon = step("soon", "live-migrate", server="s2", source="h1", target="h2", start_s=1.0, end_s=2.0)
    assert commands((late, soon), per_host=1) == Start(("soon",))


def test_a_failed_step_holds_back_only_what_waits_for_it():
    steps = (move("a", "s1", "h1", "h2"), move("b", "s2", "h2", "h3", after=["a"]), move("c", "s3", "h4", "h5"))
    for bad in ("failed", "missed"):
        assert commands(steps, a=bad) == Start(("c",))
        assert commands(steps, a=bad, c="started") == Wait()
    assert commands(steps, a="failed", c="finished", why={"a": "no"}) == Finish(RunSignal.FAIL, "a: no")
    assert commands(steps, a="missed", c="finished", why={"a": "no"}) == Finish(RunSignal.EXPIRE, "a: no")


def test_a_changed_world_stops_new_starts_and_ends_the_plan_when_what_runs_has_ended():
    steps = (move("a", "s1", "h1", "h2"), move("b", "s2", "h1", "h3"), move("c", "s3", "h4", "h5"))
    assert commands(steps, a="stale", b="started") == Wait()
    assert commands(steps, a="stale", b="finished", why={"a": "gone"}) == Finish(RunSignal.EXPIRE, "a: gone")


def test_a_failure_that_needs_a_person_outweighs_what_another_plan_could_mend():
    steps = (move("a", "s1", "h1", "h2"), move("b", "s2", "h1", "h3"))
    assert commands(steps, a="failed", b="missed", why={"a": "x"}) == Finish(RunSignal.FAIL, "a: x")


@pytest.mark.parametrize(
    ("run", "known", "expected"),
    [
        (RunState.PAUSED, {}, Wait()),
        (RunState.PAUSED, {"a": "started"}, Wait()),
        (RunState.PAUSED, {"a": "finished", "b": "finished"}, Finish(RunSignal.FINISH, "")),
        (RunState.CANCELLING, {}, Finish(RunSignal.STOP, "")),
        (RunState.CANCELLING, {"a": "started"}, Wait()),
        (RunState.CANCELLING, {"a": "finished"}, Finish(RunSignal.STOP, "")),
        (RunState.CANCELLING, {"a": "finished", "b": "skipped"}, Finish(RunSignal.FINISH, "")),
        (RunState.RETIRING, {"a": "started"}, Wait()),
        (RunState.RETIRING, {"a": "finished"}, Finish(RunSignal.EXPIRE, "")),
        (RunState.RUNNING, {"a": "finished", "b": "finished"}, Finish(RunSignal.FINISH, "")),
    ],
)
def test_a_run_that_is_to_stop_ends_as_soon_as_nothing_runs(run, known, expected):
    steps = (move("a", "s1", "h1", "h2"), move("b", "s2", "h1", "h3", after=["a"]))
    assert commands(steps, run, **known) == expected


def test_an_empty_plan_is_finished():
    assert commands(()) == Finish(RunSignal.FINISH, "")


def test_hosts_may_be_disabled_and_fenced_while_another_run_still_moves():
    steps = rescue("h1", [("s1", "h2")])
    assert commands(steps, moves=False) == Start(("off", "fence"))
    assert commands(steps, moves=False, off="finished", fence="finished") == Wait()


def test_counts_tell_how_the_steps_ended():
    assert counts({"a": StepState.FINISHED, "b": StepState.FINISHED, "c": StepState.WAITING}) == {
        "finished": 2,
        "not-started": 1,
    }


def turn(run, state, *, recover=False, busy=False, minute=0, begun=None):
    begun = state is not RunState.WAITING if begun is None else begun
    return Turn(run, state, recover, busy, NOON + timedelta(minutes=minute), begun=begun)


def test_one_run_at_a_time_the_oldest_first():
    turns = whose_turn([turn("b", RunState.WAITING, minute=2), turn("a", RunState.WAITING, minute=1)])
    assert turns.drive == ("a",)
    turns = whose_turn([turn("b", RunState.RUNNING, minute=2), turn("a", RunState.WAITING, minute=1)])
    assert turns.drive == ("b",)
    assert turns.moves == {"b"}


def test_a_recovery_retires_the_others_and_moves_nothing_until_their_moves_have_ended():
    plain = turn("a", RunState.RUNNING, busy=True)
    turns = whose_turn([plain, turn("r", RunState.WAITING, recover=True, minute=5)])
    assert turns.retire == ("a",)
    assert turns.drive == ("a", "r")
    assert turns.moves == frozenset()
    ending = turn("a", RunState.RETIRING, busy=False)
    assert whose_turn([ending, turn("r", RunState.RUNNING, recover=True, minute=5)]).moves == {"r"}


def test_a_recovery_does_not_retire_another_recovery():
    first = turn("r1", RunState.RUNNING, recover=True)
    turns = whose_turn([first, turn("r2", RunState.WAITING, recover=True, minute=5)])
    assert turns.retire == ()


def test_all_recoveries_fence_at_once_and_the_first_alone_moves():
    first = turn("r1", RunState.RUNNING, recover=True, busy=True)
    turns = whose_turn([first, turn("r2", RunState.WAITING, recover=True, minute=5)])
    assert turns.drive == ("r1", "r2")
    assert turns.moves == {"r1"}


def test_a_recovery_whose_moves_are_stuck_lets_the_next_one_go_first():
    first = replace(turn("r1", RunState.RUNNING, recover=True, busy=True), stuck=True)
    turns = whose_turn([first, turn("r2", RunState.RUNNING, recover=True, minute=5)])
    assert turns.drive == ("r1", "r2")
    assert turns.moves == {"r2"}
    alone = whose_turn([first])
    assert alone.moves == {"r1"}


def test_only_a_recovery_passes_what_is_stuck():
    leaving = replace(turn("a", RunState.RETIRING, busy=True), stuck=True)
    assert whose_turn([leaving, turn("r", RunState.RUNNING, recover=True, minute=5)]).moves == {"r"}
    assert whose_turn([leaving, turn("w", RunState.WAITING, minute=5)]).moves == frozenset()


def test_a_paused_run_keeps_its_place_except_before_a_recovery():
    paused = turn("p", RunState.PAUSED)
    assert whose_turn([paused, turn("w", RunState.WAITING, minute=1)]).drive == ("p",)
    turns = whose_turn([paused, turn("r", RunState.WAITING, recover=True, minute=1)])
    assert turns.drive == ("p", "r")
    assert turns.retire == ()
    assert turns.moves == {"r"}


def test_nothing_new_begins_while_a_cancelled_run_comes_to_rest():
    cancelled = turn("c", RunState.CANCELLING, busy=True)
    assert whose_turn([cancelled, turn("w", RunState.WAITING, minute=1)]).drive == ("c",)

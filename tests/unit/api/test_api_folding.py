import pytest

from restow.messages.events import PlanProposed, PlanRequest, PlanState, first_event
from restow.messages.request import parse_request
from restow_api.folding import ENDED, STATES, fold_plan, new_plan_view, next_state, why_not
from support.builders import NOON

REQUEST = parse_request({"goal": "evacuate", "hosts": ["host-1"]})


def an_event(type: str, message, id: str = "e"):
    return first_event(type, message, id=id, source="t", domain="d", subject="p", time=NOON, correlation="p")


def a_view():
    message = PlanRequest(plan="p", request=REQUEST, requested_by="ann")
    return new_plan_view(message, an_event("restow.command.plan.request", message))


FORWARD = {
    ("requested", "proposed"): "proposed", ("requested", "approved"): "approved", ("requested", "started"): "running",
    ("proposed", "approved"): "approved", ("proposed", "rejected"): "rejected", ("approved", "proposed"): "approved",
    ("approved", "started"): "running", ("running", "paused"): "paused", ("paused", "resumed"): "running",
    ("running", "approved"): "running", ("running", "proposed"): "running", ("running", "finished"): "finished",
    ("paused", "cancelled"): "cancelled", ("proposed", "requested"): "proposed", ("running", "stale"): "stale",
    ("requested", "failed"): "failed", ("paused", "started"): "running",
}  # fmt: skip


@pytest.mark.parametrize(("before", "word"), FORWARD)
def test_a_plan_goes_forward_only(before: str, word: str):
    assert next_state(before, f"restow.plan.{word}") == FORWARD[before, word]


@pytest.mark.parametrize("ended", sorted(ENDED))
@pytest.mark.parametrize("word", ["requested", "proposed", "approved", "started", "paused", "finished", "failed"])
def test_an_ended_plan_stays_as_it_ended(ended: str, word: str):
    assert next_state(ended, f"restow.plan.{word}") == ended


def test_the_outcome_may_come_before_the_request():
    proposed = PlanProposed(plan="p", outcome="plan", mode="propose", document="sha256:1", snapshot="sha256:2",
                            goal="evacuate", steps=3, moved_mib=1, makespan_s=1.0, blockers=0)  # fmt: skip
    assert fold_plan(None, an_event("restow.plan.proposed", proposed)) is None
    view = fold_plan(a_view(), an_event("restow.plan.proposed", proposed))
    assert (view.state, view.steps, view.document) == ("proposed", 3, "sha256:1")


PARTS = [(0, ""), (1, "; in part: 1 blocker in the plan"), (2, "; in part: 2 blockers in the plan")]


@pytest.mark.parametrize(("blockers", "told"), PARTS)
def test_a_plan_that_was_met_in_part_says_so_in_the_end(blockers: int, told: str):
    view = a_view()
    proposed = PlanProposed(plan="p", outcome="plan", mode="propose", document="sha256:1", snapshot="sha256:2",
                            goal="evacuate", steps=3, moved_mib=1, makespan_s=1.0, blockers=blockers)  # fmt: skip
    fold_plan(view, an_event("restow.plan.proposed", proposed))
    ended = PlanState(plan="p", by="executor", why="all 3 steps are done")
    fold_plan(view, an_event("restow.plan.finished", ended, "e2"))
    assert view.why == "all 3 steps are done" + told


def test_the_reason_of_the_end_is_kept_and_a_later_word_does_not_replace_it():
    view = a_view()
    fold_plan(view, an_event("restow.plan.failed", PlanState(plan="p", by="executor", why="host-1 is gone")))
    fold_plan(view, an_event("restow.plan.cancelled", PlanState(plan="p", by="bob", why="never mind"), "e2"))
    assert (view.state, view.why) == ("failed", "host-1 is gone")


POSSIBLE = {
    "requested": {"cancel"}, "proposed": {"approve", "reject", "cancel"}, "approved": {"cancel"},
    "running": {"cancel", "pause"}, "paused": {"cancel", "resume"}, "finished": {"undo"}, "failed": {"undo"},
    "cancelled": {"undo"}, "stale": {"undo"}, "rejected": set(),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", ["approve", "reject", "cancel", "pause", "resume", "undo"])
def test_each_state_allows_its_verbs_and_says_why_not_for_the_rest(state: str, verb: str):
    view = a_view()
    view.state, view.started_at = state, NOON
    assert (why_not(verb, view) is None) == (verb in POSSIBLE[state])


def test_what_never_started_cannot_be_undone_and_nothing_is_undone_twice():
    view = a_view()
    view.state = "cancelled"
    assert "nothing" in (why_not("undo", view) or "")
    view.started_at, view.undone_by = NOON, "q"
    assert "q undoes it already" in (why_not("undo", view) or "")


def test_a_dry_run_is_never_approved():
    view = a_view()
    view.state, view.mode = "proposed", "dry-run"
    assert "dry run" in (why_not("approve", view) or "")

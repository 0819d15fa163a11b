"""The clock cuts, says what it cut, and says the same again when a plan is made again."""

import pytest

from restow.cloud.simulated.generate import generate_cloud
from restow.messages.request import parse_request
from restow_planner import deadline
from restow_planner.deadline import Clock, Deadline
from restow_planner.plan import made_again, plan_for


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [0.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: time[0])
    return time


def test_a_busy_machine_is_granted_the_same_work(now: list[float]) -> None:
    end, granted = Deadline.after(5.0), []
    for now[0] in (0.0, 0.4, 1.0):
        granted.append(end.budget(0.6, most=20.0))
    assert granted == [2.5, 2.5, 1.25]
    now[0] = 5.0
    assert end.budget(0.6, most=20.0) == 0.0


def test_what_must_come_afterwards_is_kept_free_and_a_part_ends_before_the_whole(now: list[float]) -> None:
    kept = [0.0]
    whole = Deadline.after(10.0)
    search = deadline.replace(whole, closing=lambda: kept[0])
    half = search.part(0.5)
    now[0] = 4.9
    assert not half.over()
    assert half.over(keep=0.2)
    now[0] = 5.0
    assert half.over()
    assert not search.over()
    kept[0] = 6.0
    assert search.over()
    assert not whole.over()


def test_a_clock_says_again_what_it_said_whatever_the_time_is_now(now: list[float]) -> None:
    first = Deadline.after(5.0)
    said = []
    for now[0] in (0.0, 3.0, 6.0, 7.0):
        said.append((first.over(), first.over(keep=3.0), first.budget(0.5, most=4.0), first.part(0.1).over()))
    kept = first.clock.kept()
    for now[0] in (0.0, 99.0):
        again = Deadline.after(5.0, Clock.again(kept))
        heard = [
            (again.over(), again.over(keep=3.0), again.budget(0.5, most=4.0), again.part(0.1).over()) for _ in said
        ]
        assert heard == said
        assert again.clock.kept() == kept
    assert {one[0] for one in said} == {True, False}
    assert len({one[2] for one in said}) > 2


def test_a_clock_that_never_cut_has_nothing_to_say() -> None:
    clock = Deadline.after(60.0).clock
    assert not Deadline.after(60.0, clock).over()
    assert clock.kept() == {}


def test_work_that_meets_the_end_of_its_countdown_is_torn_and_never_when_it_is_done_again(now: list[float]) -> None:
    end = Deadline.after(5.0)
    left = end.countdown()
    now[0] = 4.0
    assert left() == 1.0
    assert end.clock.kept() == {}
    now[0] = 5.0
    assert left() <= 0.0
    assert end.clock.kept() == {"torn": True}
    again = Deadline.after(5.0, Clock.again({"torn": True}))
    now[0] = 100.0
    assert again.countdown()() > 1_000.0


GOALS = (
    {"goal": "consolidate"},
    {"goal": "rebalance", "threshold": 0.02},
    {"goal": "then", "goals": [{"goal": "rebalance", "threshold": 0.05}, {"goal": "consolidate"}]},
)


@pytest.mark.parametrize("body", GOALS, ids=lambda body: str(body["goal"]))
def test_a_plan_that_the_clock_cut_is_made_again_as_it_was(body: dict[str, object]) -> None:
    cloud = generate_cloud(hosts=150, servers_per_host=15, seed=3)
    request = parse_request({**body, "limits": {"time_limit_s": 0.08}})
    cut = plan_for(cloud, request, plan_id="p")
    assert cut.metadata["clock"], "the clock had nothing to cut"
    assert made_again(cloud, cut) == cut
    limits = request.limits.model_copy(update={"time_limit_s": 4})
    free = plan_for(cloud, request.model_copy(update={"limits": limits}), plan_id="p")
    assert free.steps != cut.steps, "the cut changed nothing"


def test_on_a_slower_machine_the_rest_is_expected_to_take_longer(now: list[float]) -> None:
    began, usual = Deadline.after(10.0), deadline.READING_RULES_S * 100_000
    now[0] = usual / 2
    assert began.paced(100_000).closing_s(100_000, 1_000) == pytest.approx(1.45)
    now[0] = usual * 3
    slow = began.paced(100_000)
    assert slow.closing_s(100_000, 1_000) == pytest.approx(3 * 1.45)
    assert slow.within(5.0).pace == pytest.approx(3.0)
    now[0] = usual * 1_000
    assert began.paced(100_000).pace == deadline.PACE_MAX

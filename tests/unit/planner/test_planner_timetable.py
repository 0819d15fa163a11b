"""Timetables against an exhaustive search, and against every limit at every instant, judged by code of the test."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restow_planner.solvers.timetable import (
    Impossible,
    Job,
    Timetable,
    Undecided,
    Way,
    Work,
    in_line,
    timetable,
)
from restow_planner.solvers.timetable.exact import exact

UP, DOWN = 0, 1
TRIES = 40


def a_job(ticks: int, *uses: tuple[int, int], **more) -> Job:
    return Job((Way(ticks, uses),), **more)


def listed(work: Work) -> Timetable:
    answer = in_line(work, placed_max=1_000, stall=5, near=0.0, seed=1)
    assert isinstance(answer, Timetable)
    assert_kept(work, answer)
    return answer


def solved(work: Work, *, seconds: float = 1.0, seed: int = 1) -> Timetable:
    answer = timetable(work, seconds=seconds, seed=seed)
    assert isinstance(answer, Timetable)
    assert_kept(work, answer)
    return answer


def assert_kept(work: Work, answer: Timetable) -> None:
    assert wrong(work, answer.start, answer.way) is None
    ticks = [job.ways[way].ticks for job, way in zip(work.jobs, answer.way, strict=True)]
    assert answer.end == tuple(start + more for start, more in zip(answer.start, ticks, strict=True))
    assert answer.bound <= answer.makespan == max(answer.end, default=0)


def wrong(work: Work, starts, ways) -> str | None:
    """The first limit that these starts break, looking at every instant one by one."""
    ends = [start + job.ways[way].ticks for start, job, way in zip(starts, work.jobs, ways, strict=True)]
    for index, job in enumerate(work.jobs):
        if starts[index] < 0 or any(ends[one] > starts[index] for one in job.after):
            return f"job {index} starts too early"
    for now in range(max(ends, default=0) + 1):
        for gate, capacity in enumerate(work.gates):
            through = [
                amount
                for job, start, end, way in zip(work.jobs, starts, ends, ways, strict=True)
                for where, amount in job.ways[way].uses
                if where == gate and start <= now < end
            ]
            if sum(through) > capacity:
                return f"gate {gate} at {now}"
        for room, left in enumerate(work.rooms):
            taken = given = taken_now = 0
            for job, start, end in zip(work.jobs, starts, ends, strict=True):
                taken += sum(amount for where, amount in job.takes if where == room and start <= now)
                taken_now += sum(amount for where, amount in job.takes if where == room and start == now)
                given += sum(amount for where, amount in job.gives if where == room and end <= now)
            if taken_now and taken > left + given:
                return f"room {room} at {now}"
    return None


def least_makespan(work: Work) -> int | None:
    """By trying every start; None: there is no timetable."""
    horizon = sum(max(way.ticks for way in job.ways) for job in work.jobs)
    choices = [
        [(start, way) for way in range(len(job.ways)) for start in range(horizon - job.ways[way].ticks + 1)]
        for job in work.jobs
    ]
    found = [
        max((start + job.ways[way].ticks for (start, way), job in zip(tried, work.jobs, strict=True)), default=0)
        for tried in product(*choices)
        if wrong(work, [start for start, _ in tried], [way for _, way in tried]) is None
    ]
    return min(found, default=None)


def test_moves_over_one_link_go_one_after_the_other_and_those_against_them_at_once() -> None:
    work = Work((a_job(5, (UP, 10)), a_job(7, (UP, 10)), a_job(12, (DOWN, 10))), gates=(10, 10))
    answer = solved(work)
    assert (answer.makespan, answer.proven) == (12, True)


def test_two_moves_at_half_the_bandwidth_share_a_link() -> None:
    work = Work((a_job(5, (UP, 5)), a_job(5, (UP, 5)), a_job(5, (UP, 5))), gates=(10,))
    assert solved(work).makespan == 10


def test_the_longest_chain_goes_first() -> None:
    short = [a_job(1, (UP, 1)) for _ in range(4)]
    chain = [a_job(1, (UP, 1)), a_job(6, after=(4,))]
    assert solved(Work((*short, *chain), gates=(1,))).makespan == 7


def test_what_arrives_waits_until_its_room_is_left() -> None:
    leaves, arrives = a_job(4, gives=((0, 8),)), a_job(3, takes=((0, 8),))
    work = Work((arrives, leaves), rooms=(2,))
    assert listed(work).start == solved(work).start == (4, 0)
    assert solved(work).proven


def test_a_slower_way_is_gone_where_it_is_over_sooner() -> None:
    fixed, either = a_job(20, (UP, 5)), Job((Way(10, ((UP, 10),)), Way(20, ((UP, 5),))))
    answer = solved(Work((fixed, either), gates=(10,)))
    assert (answer.makespan, answer.way) == (20, (0, 1))


def test_a_way_that_no_gate_lets_through_is_not_gone() -> None:
    either = Job((Way(1, ((UP, 11),)), Way(3, ((UP, 5),)), Way(2, ((DOWN, 12),))))
    work = Work((either, either, either), gates=(10, 10))
    assert listed(work).way == solved(work).way == (1, 1, 1)


def waiting_pays() -> Work:
    """The long job could start at once, but then what the chain needs in a moment is taken."""
    long, opens, needs, tail = a_job(10, (UP, 1)), a_job(1), a_job(1, (UP, 1), after=(1,)), a_job(10, after=(2,))
    return Work((long, opens, needs, tail), gates=(1,))


def test_waiting_on_purpose_is_found_by_the_exact_model_only() -> None:
    assert solved(waiting_pays()).makespan == 12
    assert listed(waiting_pays()).makespan == 21


def test_what_comes_after_a_job_waits_also_when_that_one_is_delayed() -> None:
    one, then_ten = a_job(3, (UP, 1)), a_job(10, after=(0,))
    other, then_nine = a_job(2, (UP, 1)), a_job(9, after=(2,))
    work = Work((one, then_ten, other, then_nine), gates=(1,))
    answer = exact(work, known=None, bound=0, seconds=1.0, seed=1)
    assert answer.times is not None
    assert wrong(work, answer.times.start, answer.times.way) is None
    assert answer.times.makespan == answer.bound == 14


def test_a_job_waits_for_all_that_it_comes_after() -> None:
    first, second = a_job(2), a_job(7)
    work = Work((first, second, a_job(1, after=(0, 1))))
    assert listed(work).start == solved(work).start == (0, 0, 7)


def test_a_deadlock_that_the_first_order_runs_into_is_no_answer() -> None:
    """Who needs the only room longest must come last: it gives nothing back that the others need."""
    greedy = a_job(9, takes=((0, 1),))
    helper = a_job(1, takes=((0, 1),), gives=((1, 1),))
    returns = a_job(1, takes=((1, 1),), gives=((0, 1),))
    answer = solved(Work((greedy, helper, returns), rooms=(1, 0)))
    assert answer.makespan == 11


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work((a_job(1, after=(1,)), a_job(1, after=(0,)))), "circle"),
        (Work((a_job(1, (UP, 11)),), gates=(10,)), "no gate"),
        (Work((a_job(1, takes=((0, 3),)),), rooms=(2,)), "overdrawn"),
    ],
    ids=["circle", "too wide", "overdrawn in the end"],
)
def test_what_cannot_be_is_told_with_its_reason(work: Work, told: str) -> None:
    for answer in (
        timetable(work, seconds=1.0, seed=1),
        in_line(work, placed_max=100, stall=1, near=0.0, seed=1),
    ):
        assert isinstance(answer, Impossible)
        assert told in answer.reasons[0]


def test_two_full_hosts_that_swap_are_proven_impossible() -> None:
    there = a_job(2, takes=((0, 5),), gives=((1, 5),))
    back = a_job(2, takes=((1, 5),), gives=((0, 5),))
    work = Work((there, back), rooms=(4, 4))
    assert isinstance(timetable(work, seconds=1.0, seed=1), Impossible)
    assert isinstance(in_line(work, placed_max=100, stall=3, near=0.0, seed=1), Undecided)


def test_no_jobs_are_done_at_once() -> None:
    assert solved(Work(())).makespan == 0


def test_lanes_bound_what_the_mean_load_does_not() -> None:
    """Three jobs of 10 ticks in two lanes: the mean is 15, but one lane takes two of them."""
    work = Work((*(a_job(10, (UP, 1)) for _ in range(3)), a_job(1)), gates=(2,))
    assert work.bound == 20


def test_times_come_in_any_unit() -> None:
    jobs = [(3, UP), (5, UP), (4, DOWN)]
    small, large = (
        solved(Work(tuple(a_job(unit * ticks, (gate, 1)) for ticks, gate in jobs), gates=(1, 1))) for unit in (1, 500)
    )
    assert large.start == tuple(500 * start for start in small.start)
    assert large.bound == 500 * small.bound


def test_late_ends_the_search_with_the_best_so_far() -> None:
    work = waiting_pays()
    answer = timetable(work, seconds=1.0, seed=1, late=lambda: True)
    assert isinstance(answer, Timetable)
    assert_kept(work, answer)
    assert (answer.makespan, answer.proven) == (21, False)


@pytest.mark.parametrize("whole", [True, False])
def test_the_same_seed_gives_the_same_timetable(whole: bool) -> None:
    work = a_tangle(seed=7)  # in which chance has its part
    if whole:
        first, second = (timetable(work, seconds=0.3, seed=7) for _ in range(2))
    else:
        first, second = (in_line(work, placed_max=20_000, stall=10, near=0.0, seed=7) for _ in range(2))
    assert first == second


def a_tangle(*, seed: int) -> Work:
    """40 moves between 8 hosts behind 2 uplinks: no order is obviously the best."""
    numbers = [(seed * 7919 + 104729 * index) % 1009 for index in range(160)]
    jobs = []
    for index in range(40):
        a, b, c, _ = numbers[4 * index : 4 * index + 4]
        source, target = a % 8, (a % 8 + 1 + b % 7) % 8
        uses = [(source, 1), (8 + target, 1), (16 + source % 2, 1)]
        jobs.append(a_job(3 + c % 17, *uses, after=(index - 9,) if index % 9 == 0 and index else ()))
    return Work(tuple(jobs), gates=(1,) * 16 + (3, 3))


@st.composite
def works(draw, *, jobs_max: int, ticks_max: int) -> Work:
    """Every limit can bind; whether a timetable exists is left open by the rooms."""
    gates = tuple(draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)))
    rooms = tuple(draw(st.lists(st.integers(0, 3), min_size=2, max_size=2)))
    jobs = []
    for index in range(draw(st.integers(1, jobs_max))):
        through = sorted(draw(st.sets(st.integers(0, len(gates) - 1), max_size=2)))
        quick, amount = draw(st.integers(1, ticks_max)), draw(st.integers(1, 2))
        ways = [Way(quick, tuple((gate, amount) for gate in through))]
        if amount == 2 and through and draw(st.booleans()):
            ways.append(Way(2 * quick, tuple((gate, 1) for gate in through)))
        after = draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else ()
        moved = draw(st.sampled_from([None, (0, 1), (1, 0)]))
        size = draw(st.integers(1, 2))
        takes, gives = (((moved[1], size),), ((moved[0], size),)) if moved else ((), ())
        jobs.append(Job(tuple(ways), tuple(after), takes, gives))
    return Work(tuple(jobs), gates, rooms)


@settings(max_examples=TRIES, deadline=None, derandomize=True)
@given(works(jobs_max=3, ticks_max=2))
def test_small_work_is_timed_as_well_as_trying_everything_would(work: Work) -> None:
    least = least_makespan(work)
    match timetable(work, seconds=1.0, seed=1):
        case Timetable() as answer:
            assert_kept(work, answer)
            assert (answer.makespan, answer.bound) == (least, least)
        case Impossible():
            assert least is None
        case Undecided():
            pytest.fail("three jobs are not too many")


@settings(max_examples=TRIES, deadline=None, derandomize=True)
@given(works(jobs_max=3, ticks_max=2))
def test_the_exact_model_needs_no_list_schedule(work: Work) -> None:
    answer = exact(work, known=None, bound=0, seconds=1.0, seed=1)
    least = least_makespan(work)
    assert answer.impossible == (least is None)
    if answer.times is not None:
        assert wrong(work, answer.times.start, answer.times.way) is None
        assert (answer.times.makespan, answer.bound) == (least, least)


@settings(max_examples=TRIES, deadline=None, derandomize=True)
@given(works(jobs_max=14, ticks_max=9), st.integers(0, 3))
def test_every_list_schedule_keeps_every_limit_at_every_instant(work: Work, seed: int) -> None:
    match in_line(work, placed_max=300, stall=3, near=0.0, seed=seed):
        case Timetable() as answer:
            assert_kept(work, answer)
        case Impossible() | Undecided():
            assert work.rooms


@settings(max_examples=TRIES // 2, deadline=None, derandomize=True)
@given(works(jobs_max=9, ticks_max=9))
def test_every_exact_timetable_keeps_every_limit_at_every_instant(work: Work) -> None:
    match timetable(work, seconds=0.2, seed=1):
        case Timetable() as answer:
            assert_kept(work, answer)
        case Impossible() | Undecided():
            assert work.rooms

"""Reads and board controllers: what is not told in time is not waited for, and who does not answer is left alone."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from restow.cloud.model import Power
from restow.cloud.openstack.controllers import HOSTS_MAX, LATE, PAUSES_S, Controllers
from restow.cloud.openstack.evidence import power_words
from restow.errors import TransientError
from support.builders import NOON
from support.clocks import ManualClock


class Driver:
    """`silent`: whose controllers answer nothing until they are released."""

    def __init__(self, **powers):
        self.powers = powers
        self.silent = {}
        self.asked = []

    def state(self, host):
        self.asked.append(host)
        if host in self.silent:
            assert self.silent[host].wait(30)
        power = self.powers.get(host)
        if power is None:
            raise TransientError("no answer")
        return power


@contextmanager
def a_bench(*, wait_s=30.0, threads=HOSTS_MAX):
    """The driver, the clock, what is asked of them, and the threads that ask."""
    driver, clock = Driver(), ManualClock()
    with ThreadPoolExecutor(threads) as workers:
        try:
            yield driver, clock, Controllers(driver, workers, clock, wait_s=wait_s), workers
        finally:
            for event in driver.silent.values():
                event.set()


@pytest.fixture
def bench():
    with a_bench() as (driver, clock, controllers, _):
        yield driver, clock, controllers


def test_those_that_are_not_sure_say_nothing(bench):
    driver, _, controllers = bench
    driver.powers = {"h1": Power.OFF, "h2": Power.ON, "h3": Power.UNKNOWN}
    words = power_words(controllers.told(["h1", "h2", "h3", "h4"]))
    assert [(word.source, word.host, word.alive, word.at) for word in words] == [
        ("power", "h1", False, NOON), ("power", "h2", True, NOON),
    ]  # fmt: skip


def test_one_that_hangs_holds_up_neither_the_read_nor_the_others():
    with a_bench(wait_s=0.5) as (driver, _, controllers, _):
        driver.powers, driver.silent = {"h1": Power.OFF, "h2": Power.OFF}, {"h1": Event()}
        assert set(controllers.told(["h1", "h2"])) == {"h2"}  # it has come back at all: h1 is released only below
        assert set(controllers.told(["h1", "h2"])) == {"h2"}
        assert driver.asked.count("h1") == 1  # still under way


def test_an_answer_that_came_late_counts_in_the_next_read_and_not_for_long():
    with a_bench(wait_s=0.1, threads=1) as (driver, clock, controllers, workers):
        driver.powers, driver.silent = {"h1": Power.OFF}, {"h1": Event()}
        assert controllers.told(["h1"]) == {}
        driver.silent.pop("h1").set()
        workers.submit(int).result(30)  # behind it: the answer is here
        driver.silent["h1"] = Event()  # and hangs again
        clock.forward(5)
        assert controllers.told(["h1"])["h1"].at == NOON
        clock.forward(LATE.total_seconds())
        assert controllers.told(["h1"]) == {}


def test_one_that_does_not_answer_is_left_alone_for_longer_each_time(bench):
    driver, clock, controllers = bench
    for number, pause_s in enumerate((*PAUSES_S, PAUSES_S[-1]), start=1):
        controllers.told(["h1"])
        assert len(driver.asked) == number
        clock.forward(pause_s - 0.1)
        assert controllers.told(["h1"]) == {}
        assert len(driver.asked) == number
        clock.forward(0.1)
    driver.powers["h1"] = Power.ON
    assert controllers.told(["h1"])["h1"].power is Power.ON
    assert controllers.told(["h1"])["h1"].power is Power.ON  # asked again at once: it answers
    assert len(driver.asked) == len(PAUSES_S) + 3
    del driver.powers["h1"]
    assert controllers.told(["h1"]) == {}
    clock.forward(PAUSES_S[0])
    controllers.told(["h1"])
    assert len(driver.asked) == len(PAUSES_S) + 5  # the pauses begin anew


def test_what_was_known_of_one_that_does_not_answer_any_more_is_forgotten(bench):
    driver, _, controllers = bench
    driver.powers["h1"] = Power.OFF
    assert set(controllers.told(["h1"])) == {"h1"}
    del driver.powers["h1"]
    assert controllers.told(["h1"]) == {}


def test_an_answer_of_an_odd_shape_is_no_answer(bench):
    driver, _, controllers = bench
    driver.state = lambda host: {}[host]
    assert controllers.told(["h1"]) == {}


def test_no_more_are_asked_in_one_round_than_there_are_threads(bench):
    driver, _, controllers = bench
    controllers.told([f"h{number}" for number in range(2 * HOSTS_MAX)])
    assert len(set(driver.asked)) == HOSTS_MAX

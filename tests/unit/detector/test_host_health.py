"""The state machine of a host's health, row by row, and what evidence comes to."""

from datetime import timedelta

import pytest

from restow.cloud.port import Heartbeat
from restow_detector.health import Evidence, Word, after_blindness, next_health, weigh, well
from restow_detector.memory import Health, HostHealth
from support.builders import NOON

PATIENCE, RETURNED = timedelta(seconds=30), timedelta(seconds=60)


def ago(seconds):
    return NOON - timedelta(seconds=seconds)


WELL = well(ago(900))
SUSPECT_ALONE = HostHealth(Health.SUSPECT, ago(40), first_evidence_at=ago(40))
SUSPECT_YOUNG = HostHealth(Health.SUSPECT, ago(29), agreed_since=ago(29), first_evidence_at=ago(29))
SUSPECT_RIPE = HostHealth(Health.SUSPECT, ago(40), agreed_since=ago(30), first_evidence_at=ago(40))
FAILED = HostHealth(Health.FAILED, ago(90), ago(120), ago(130), ago(90), incident="i1")
BACK_SHORT = HostHealth(Health.RETURNING, ago(59), ago(500), ago(510), ago(470), incident="i1")
BACK_LONG = HostHealth(Health.RETURNING, ago(60), ago(500), ago(510), ago(470), incident="i1")

TABLE = [
    (WELL, Word.DEAD, Health.SUSPECT, NOON),
    (WELL, Word.DOUBT, Health.SUSPECT, None),
    (WELL, Word.ALIVE, Health.HEALTHY, None),
    (WELL, Word.UNKNOWN, Health.HEALTHY, None),
    (SUSPECT_ALONE, Word.DEAD, Health.SUSPECT, NOON),
    (SUSPECT_ALONE, Word.DOUBT, Health.SUSPECT, None),
    (SUSPECT_ALONE, Word.UNKNOWN, Health.SUSPECT, None),
    (SUSPECT_ALONE, Word.ALIVE, Health.HEALTHY, None),
    (SUSPECT_YOUNG, Word.DEAD, Health.SUSPECT, ago(29)),
    (SUSPECT_YOUNG, Word.DOUBT, Health.SUSPECT, None),
    (SUSPECT_YOUNG, Word.UNKNOWN, Health.SUSPECT, None),
    (SUSPECT_YOUNG, Word.ALIVE, Health.HEALTHY, None),
    (SUSPECT_RIPE, Word.DEAD, Health.FAILED, ago(30)),
    (SUSPECT_RIPE, Word.DOUBT, Health.SUSPECT, None),
    (SUSPECT_RIPE, Word.UNKNOWN, Health.SUSPECT, None),
    (SUSPECT_RIPE, Word.ALIVE, Health.HEALTHY, None),
    (FAILED, Word.DEAD, Health.FAILED, ago(120)),
    (FAILED, Word.DOUBT, Health.FAILED, ago(120)),
    (FAILED, Word.UNKNOWN, Health.FAILED, ago(120)),
    (FAILED, Word.ALIVE, Health.RETURNING, ago(120)),
    (BACK_SHORT, Word.DEAD, Health.FAILED, ago(500)),
    (BACK_SHORT, Word.DOUBT, Health.FAILED, ago(500)),
    (BACK_SHORT, Word.UNKNOWN, Health.RETURNING, ago(500)),
    (BACK_SHORT, Word.ALIVE, Health.RETURNING, ago(500)),
    (BACK_LONG, Word.DEAD, Health.FAILED, ago(500)),
    (BACK_LONG, Word.DOUBT, Health.FAILED, ago(500)),
    (BACK_LONG, Word.UNKNOWN, Health.RETURNING, ago(500)),
    (BACK_LONG, Word.ALIVE, Health.HEALTHY, None),
]


@pytest.mark.parametrize(("known", "word", "health", "agreed_since"), TABLE)
def test_every_state_and_word_has_one_next_state(known, word, health, agreed_since):
    after = next_health(known, word, now=NOON, patience=PATIENCE, returned=RETURNED)
    assert (after.health, after.agreed_since) == (health, agreed_since)
    if health is Health.FAILED and known.health is not Health.SUSPECT:
        assert (after.incident, after.failed_at) == (known.incident, known.failed_at)  # the same failure
    if after.health is Health.FAILED and known.health is Health.SUSPECT:
        assert (after.incident, after.failed_at) == (None, NOON)  # a failure of which nobody knows yet


def test_the_table_has_every_pair_of_state_and_word():
    assert {(known.health, word) for known, word, _, _ in TABLE} == {(h, w) for h in Health for w in Word}


def test_a_returning_host_of_which_nothing_is_heard_waits_anew():
    after = next_health(BACK_LONG, Word.UNKNOWN, now=NOON, patience=PATIENCE, returned=RETURNED)
    assert after.since == NOON


def test_blind_time_counts_neither_against_nor_for_a_host():
    assert after_blindness(SUSPECT_RIPE, now=NOON).agreed_since is None
    assert after_blindness(BACK_LONG, now=NOON).since == NOON
    assert after_blindness(FAILED, now=NOON) is FAILED


@pytest.mark.parametrize(
    ("dead", "alive", "word"),
    [
        (("compute-service", "storage"), (), Word.DEAD),
        (("compute-service", "storage"), ("power",), Word.DEAD),  # power on is no sign of life
        (("compute-service",), ("management-network", "storage"), Word.DOUBT),  # the agent is down
        (("compute-service", "management-network", "tenant-network"), ("storage",), Word.DOUBT),  # network loss
        (("storage", "management-network", "compute-service"), ("tenant-network",), Word.DOUBT),
        (("compute-service", "management-network"), (), Word.DOUBT),  # one path, one witness
        (("signals",), (), Word.DOUBT),
        (("signals",), ("compute-service",), Word.DOUBT),
        (("signals", "storage"), (), Word.DEAD),
        (("power", "management-network"), (), Word.DEAD),
        ((), ("storage",), Word.ALIVE),
        ((), ("power",), Word.UNKNOWN),
        ((), (), Word.UNKNOWN),
    ],
)
def test_only_independent_witnesses_without_a_contradiction_make_a_host_dead(dead, alive, word):
    assert Evidence(dead, alive).word(quorum=2) is word


def test_a_higher_quorum_wants_more_witnesses():
    assert Evidence(("storage", "management-network")).word(quorum=3) is Word.DOUBT


def heard(source, *, alive, age_s, host="h1", **other):
    words = [Heartbeat(source, host, alive, ago(age_s))]
    return weigh(words, now=NOON, silent=timedelta(seconds=60), **other).get(host, Evidence())


def test_old_words_are_no_words():
    assert heard("storage", alive=False, age_s=61) == Evidence()
    assert heard("storage", alive=False, age_s=60).dead == ("storage",)
    assert heard("storage", alive=True, age_s=61) == Evidence()


def test_a_host_that_was_alive_before_it_was_suspected_may_still_have_died():
    assert heard("compute-service", alive=True, age_s=20, suspected_since={"h1": ago(15)}) == Evidence()
    assert heard("compute-service", alive=True, age_s=10, suspected_since={"h1": ago(15)}).alive == ("compute-service",)


def test_that_a_host_was_forced_down_is_no_evidence_of_its_death():
    assert heard("compute-service", alive=False, age_s=1, forced_down=frozenset({"h1"})) == Evidence()
    assert heard("storage", alive=False, age_s=1, forced_down=frozenset({"h1"})).dead == ("storage",)

"""A read of what has changed gives the same servers as a read of all, whatever happens in between and meanwhile."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from restow.cloud.openstack.roster import OVERLAP, Roster
from restow.cloud.openstack.settings import OpenStackSettings
from support.clocks import ManualClock
from support.openstack_documents import a_document

IDS = ("s1", "s2", "s3", "s4")
STATUSES = ("ACTIVE", "SHUTOFF", "SHELVED_OFFLOADED", "BUILD", "DELETED", "SOFT_DELETED")


class Nova:
    """Servers in pages of one, each of which takes `page_s`; `meanwhile` happens while a list is read."""

    def __init__(self, clock, *, ahead_s=0.0):
        self.clock = clock
        self.ahead_s = ahead_s  # its clock of ours
        self.page_s = 0.0
        self.documents = {}
        self.lists = []  # how many documents each list had
        self.meanwhile = []

    def change(self, id, status, host, behind_s=0.0):
        """`behind_s`: so far is the clock of the one who writes this record behind, or so long it takes to commit."""
        updated = self.clock.now() + timedelta(seconds=self.ahead_s - behind_s)
        at = None if status == "BUILD" else host
        self.documents[id] = a_document(
            id, status=status, updated=updated.strftime("%Y-%m-%dT%H:%M:%SZ"), **{"OS-EXT-SRV-ATTR:host": at}
        )

    def pages(self, path, key, **query):
        since = query.get("changes-since")
        self.lists.append(0)
        for name in sorted(self.documents):
            document = self.documents[name]
            wanted = document["updated"] >= since if since else document["status"] not in ("DELETED", "SOFT_DELETED")
            if not wanted:
                continue
            self.lists[-1] += 1
            yield document
            self.clock.forward(self.page_s)
            if self.meanwhile:
                self.change(*self.meanwhile.pop(0))


CHANGES = st.lists(
    st.tuples(st.sampled_from(IDS), st.sampled_from(STATUSES), st.sampled_from(("h1", "h2")), st.floats(0, 60)),
    max_size=4,
)


ROUNDS = st.tuples(CHANGES, CHANGES, st.sampled_from((0.0, 200.0)), st.sampled_from((1.0, 400.0)))
LATE = [([("s2", "ACTIVE", "h2", 0.0)], [], 0.0, 1.0), ([("s1", "ACTIVE", "h2", 50.0)], [], 0.0, 1.0)]
READ_ALREADY = [([], [("s1", "ACTIVE", "h2", 50.0), ("s4", "ACTIVE", "h1", 0.0)], 200.0, 1.0)]


@given(st.lists(ROUNDS, min_size=1, max_size=6), st.sampled_from((-3600.0, 0.0, 3600.0)))
@example(LATE, 0.0)
@example(READ_ALREADY, -3600.0)
def test_after_any_changes_the_servers_are_those_of_a_whole_read(rounds, ahead_s):
    clock = ManualClock()
    nova = Nova(clock, ahead_s=ahead_s)
    for number, name in enumerate(IDS):
        nova.change(name, "ACTIVE", f"h{number % 2 + 1}")
    kept = Roster(nova, OpenStackSettings(whole_read_s=86_400), clock)
    for before, meanwhile, page_s, pause_s in rounds:
        for change in before:
            nova.change(*change)
        nova.meanwhile, nova.page_s = list(meanwhile), page_s
        kept.read()
        nova.meanwhile, nova.page_s = [], 0.0
        clock.forward(pause_s)
        assert kept.read() == Roster(nova, OpenStackSettings(), clock).read()


def test_what_did_not_change_is_not_asked_for_again_until_a_whole_read_is_due():
    clock = ManualClock()
    nova = Nova(clock)
    for name in IDS:
        nova.change(name, "ACTIVE", "h1")
    clock.forward(2 * OVERLAP.total_seconds())
    nova.change("s1", "ACTIVE", "h2")
    roster = Roster(nova, OpenStackSettings(whole_read_s=600), clock)
    for _ in range(3):
        roster.read()
    clock.forward(600)
    assert roster.read()["s1"].server.host == "h2"
    assert nova.lists == [4, 1, 1, 4]


def test_one_clock_of_nova_that_runs_ahead_hides_no_change():
    clock = ManualClock()
    nova = Nova(clock)
    nova.change("s1", "ACTIVE", "h1", -3600.0)
    nova.change("s2", "ACTIVE", "h1")
    roster = Roster(nova, OpenStackSettings(whole_read_s=86_400), clock)
    roster.read()
    clock.forward(300)
    nova.change("s2", "ACTIVE", "h2")
    assert roster.read()["s2"].server.host == "h2"
    assert datetime.fromisoformat(nova.documents["s1"]["updated"]).astimezone(UTC) > clock.now()

"""A read of what has changed gives the same servers as a read of all, whatever happens in between and meanwhile."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from restow.cloud.openstack.roster import OVERLAP, Roster
from restow.cloud.openstack.settings import OpenStackSettings
from support.clocks import ManualClock
from support.openstack_documents import a_document, a_flavor

IDS = ("s1", "s2", "s3", "s4")
STATUSES = ("ACTIVE", "SHUTOFF", "SHELVED_OFFLOADED", "BUILD", "DELETED", "SOFT_DELETED", "VERIFY_RESIZE", "ERROR")
HOST, TASK, POWER = "OS-EXT-SRV-ATTR:host", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state"


class Nova:
    """Servers in pages of one, each of which takes `page_s`; `meanwhile` happens while a list is read."""

    def __init__(self, clock, *, ahead_s=0.0):
        self.clock = clock
        self.ahead_s = ahead_s  # its clock of ours
        self.page_s = 0.0
        self.documents = {}
        self.lists = []  # how many documents each list had
        self.meanwhile = []

    def change(self, id, behind_s=0.0, **changes):
        """`behind_s`: so far is the clock of the one who writes this record behind, or so long it takes to commit."""
        updated = self.clock.now() + timedelta(seconds=self.ahead_s - behind_s)
        document = self.documents.get(id, a_document(id)) | changes
        if document["status"] == "BUILD":
            document[HOST] = None
        self.documents[id] = document | {"updated": updated.strftime("%Y-%m-%dT%H:%M:%SZ")}

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
                whom, behind_s, changes = self.meanwhile.pop(0)
                self.change(whom, behind_s, **changes)


def a_read(roster):
    roll = roster.read()
    roster.keep(roll)
    return roll.entries


# What Nova writes anew in a server's record, and dates. That a key of its metadata is taken away, it does not date.
WHAT = st.one_of(
    st.fixed_dictionaries({"status": st.sampled_from(STATUSES), HOST: st.sampled_from(("h1", "h2"))}),
    st.fixed_dictionaries({"metadata": st.dictionaries(st.sampled_from(("a", "restow_priority")), st.just("7"))}),
    st.fixed_dictionaries({"locked": st.booleans()}),
    st.fixed_dictionaries({TASK: st.sampled_from((None, "migrating", "deleting"))}),
    st.fixed_dictionaries({POWER: st.sampled_from((1, 4))}),
    st.fixed_dictionaries({
        "flavor": st.sampled_from(({}, {"vcpus": 8}, {"disk": 0}, {"extra_specs": {"trait:X": "required"}}))
        .map(lambda changes: a_flavor(**changes))
    }),
    st.fixed_dictionaries({
        "image": st.sampled_from(("", {"id": "i2", "properties": {"ssd": "true"}}, {"id": "i3", "properties": {}}))
    }),
    st.fixed_dictionaries({"pinned_availability_zone": st.sampled_from((None, "az2"))}),
    st.fixed_dictionaries({"name": st.sampled_from(("one", "two"))}),
)  # fmt: skip
CHANGES = st.lists(st.tuples(st.sampled_from(IDS), st.floats(0, 60), WHAT), max_size=4)
ROUNDS = st.tuples(CHANGES, CHANGES, st.sampled_from((0.0, 200.0)), st.sampled_from((1.0, 400.0)))


def moved(id, host, behind_s):
    return (id, behind_s, {"status": "ACTIVE", HOST: host})


LATE = [([moved("s2", "h2", 0.0)], [], 0.0, 1.0), ([moved("s1", "h2", 50.0)], [], 0.0, 1.0)]
READ_ALREADY = [([], [moved("s1", "h2", 50.0), moved("s4", "h1", 0.0)], 200.0, 1.0)]


@given(st.lists(ROUNDS, min_size=1, max_size=6), st.sampled_from((-3600.0, 0.0, 3600.0)))
@example(LATE, 0.0)
@example(READ_ALREADY, -3600.0)
def test_after_any_changes_the_servers_are_those_of_a_whole_read(rounds, ahead_s):
    clock = ManualClock()
    nova = Nova(clock, ahead_s=ahead_s)
    for number, name in enumerate(IDS):
        nova.change(name, **{HOST: f"h{number % 2 + 1}"})
    kept = Roster(nova, OpenStackSettings(whole_read_s=86_400), clock)
    for before, meanwhile, page_s, pause_s in rounds:
        for name, behind_s, changes in before:
            nova.change(name, behind_s, **changes)
        nova.meanwhile, nova.page_s = list(meanwhile), page_s
        a_read(kept)
        nova.meanwhile, nova.page_s = [], 0.0
        clock.forward(pause_s)
        assert a_read(kept) == Roster(nova, OpenStackSettings(), clock).read().entries


def test_what_nova_does_not_date_shows_in_the_next_whole_read():
    clock = ManualClock()
    nova = Nova(clock)
    nova.change("s1", metadata={"restow_priority": "7"})
    roster = Roster(nova, OpenStackSettings(whole_read_s=600), clock)
    assert a_read(roster)["s1"].server.priority == 7
    clock.forward(2 * OVERLAP.total_seconds())
    nova.change("s2")
    a_read(roster)
    nova.documents["s1"] |= {"metadata": {}}  # as DELETE /servers/s1/metadata/restow_priority does
    assert a_read(roster)["s1"].server.priority == 7
    clock.forward(600 - 2 * OVERLAP.total_seconds())
    assert a_read(roster)["s1"].server.priority == 0


def test_a_read_that_is_not_kept_is_not_gone_on_from():
    clock = ManualClock()
    nova = Nova(clock)
    for name in IDS:
        nova.change(name)
    roster = Roster(nova, OpenStackSettings(whole_read_s=86_400), clock)
    a_read(roster)
    away, nova.documents = nova.documents, {"s1": nova.documents["s1"]}  # the cell of the others does not answer
    clock.forward(3600)
    nova.change("s1", **{HOST: "h2"})
    roster.read()
    nova.documents = away
    nova.change("s2", 1800.0, **{HOST: "h2"})  # changed meanwhile
    assert a_read(roster)["s2"].server.host == "h2"


def test_what_did_not_change_is_not_asked_for_again_until_a_whole_read_is_due():
    clock = ManualClock()
    nova = Nova(clock)
    for name in IDS:
        nova.change(name)
    clock.forward(2 * OVERLAP.total_seconds())
    nova.change("s1", **{HOST: "h2"})
    roster = Roster(nova, OpenStackSettings(whole_read_s=600), clock)
    for _ in range(3):
        a_read(roster)
    clock.forward(600)
    assert a_read(roster)["s1"].server.host == "h2"
    assert nova.lists == [4, 1, 1, 4]


def test_one_clock_of_nova_that_runs_ahead_hides_no_change():
    clock = ManualClock()
    nova = Nova(clock)
    nova.change("s1", -3600.0)
    nova.change("s2")
    roster = Roster(nova, OpenStackSettings(whole_read_s=86_400), clock)
    a_read(roster)
    clock.forward(300)
    nova.change("s2", **{HOST: "h2"})
    assert a_read(roster)["s2"].server.host == "h2"
    assert datetime.fromisoformat(nova.documents["s1"]["updated"]).astimezone(UTC) > clock.now()

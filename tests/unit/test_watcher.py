"""The watcher of the lab sees each rule that it looks for, and nothing where all is well."""

from dataclasses import replace

import pytest

from support.watcher import Look, seen_broken

OFF = frozenset({"c1"})


def server(name, host, status="ACTIVE"):
    return {"name": name, "status": status, "OS-EXT-SRV-ATTR:host": host}


def moving(server, target, *, number=1, status="running"):
    return {
        "id": number, "instance_uuid": server, "dest_compute": target, "status": status,
        "migration_type": "live-migration",
    }  # fmt: skip


WELL = Look(
    servers={"a": server("a", "c1"), "b": server("b", "c2")},
    groups=({"name": "apart", "policy": "anti-affinity", "members": ["a", "b"]},),
    migrations=(moving("a", "c3"),),
    closed=frozenset({"c4"}),
    running={"c1": frozenset({"a"}), "c2": frozenset({"b"}), "c3": frozenset(), "c4": frozenset()},
    used={"c1": {"VCPU": 4}, "c2": {"VCPU": 4}},
    capacity={"c1": {"VCPU": 4}, "c2": {"VCPU": 8}},
)
TWICE = {**WELL.running, "c3": frozenset({"a"})}


def test_nothing_is_seen_where_all_is_well():
    assert list(seen_broken(WELL, WELL)) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"servers": {**WELL.servers, "b": server("b", "c2", "ERROR")}}, "b is in ERROR"),
        ({"servers": {**WELL.servers, "b": server("b", "c1")}}, "group apart is together: {'c1': 2}"),
        ({"migrations": (moving("a", "c2"),)}, "group apart is together: {'c2': 2}"),
        ({"used": {"c1": {"VCPU": 5}}}, "c1 has VCPU 5 of 4"),
        ({"used": {"c1": {"PCPU": 1}}}, "c1 has PCPU 1 of 0"),
    ],
)  # fmt: skip
def test_what_is_broken_now_is_seen(changed, said):
    assert list(seen_broken(WELL, replace(WELL, **changed))) == [said]


def test_a_move_to_a_host_that_was_closed_and_is_still_closed_is_seen():
    new = replace(WELL, migrations=(*WELL.migrations, moving("b", "c4", number=2)))
    assert list(seen_broken(WELL, new)) == ["a live-migration goes to c4, which is closed"]
    assert list(seen_broken(new, new)) == []  # one that was under way before
    assert list(seen_broken(replace(WELL, closed=frozenset()), new)) == []  # closed only now
    assert list(seen_broken(WELL, replace(new, closed=frozenset()))) == []  # opened in between


def test_a_server_that_runs_on_two_machines_is_seen_unless_it_moves_or_one_was_off():
    still = replace(WELL, migrations=())
    twice = replace(still, running=TWICE)
    assert list(seen_broken(twice, twice)) == ["a runs twice: ['c1', 'c3']"]
    assert list(seen_broken(still, twice)) == []  # one look alone: the files are not read at one moment
    assert list(seen_broken(replace(WELL, running=TWICE), twice)) == []  # it moved a moment ago
    assert list(seen_broken(twice, twice, were_off=OFF)) == []  # a machine that was off started no guest

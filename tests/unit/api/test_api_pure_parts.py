import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from restow.cloud.changes import changed
from restow.cloud.model import HostState
from restow.errors import BadInputError
from restow.messages.request import Changes, parse_request
from restow_api.checking import check_request
from restow_api.paging import cursor_of, page_in_memory, read_cursor
from restow_api.routes.signals import host_of_labels
from restow_api.settings import ApiSettings
from support.builders import a_cloud, a_host, a_server

CLOUD = a_cloud(
    [a_host("host-1"), a_host("host-2.lab.example"), a_host("host-3", state=HostState.DOWN)],
    [a_server("s1", on="host-1", name="web")],
)

WRONG = [
    ({"goal": "evacuate", "hosts": ["hots-1"]}, "hosts.0", "host-1"),
    ({"goal": "recover", "hosts": ["host-3", "nobody"]}, "hosts.1", "name of a host"),
    ({"goal": "recover", "hosts": ["host-3", "host-1"]}, "hosts.1", "this one is up; evacuate"),
    ({"goal": "reach", "targets": {"s9": "host-1"}}, "targets.s9", "s1"),
    ({"goal": "reach", "targets": {"web": "host-1"}}, "targets.web", "the server called web has the id s1"),
    ({"goal": "reach", "targets": {"s1": "host-9"}}, "targets.s1", "host-1"),
    ({"goal": "rebalance", "resources": ["cpu"]}, "resources.0", "cpu_cores"),
    ({"goal": "rebalance", "pin": ["s7"]}, "pin.0", "s1"),
    ({"goal": "consolidate", "exclude_hosts": ["x"]}, "exclude_hosts.0", "host-1"),
    ({"goal": "consolidate", "avoid": [{"server": "s1", "host": "x"}]}, "avoid.0.host", "host-1"),
    ({"goal": "defragment", "shape": {"cpu": 4}}, "shape.cpu", "vcpu"),
    ({"goal": "defragment", "shape": {"vcpu": -4}}, "shape.vcpu", "above 0"),
    ({"goal": "defragment", "shape": {"vcpu": 4, "memory_mib": 0}}, "shape.memory_mib", "above 0"),
    ({"goal": "then", "goals": [{"goal": "evacuate", "hosts": ["x"]}]}, "goals.0.hosts.0", "host-1"),
    ({"goal": "then", "goals": [{"goal": "rebalance", "domain": "other"}]}, "goals.0.domain", "region-one"),
]


@pytest.mark.parametrize(("document", "field", "expected"), WRONG)
def test_a_name_that_the_cloud_does_not_know_is_told_with_the_closest(document, field: str, expected: str):
    with pytest.raises(BadInputError) as caught:
        check_request(parse_request(document), CLOUD)
    (error,) = caught.value.errors
    assert error.field == field
    assert expected in error.expected


def test_a_host_that_an_incident_calls_failed_is_recovered_though_the_cloud_still_calls_it_up():
    check_request(parse_request({"goal": "recover", "hosts": ["host-1"]}), CLOUD, failed=frozenset({"host-1"}))


def test_what_the_cloud_knows_passes():
    check_request(parse_request({"goal": "reach", "targets": {"s1": None}, "pin": []}), CLOUD)
    check_request(parse_request({"goal": "rebalance", "resources": ["cpu_cores", "vcpu"]}), CLOUD)


def test_a_request_of_a_what_if_is_held_against_the_changed_cloud():
    added = {"name": "new", "capacity": {"vcpu": 1, "memory_mib": 1}}
    request = parse_request({"goal": "evacuate", "hosts": ["new"]})
    check_request(request, changed(CLOUD, Changes(add_hosts=(added,))), prefix="request.")
    with pytest.raises(BadInputError, match=r"request\.hosts\.0"):
        check_request(request, CLOUD, prefix="request.")


@given(st.lists(st.text(max_size=5), unique=True, max_size=40), st.integers(1, 7))
def test_pages_together_are_the_whole_in_order(names: list[str], limit: int):
    names = [name for name in names if "\x00" not in name]
    found, cursor = [], None
    for _ in range(len(names) + 1):
        page = page_in_memory(names, kind="k", key=lambda name: (name, ""), after=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert found == sorted(names)


def test_a_page_goes_on_where_the_last_ended_while_items_come_and_go():
    def page(names, after):
        return page_in_memory(names, kind="k", key=lambda name: (name, ""), after=after, limit=2)

    first = page(["a", "b", "c", "d"], None)
    assert page(["a", "aa", "c", "d"], first.next).items == ("c", "d")


@given(st.text(max_size=60))
def test_no_text_that_is_not_a_cursor_gets_through(text: str):
    with pytest.raises(BadInputError):
        read_cursor(text, "k", int)


@pytest.mark.parametrize(
    "cursor", [cursor_of("other", 1), cursor_of("k", "1"), cursor_of("k"), cursor_of("k", 1 << 70)]
)
def test_a_cursor_of_something_else_is_refused(cursor: str):
    with pytest.raises(BadInputError):
        read_cursor(cursor, "k", int)


@pytest.mark.parametrize(
    ("labels", "host"),
    [
        ({"host": "host-1"}, "host-1"),
        ({"hypervisor": "host-1"}, "host-1"),
        ({"instance": "host-1:9100"}, "host-1"),
        ({"instance": "host-2:9100"}, "host-2.lab.example"),
        ({"hostname": "host-1.other.example"}, "host-1"),
        ({"instance": "[fe80::1]:9100"}, None),
        ({"host": "who", "instance": "host-1:9100"}, "host-1"),
        ({}, None),
    ],
)
def test_the_host_of_an_alert_is_found_in_its_labels(labels, host: str | None):
    assert host_of_labels(labels, (CLOUD,))[1] == host


def test_a_wrong_setting_is_named_by_its_variable():
    with pytest.raises(BadInputError, match="RESTOW_EVENT_STREAMS_MAX"):
        ApiSettings.from_environment({"RESTOW_EVENT_STREAMS_MAX": "many"})
    with pytest.raises(ValidationError):
        ApiSettings().second_pair_of_eyes = True

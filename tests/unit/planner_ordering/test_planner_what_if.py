"""What if: a plan on a changed cloud, and beside it the plan without the changes, within one time limit."""

from typing import Any

import pytest

from restow.cloud.model import Cloud
from restow.errors import BadInputError
from restow.messages.plan import Plan
from restow.messages.request import Changes, parse_request
from restow_planner import deadline, what_if
from restow_planner.plan import plan_for
from restow_planner.what_if import plan_if
from support.builders import a_cloud, a_host, a_server

FULL = a_cloud(
    [a_host("h1", vcpu=8), a_host("h2", vcpu=8)],
    [a_server("a", name="n-a", on="h1", vcpu=4), a_server("b", on="h1", vcpu=4), a_server("c", on="h2", vcpu=4)],
)
EMPTY_H1 = {"goal": "evacuate", "hosts": ["h1"]}


def asked(cloud: Cloud, changes: dict[str, Any], **request: Any) -> Plan:
    return plan_if(cloud, Changes(**changes), parse_request(request or EMPTY_H1), plan_id="p")


def test_the_plan_without_the_changes_stands_beside_with_its_numbers() -> None:
    plan = asked(FULL, {"add_hosts": ({"name": "new", "capacity": {"vcpu": 8, "memory_mib": 32_768}},)})
    beside, difference = plan.metadata["beside"], plan.metadata["difference"]
    assert (beside["outcome"], plan.outcome) == ("plan", "plan")
    assert beside["why"] == "1 of 2 servers find a place: proven, no plan serves more"
    assert (beside["numbers"]["moves"], difference["with"]["moves"], difference["numbers"]["moves"]) == (1, 2, 1)
    assert difference["numbers"]["moved_mib"] == 1024
    assert difference["numbers"]["makespan_s"] == difference["with"]["makespan_s"] - beside["numbers"]["makespan_s"]
    assert {"hosts_used", "peak_vcpu", "blockers"} <= difference["numbers"].keys()
    assert [one for one in difference["blockers_gone"] if "no host has room for" in one]
    assert difference["blockers_new"] == []


def test_servers_that_end_elsewhere_are_told_with_both_ends() -> None:
    plan = asked(FULL, {"grow": ({"servers": ("c",), "factor": {"vcpu": 2.0}},)}, goal="reach", targets={"a": "h2"})
    assert plan.outcome == "impossible"
    difference = plan.metadata["difference"]
    assert difference["servers"] == [{"server": "a", "name": "n-a", "without": "h2", "with": "h1"}]
    assert difference["servers_differ"] == 1
    assert len(difference["blockers_new"]) == 1


def test_the_changed_plan_itself_is_the_one_that_would_be_made_on_its_own() -> None:
    changes = Changes(copy_hosts=({"like": "h2", "count": 1},))  # type: ignore[arg-type]
    both = plan_if(FULL, changes, parse_request(EMPTY_H1), plan_id="p")
    alone = plan_for(what_if.changed(FULL, changes), parse_request(EMPTY_H1), plan_id="p")
    assert both.model_copy(update={"metadata": {}}) == alone.model_copy(update={"metadata": {}})


def test_what_only_the_changed_cloud_can_be_asked_is_answered_without_a_plan_beside() -> None:
    plan = asked(FULL, {"copy_hosts": ({"like": "h2"},)}, goal="reach", targets={"a": "h2-copy-1"})
    assert plan.outcome == "plan"
    assert plan.metadata["beside"]["outcome"] is None
    assert "h2-copy-1" in plan.metadata["beside"]["why"]
    assert plan.metadata["difference"] is None


def test_what_neither_cloud_can_be_asked_is_refused() -> None:
    with pytest.raises(BadInputError, match="h77"):
        asked(FULL, {"head_room": 0.1}, goal="evacuate", hosts=["h77"])


def test_one_time_limit_covers_both_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    time, granted = [0.0], []
    monkeypatch.setattr(deadline.time, "monotonic", lambda: time[0])

    def slow(cloud: Cloud, request: Any, *, plan_id: str, seconds: float) -> Plan:
        granted.append(seconds)
        made = plan_for(cloud, request, plan_id=plan_id, seconds=seconds)
        time[0] += 3.5
        return made

    monkeypatch.setattr(what_if, "plan_for", slow)
    asked(FULL, {"head_room": 0.1}, **EMPTY_H1, limits={"time_limit_s": 8.0})
    assert granted == [4.0, 4.5]

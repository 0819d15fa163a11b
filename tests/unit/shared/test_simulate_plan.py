"""`restow simulate plan`: what happens is told step by step; the exit code says whether the plan came to its end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from restow.cloud.model import Cloud, HostState
from restow.cloud.snapshot import dump_cloud
from restow.commands.main import run
from restow.messages.plan import Plan
from restow.messages.request import parse_request
from restow.simulation.play import play_plan
from restow_planner.plan import plan_for
from support.builders import a_cloud, a_host, a_server

CLOUD = a_cloud(
    [a_host("h1"), a_host("h2"), a_host("h3")], [a_server("a", on="h1"), a_server("b", on="h1"), a_server("c", on="h2")]
)
DEAD = replace(CLOUD, hosts=(replace(CLOUD.hosts[0], state=HostState.DOWN), *CLOUD.hosts[1:]))


def planned(cloud: Cloud, **request: Any) -> Plan:
    return plan_for(cloud, parse_request(request), plan_id="p")


def test_a_plan_is_carried_out_and_every_step_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cloud.json").write_bytes(dump_cloud(CLOUD))
    plan = planned(CLOUD, goal="evacuate", hosts=["h1"])
    (tmp_path / "plan.json").write_text(json.dumps(plan.dump()))
    assert run(["simulate", "plan", str(tmp_path / "cloud.json"), str(tmp_path / "plan.json")]) == 0
    told = capsys.readouterr().out
    for server in ("a", "b"):
        assert f"step finished: live-migrate {server} h1 → " in told
    assert told.count("held  ") == 3
    assert told.splitlines()[-1].startswith("finished after ")


def test_a_dead_host_is_fenced_before_its_servers_run_elsewhere() -> None:
    told: list[str] = []
    played = play_plan(DEAD, planned(DEAD, goal="recover", hosts=["h1"]), seed=1, tell=told.append)
    assert played.well
    fence = next(index for index, line in enumerate(told) if "step finished: fence h1" in line)
    assert all(index > fence for index, line in enumerate(told) if "step started: evacuate" in line)


def test_a_plan_that_the_world_does_not_bear_out_ends_badly_and_says_why() -> None:
    played = play_plan(CLOUD, planned(DEAD, goal="recover", hosts=["h1"]), seed=1, tell=lambda _: None)
    assert (played.well, played.state) == (False, "stale")
    assert "h1 lives" in played.why


def test_the_same_plan_is_played_the_same() -> None:
    plan = planned(CLOUD, goal="evacuate", hosts=["h1"])
    first, second = list[str](), list[str]()
    for told in (first, second):
        play_plan(CLOUD, plan, seed=7, tell=told.append)
    assert first == second


@pytest.mark.parametrize(("hosts", "code"), [(["h3"], 0), (["h1", "h2", "h3"], 1)])
def test_a_plan_without_steps_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hosts: list[str], code: int
) -> None:
    (tmp_path / "cloud.json").write_bytes(dump_cloud(CLOUD))
    (tmp_path / "plan.json").write_text(json.dumps(planned(CLOUD, goal="evacuate", hosts=hosts).dump()))
    assert run(["simulate", "plan", str(tmp_path / "cloud.json"), str(tmp_path / "plan.json")]) == code
    assert "no steps" in capsys.readouterr().out
    assert run(["simulate", "plan", str(tmp_path / "nowhere"), str(tmp_path / "plan.json")]) == 2

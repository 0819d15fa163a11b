"""The 13 published cases of ordering with known optima; read from RESTOW_BENCH."""

import json
import os
from pathlib import Path

import pytest

from bench.families import migrationpaths
from restow.cloud.snapshot import read_cloud
from restow.messages.plan import Outcome
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.referee import check, replay_random

ROOT = Path(__file__).resolve().parents[3]
BENCH = Path(os.environ.get("RESTOW_BENCH", ROOT.parent / "shared" / "bench"))
FILE = BENCH / "migrationpaths" / "cases.json"
CASES = migrationpaths.cases(BENCH / "migrationpaths") if FILE.exists() else []


@pytest.mark.skipif(not CASES, reason="no published cases: set RESTOW_BENCH to the folder that has migrationpaths/")
@pytest.mark.parametrize("name", [case["name"] for case in CASES])
def test_the_least_memory_is_moved_or_impossibility_is_proven(name: str) -> None:
    case = next(case for case in CASES if case["name"] == name)
    cloud = read_cloud(json.dumps(case["cloud"]).encode())
    plan = plan_for(cloud, parse_request(case["request"]), plan_id="p")
    if not case["exact"]["solvable"]:
        assert plan.outcome is Outcome.IMPOSSIBLE
        assert {one.server for one in plan.blockers} == set(case["request"]["targets"])
        return
    assert plan.outcome is Outcome.PLAN
    assert plan.moved_mib <= case["exact"]["min_ram_moved_mb"]
    assert check(cloud, plan) == ()
    assert [replay_random(cloud, plan, seed) for seed in range(50)] == [()] * 50

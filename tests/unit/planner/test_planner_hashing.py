"""Python orders the members of a set anew in each process: no answer may follow that order."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
SAID = """
from random import Random
from bench.truth import GOALS, a_cloud_to_judge, asked
from restow.messages.request import parse_request
from restow_planner.plan import plan_for
from restow_planner.rules import all_violations
from support.strategies import random_legal_cloud

for seed in range(60):
    cloud, random = random_legal_cloud(seed), Random(seed)
    moved = {one.id: (random.choice(cloud.hosts).name,) for one in cloud.servers[:5]}
    print(seed, all_violations(cloud, {one.id: (str(one.host),) for one in cloud.servers} | moved))
for seed in range(10):
    for goal in GOALS:
        cloud, body = asked(goal, a_cloud_to_judge(seed), seed)
        plan = plan_for(cloud, parse_request({**body, "limits": {"time_limit_s": 60}}), plan_id="p")
        print(seed, goal, plan.model_copy(update={"solve_s": 0.0}).model_dump_json())
"""


def test_processes_that_hash_differently_say_the_same():
    said = [
        subprocess.run(
            [sys.executable, "-c", SAID], check=True, capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(TESTS)},
        ).stdout
        for hashing in ("1", "2")
    ]  # fmt: skip
    assert said[0].count("\n") == 130
    assert said[0] == said[1]

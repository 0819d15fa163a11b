"""CPU seconds of planning alone, as Watcher's strategies are measured: alone.py SNAPSHOT GOAL.

What Python imports, and reading the file, do not count; a small question beforehand has everything imported.
"""

import gc
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.busy import busy_cloud
from restow.cloud.snapshot import read_cloud
from restow.messages.request import parse_request
from restow_planner.plan import plan_for


def main() -> None:
    body = Path(sys.argv[1]).read_bytes()
    asked = parse_request(json.dumps({"format": "restow.request/1", "goal": sys.argv[2]}).encode())
    plan_for(busy_cloud(hosts=8, servers=60, seed=1), asked, plan_id="warm")
    cloud = read_cloud(body)
    gc.freeze()  # as `restow solve` does: to look for garbage in the cloud is no planning
    began = time.process_time()
    plan_for(cloud, asked, plan_id="measured")
    print(time.process_time() - began)


main()

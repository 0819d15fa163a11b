"""Run a service of Nova with the RPC patch of the lab: service.py conductor ARGS…"""

import importlib
import sys

module = importlib.import_module(f"nova.cmd.{sys.argv[1]}")

import lab_rpc  # noqa: E402  (after Nova's own patches)

lab_rpc.apply()
sys.argv[:2] = [f"nova-{sys.argv[1]}"]
module.main()

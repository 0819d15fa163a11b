"""One strategy of OpenStack Watcher on a `restow.cloud/1` file; what it would do, as JSON.

Runs in Watcher's own environment. A strategy asks for a compute model, a source of metrics and its parameters;
there is no database, no bus, no cloud.
"""

import json
import logging
import os
import random
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")
os.environ["OS_WATCHER_DISABLE_EVENTLET_PATCHING"] = "true"

from watcher.common import oslo_service_helper  # noqa: E402

oslo_service_helper.init_oslo_service_backend()

from watcher import conf  # noqa: E402
from watcher.common import utils  # noqa: E402

conf.CONF([], project="watcher", default_config_files=[])

from watcher.decision_engine.model import element, model_root  # noqa: E402
from watcher.decision_engine.strategy import strategies  # noqa: E402

warnings.simplefilter("ignore")  # again: what was imported sets filters of its own

STRATEGIES = {
    "consolidation": (strategies.VMWorkloadConsolidation, {}),
    "stabilisation": (
        strategies.WorkloadStabilization,
        {"thresholds": {"instance_cpu_usage": 0.02, "instance_ram_usage": 0.1}},  # else it sees nothing to do
    ),
}
UNMEASURED_SHARE = 0.2
"""Of its claim, for a server whose load nobody knows."""
AMPLE_GIB = 10**6


def model_of(cloud: dict[str, Any]) -> model_root.ModelRoot:
    model, nodes = model_root.ModelRoot(), {}
    for number, host in enumerate(cloud["hosts"]):
        nodes[host["name"]] = _node(number, host)
        model.add_node(nodes[host["name"]])
    for server in cloud["servers"]:
        if server.get("host") is not None:
            instance = _instance(server)
            model.add_instance(instance)
            model.map_instance(instance, nodes[server["host"]])
    return model


def _node(number: int, host: dict[str, Any]) -> element.ComputeNode:
    capacity = host["capacity"]
    cores = host.get("physical", {}).get("cpu_cores") or capacity["vcpu"]
    takes = host.get("enabled", True) and not host.get("maintenance")
    disk = capacity.get("disk_gib", AMPLE_GIB)
    return element.ComputeNode(
        uuid=host["name"], hostname=host["name"], id=number, state=host.get("state", "up"),
        status="enabled" if takes else "disabled", disabled_reason=None,
        memory=capacity["memory_mib"], memory_mb_reserved=0, memory_ratio=1.0,
        disk=disk, disk_capacity=disk, disk_gb_reserved=0, disk_ratio=1.0,
        vcpus=cores, vcpu_reserved=0, vcpu_ratio=capacity["vcpu"] / cores,
    )  # fmt: skip


def _instance(server: dict[str, Any]) -> element.Instance:
    demand = server["demand"]
    return element.Instance(
        uuid=server["id"], name=server["id"], hostname=server["id"], host=server["host"],
        hypervisor_hostname=server["host"], state=server.get("state", "active"), metadata={},
        memory=demand["memory_mib"], disk=demand.get("disk_gib", 0), vcpus=demand["vcpu"],
        project_id=str(uuid.uuid5(uuid.NAMESPACE_OID, server.get("project", ""))),
        locked=bool(server.get("locked")), watcher_exclude=server.get("move") == "none",
    )  # fmt: skip


class Metrics:
    """What Watcher asks its source of metrics for: per cent of vcpus and of cores, MB of servers, KB of hosts."""

    NAME = "snapshot"

    def __init__(self, cloud: dict[str, Any], model: model_root.ModelRoot) -> None:
        self.cpu, self.ram, self.host_cpu, self.host_ram = {}, {}, {}, {}
        for server in cloud["servers"]:
            load, demand = server.get("load", {}), server["demand"]
            cores = load.get("cpu_cores", demand["vcpu"] * UNMEASURED_SHARE)
            self.cpu[server["id"]] = min(100.0, 100.0 * cores / demand["vcpu"])
            self.ram[server["id"]] = load.get("memory_mib", demand["memory_mib"] * UNMEASURED_SHARE)
        for node in model.get_all_compute_nodes().values():
            here = model.get_node_instances(node)
            self.host_cpu[node.uuid] = min(100.0, sum(self.cpu[one.uuid] * one.vcpus for one in here) / node.vcpus)
            self.host_ram[node.uuid] = sum(self.ram[one.uuid] for one in here) * 1024

    def get_instance_cpu_usage(self, resource, *args, **kwargs):
        return self.cpu[resource.uuid]

    def get_instance_ram_usage(self, resource, *args, **kwargs):
        return self.ram[resource.uuid]

    def get_instance_root_disk_size(self, resource, *args, **kwargs):
        return resource.disk

    def get_host_cpu_usage(self, resource, *args, **kwargs):
        return self.host_cpu[resource.uuid]

    def get_host_ram_usage(self, resource, *args, **kwargs):
        return self.host_ram[resource.uuid]

    def statistic_aggregation(self, resource=None, resource_type=None, meter_name=None, *args, **kwargs):
        return getattr(self, f"get_{meter_name}")(resource)


def moves(name: str, cloud: dict[str, Any]) -> tuple[float, list[tuple[str, str]]]:
    """CPU seconds of the strategy alone; servers with the hosts that they go to, in its order."""
    kind, given = STRATEGIES[name]
    config, parameters = utils.Struct(), utils.Struct()
    config.update({"datasources": None, "check_optimize_metadata": False})
    for key, field in kind.get_schema().get("properties", {}).items():
        if "default" in field:
            parameters[key] = field["default"]
    parameters.update(given)
    strategy = kind(config=config, osc=object())
    strategy._compute_model = model_of(cloud)
    strategy._datasource_backend = Metrics(cloud, strategy._compute_model)
    strategy.input_parameters = parameters
    random.seed(0)
    began = time.process_time()
    actions = strategy.execute().actions
    cpu_s = time.process_time() - began
    found = [one["input_parameters"] for one in actions if one["action_type"] == "migrate"]
    return cpu_s, [(one["resource_id"], one["destination_node"]) for one in found]


if __name__ == "__main__":
    taken, made = moves(sys.argv[1], json.loads(Path(sys.argv[2]).read_bytes()))
    print(json.dumps({"cpu_s": taken, "moves": made}))

"""The VMR2L snapshot of a production cluster (VM rescheduling, EuroSys 2025) as restow.cloud/1.

Claims are taken at the level of the host (both NUMA nodes together): 88 cores and 368,776 MiB each.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cases import Question
from bench.reading import served


def instances(folder: Path) -> Iterator[Question]:
    document = convert(folder / "medium.json.gz")
    cloud = json.dumps(document).encode()
    used: Counter[str] = Counter({host["name"]: 0 for host in document["hosts"]})
    for server in document["servers"]:
        used[server["host"]] += server["demand"]["vcpu"]
    ten = [name for name, _ in sorted(used.items(), key=lambda item: item[1])[:10]]
    failed = document["hosts"][100]["name"]
    for host in document["hosts"]:
        host["state"] = "down" if host["name"] == failed else "up"
    down = json.dumps(document).encode()
    yield Question("medium recover one host", down, {"goal": "recover", "hosts": [failed]}, served)
    yield Question("medium evacuate ten hosts", cloud, {"goal": "evacuate", "hosts": ten}, served)


def convert(path: Path) -> dict[str, Any]:
    """The snapshot as a restow.cloud/1 document: vcpu and memory_mib, racks, clusters as zones."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        data = json.load(file)
    hosts, servers = [], []
    for cluster in data["cluster_list"]:
        for info in cluster["host_info"]:
            nodes = info["numa"]
            hosts.append(
                {
                    "name": str(info["node_id"]),
                    "zone": str(cluster["cluster_name"]),
                    "rack": str(info["rack_id"]),
                    "capacity": {
                        "vcpu": sum(int(node["total_cpu"]) for node in nodes),
                        "memory_mib": sum(int(node["memory_huge_total_mb"]) for node in nodes),
                    },
                    "physical": {"cpu_cores": sum(int(node["total_cpu"]) for node in nodes)},
                    "link_mbps": 10000,
                }
            )
        servers += [
            {
                "id": str(instance["instance_id"]),
                "name": str(instance["instance_id"]),
                "host": str(instance["host_id"]),
                "demand": {
                    "vcpu": sum(int(node["cpu"]) for node in instance["numa"]),
                    "memory_mib": sum(int(node["mem_mb"]) for node in instance["numa"]),
                },
            }
            for instance in cluster["vm_instance"]
        ]
    return {
        "format": "restow.cloud/1",
        "taken_at": "2022-12-01T00:00:00Z",
        "domain": "vmr2l",
        "resources": ["vcpu", "memory_mib"],
        "hosts": hosts,
        "servers": servers,
    }


if __name__ == "__main__":
    json.dump(convert(Path(sys.argv[1])), sys.stdout)

"""The fixed cases of migrationpaths (2015) as snapshots and `reach` requests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cases import Question
from bench.reading import memory_moved


def instances(folder: Path) -> Iterator[Question]:
    for case in cases(folder):
        exact = case["exact"]
        best = f"{exact['min_ram_moved_mb']} MiB (exact)" if exact["solvable"] else "impossible (exact)"
        yield Question(case["name"], json.dumps(case["cloud"]).encode(), case["request"], memory_moved, best)


def cases(folder: Path) -> list[dict[str, Any]]:
    """Each case with `name`, `cloud` (restow.cloud/1), `request` (restow.request/1) and the `exact` column.

    An i386 server runs on either architecture, an x86_64 server needs an x86_64 host: a trait.
    """
    found = []
    for case in json.loads((folder / "cases.json").read_text(encoding="utf-8"))["cases"]:
        hosts = [
            {
                "name": host["name"],
                "traits": ["HW_ARCH_X86_64"] if host["arch"] == "x86_64" else [],
                "capacity": {"memory_mib": host["ram_mb"] - host["reserved_mb"]},
            }
            for host in case["hosts"]
        ]
        servers = [
            {
                "id": server["name"],
                "name": server["name"],
                "host": server["host"],
                "state": "active" if server["host"] else "stopped",
                "demand": {"memory_mib": server["ram_mb"]},
                "requires": ["HW_ARCH_X86_64"] if server["arch"] == "x86_64" else [],
            }
            for server in case["vms"]
        ]
        found.append(
            {
                "name": case["name"],
                "exact": case["exact"],
                "cloud": {
                    "format": "restow.cloud/1",
                    "taken_at": "2015-01-01T00:00:00Z",
                    "domain": case["name"],
                    "resources": ["memory_mib"],
                    "hosts": hosts,
                    "servers": servers,
                },
                "request": {
                    "format": "restow.request/1",
                    "goal": "reach",
                    "targets": {server["name"]: server["target"] for server in case["vms"]},
                },
            }
        )
    return found

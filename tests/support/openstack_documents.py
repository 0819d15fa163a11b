"""Documents as Nova and placement write them, for tests; state only what the test is about."""

from typing import Any


def a_flavor(**changes: Any) -> dict[str, Any]:
    known = {"vcpus": 2, "ram": 4096, "disk": 10, "ephemeral": 0, "swap": 0, "original_name": "f", "extra_specs": {}}
    return known | changes


def a_document(id: str = "s1", **changes: Any) -> dict[str, Any]:
    known = {
        "id": id, "name": id, "status": "ACTIVE", "tenant_id": "p1", "flavor": a_flavor(), "metadata": {},
        "image": {"id": "i1", "properties": {}}, "locked": False, "OS-EXT-SRV-ATTR:host": "h1",
        "OS-EXT-STS:task_state": None, "OS-EXT-STS:power_state": 1, "pinned_availability_zone": None,
        "OS-EXT-AZ:availability_zone": "az1",
    }  # fmt: skip
    return known | changes


def a_service(host: str = "h1", **changes: Any) -> dict[str, Any]:
    known = {
        "id": f"service-{host}", "host": host, "zone": "az1", "status": "enabled", "state": "up",
        "disabled_reason": None, "forced_down": False, "updated_at": "2026-11-22T12:00:00.000000",
    }  # fmt: skip
    return known | changes


def a_migration(id: int, **changes: Any) -> dict[str, Any]:
    known = {
        "id": id, "uuid": f"m{id}", "migration_type": "live-migration", "status": "completed", "source_compute": "h1",
        "dest_compute": "h2", "created_at": "2026-11-22T12:00:00.000000",
    }  # fmt: skip
    return known | changes

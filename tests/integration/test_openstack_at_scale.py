"""Reading 5,000 hosts, a third of them full, and 50,000 servers over HTTP: in time, in memory, in few calls."""

import json
import subprocess
import sys

import pytest

from support import openstack_stand_in
from support.openstack_stand_in import write_clouds

HOSTS, SERVERS, FULL_EVERY = 5_000, 50_000, 3
FULL_OF_EVERYTHING = 417  # every fourth of those
READ = """
import asyncio, json, resource, time
from dataclasses import replace
from restow.clock import SystemClock
from restow.cloud.connect import connect

async def main():
    clouds = connect("openstack:stand-in", clock=SystemClock())
    port = clouds.port(clouds.domains()[0])
    began = time.monotonic()
    cloud = await port.read()
    seconds = time.monotonic() - began
    calls = dict(port.api.counter.calls)
    port.api.counter.calls.clear()
    began = time.monotonic()
    again = await port.read()
    print(json.dumps({
        "again": {
            "seconds": round(time.monotonic() - began, 1), "calls": port.api.counter.calls,
            "equal": replace(again, taken_at=cloud.taken_at) == cloud,
        },
        "seconds": round(seconds, 1), "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "hosts": len(cloud.hosts), "servers": len(cloud.servers), "groups": len(cloud.groups),
        "calls": calls, "empty": cloud.hosts[0].capacity, "full": cloud.hosts[1].capacity,
        "used": cloud.used(cloud.hosts[1].name),
    }))
    await clouds.close()

asyncio.run(main())
"""


@pytest.fixture
def address():
    serving = subprocess.Popen(
        [sys.executable, openstack_stand_in.__file__, str(HOSTS), str(SERVERS), str(FULL_EVERY)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield serving.stdout.readline().strip()
    finally:
        serving.kill()
        serving.wait(10)
        serving.stdout.close()


@pytest.mark.timeout(180)
def test_a_large_cloud_is_read_in_time_in_memory_and_in_few_calls(address, tmp_path, capsys):
    import os

    environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(write_clouds(tmp_path, address))}
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    with capsys.disabled():
        print(
            f"\n  read in {told['seconds']} s, {told['mib']} MiB, {sum(told['calls'].values())} calls; "
            f"again in {told['again']['seconds']} s, {sum(told['again']['calls'].values())} calls"
        )
    assert (told["hosts"], told["servers"], told["groups"]) == (HOSTS, SERVERS, SERVERS // 100)
    assert told["empty"] == {"vcpu": 256, "memory_mib": 520192, "disk_gib": 4000}
    assert told["full"] == told["used"]
    assert told["seconds"] < 60
    assert told["mib"] < 1024
    others = {
        "GET compute /os-services": 1, "GET compute /os-hypervisors/detail": 5, "GET compute /os-aggregates": 1,
        "GET compute /os-server-groups": 2, "GET placement /allocation_candidates": 1,
        "GET placement /resource_providers": 1,
    }  # fmt: skip
    one_by_one = {
        f"GET placement /resource_providers/{{}}/{what}": FULL_OF_EVERYTHING
        for what in ("inventories", "usages", "traits")
    }
    first = {"GET placement /allocation_candidates": 4, "GET compute /servers/detail": 50}
    assert told["calls"] == {**others, **one_by_one, **first}
    assert told["again"]["calls"] == {**others, "GET compute /servers/detail": 1}  # those that changed
    assert told["again"]["equal"]
    assert told["again"]["seconds"] < 5

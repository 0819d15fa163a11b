"""Wait until the services of these hosts are up, or spread them over zones: hosts.py wait|zones COUNT HOST …"""

import sys
import time
from contextlib import suppress

import openstack

WAIT_S = 180


def wait(cloud: openstack.connection.Connection, wanted: set[str]) -> None:
    """What a test left forced down or disabled is put right; a host that is down would not tell placement of it."""
    until = time.monotonic() + WAIT_S
    while True:
        services = [one for one in cloud.compute.services(binary="nova-compute") if one.host in wanted]
        for service in services:
            if service.is_forced_down:
                with suppress(openstack.exceptions.SDKException):  # refused until its evacuations are cleared away
                    cloud.compute.update_service_forced_down(
                        service, host=service.host, binary="nova-compute", forced=False
                    )
        there = {one.host for one in services if one.state == "up"}
        if wanted <= there:
            break
        if time.monotonic() > until:
            sys.exit(f"not up: {', '.join(sorted(wanted - there))}")
        time.sleep(0.5)
    for service in services:
        if service.status == "disabled":
            cloud.compute.enable_service(service)


def zones(cloud: openstack.connection.Connection, count: int, hosts: list[str]) -> None:
    known = {one.name: one for one in cloud.compute.aggregates()}
    for number in range(count):
        name = f"az{number + 1}"
        aggregate = known.get(name) or cloud.compute.create_aggregate(name=name, availability_zone=name)
        for host in hosts[number::count]:
            if host not in (aggregate.hosts or []):
                cloud.compute.add_host_to_aggregate(aggregate, host)


connection = openstack.connect(cloud="lab", compute_default_microversion="2.96")
if sys.argv[1] == "wait":
    wait(connection, set(sys.argv[2:]))
else:
    zones(connection, int(sys.argv[2]), sys.argv[3:])

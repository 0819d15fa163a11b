"""One small cloud, once simulated and once on the OpenStack of the lab, behind the same names: for tests of both."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from restow.cloud.model import Resource, Server, ServerState
from restow.cloud.port import CloudPort, Migration
from restow.cloud.simulated import SimulatedCloud, SimulationOptions
from restow.ids import DomainName, HostName, ServerId
from support.builders import a_cloud, a_group, a_host, a_server
from support.clocks import ManualClock
from support.openstack_lab import HOSTS, OpenStackLab

DEMAND = {"vcpu": 1, "memory_mib": 2048, "disk_gib": 10}  # the lab's flavor "small"
NAMES = ("s1", "s2", "s3", "stopped", "waits")


@dataclass
class Bed:
    """`ids`: of the servers by name. Time passes by `wait`: at once where it is simulated."""

    port: CloudPort
    ids: dict[str, ServerId]
    wait: Callable[[float], Awaitable[None]]
    crash: Callable[[HostName], Awaitable[None]]
    requests: Any = field(default_factory=lambda: itertools.count(1))

    def hosts(self) -> tuple[HostName, ...]:
        return tuple(HostName(name) for name in HOSTS[:3])

    def request(self) -> str:
        """As the executor's are: a uuid."""
        return f"00000000-0000-4000-8000-{next(self.requests):012}"

    async def until(self, what: str, look: Callable[[], Awaitable[Any]], *, within_s: float = 60.0) -> Any:
        waited = 0.0
        while True:
            found = await look()
            if found:
                return found
            assert waited < within_s, f"{what}: not within {within_s:.0f} s"
            await self.wait(0.5)
            waited += 0.5

    async def at_rest(self, server: ServerId) -> Server:
        """Once nothing is under way at it any more."""

        async def look() -> Server | None:
            # Moves first: at the end of an evacuation Nova shows no task, and the old host, until the move has ended.
            ended = all(one.status.ended for one in await self.port.migrations(server))
            found = await self.port.server(server)
            return found if ended and found.task is None else None

        found: Server = await self.until(f"{server} is at rest", look)
        return found

    async def claims_come_to(self, server: ServerId, expected: Mapping[HostName, Mapping[Resource, int]]) -> None:
        """Nova says that a move is completed a moment before it gives the move's own claim back."""

        async def look() -> bool:
            return await self.port.allocations(server) == expected

        await self.until(f"the claims of {server} are {expected}", look)

    async def newest(self, server: ServerId) -> Migration:
        return (await self.port.migrations(server))[-1]


def simulated_bed() -> Bed:
    clock = ManualClock()
    first, second, third = HOSTS[:3]
    capacity = {"disk_gib": 1000}
    cloud = a_cloud(
        [a_host(host, memory_mib=65024, capacity=capacity) for host in (first, second, third)],
        [
            a_server("s1", on=first, demand=DEMAND), a_server("s2", on=first, demand=DEMAND),
            a_server("s3", on=second, demand=DEMAND), a_server("waits", demand=DEMAND),
            a_server("stopped", on=first, demand=DEMAND, state=ServerState.STOPPED),
        ],
        groups=[a_group("g1", "anti-affinity", ["s2", "s3"])],
    )  # fmt: skip
    port = SimulatedCloud(cloud, clock, seed=1, options=SimulationOptions(load_daily=0, load_noise=0))

    async def wait(seconds: float) -> None:
        clock.forward(seconds)

    async def crash(host: HostName) -> None:
        await port.inject("host-crash", host)
        clock.forward(120)

    return Bed(port, {name: ServerId(name) for name in NAMES}, wait, crash)


def lab_servers(lab: OpenStackLab) -> Mapping[str, str]:
    """The same servers on a clean lab, by name."""
    lab.clean()
    group = lab.group("g1")
    made = lab.boot({"s2": HOSTS[0], "s3": HOSTS[1]}, group=group)
    made |= lab.boot({"s1": HOSTS[0], "stopped": HOSTS[0], "waits": HOSTS[0]})
    lab.act(made["stopped"], {"os-stop": None})
    lab.act(made["waits"], {"shelve": None})
    return made


async def lab_bed(lab: OpenStackLab, port: CloudPort, made: Mapping[str, str]) -> Bed:
    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def crash(host: HostName) -> None:
        lab.machine(host, "crash")

    bed = Bed(port, {name: ServerId(server) for name, server in made.items()}, wait, crash)
    for name, state in (("stopped", ServerState.STOPPED), ("waits", ServerState.STOPPED)):
        there = await bed.at_rest(bed.ids[name])
        if there.state is not state or (name == "waits" and there.host is not None):

            async def settled(name: str = name, state: ServerState = state) -> bool:
                seen = await port.server(bed.ids[name])
                return seen.state is state and (name != "waits" or seen.host is None)

            await bed.until(f"{name} is {state}", settled)
    return bed


DOMAIN = DomainName("RegionOne")

"""Clouds to try things on, with zones, racks, flavors, groups and load: legal, and the same by seed; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from uuid import UUID

from restow.cloud.model import Cloud, Group, GroupPolicy, Host, Move, Power, Server, ServerState
from restow.ids import DomainName, HostName, ServerId

RESOURCES = ("vcpu", "memory_mib", "disk_gib")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Flavor:
    vcpu: int
    memory_mib: int
    disk_gib: int
    weight: int

    @property
    def demand(self) -> dict[str, int]:
        return {"vcpu": self.vcpu, "memory_mib": self.memory_mib, "disk_gib": self.disk_gib}


FLAVORS = (
    Flavor(1, 2_048, 10, 30),
    Flavor(2, 4_096, 20, 30),
    Flavor(4, 8_192, 40, 22),
    Flavor(4, 16_384, 40, 10),
    Flavor(8, 16_384, 80, 6),
    Flavor(16, 32_768, 160, 2),
)
CORES, MEMORY_MIB, DISK_GIB = 32, 262_144, 4_000
OVERCOMMIT = 4
CAPACITY = {"vcpu": CORES * OVERCOMMIT, "memory_mib": MEMORY_MIB - 5_120, "disk_gib": DISK_GIB}
HOSTS_PER_RACK = 8
SERVERS_PER_PROJECT = 12
TRIES_MAX = 50


def generate_cloud(
    *,
    hosts: int,
    servers_per_host: int | None = None,
    utilisation: float | None = None,
    seed: int = 1,
    domain: str = "region-one",
    zones: int = 3,
    taken_at: datetime = NOON,
) -> Cloud:
    """A cloud of so many hosts that breaks no rule.

    Either `servers_per_host` (a mean) or `utilisation` (share of the memory claimed, at most 0.95); by default
    half of the memory is claimed. Servers are spread unevenly, so that there is something to rearrange.
    """
    assert hosts > 0
    assert utilisation is None or 0 <= utilisation <= 0.95
    random = Random(f"{seed}/{domain}")  # noqa: S311 - a repeatable cloud, not a secret
    names = [HostName(f"host-{number}") for number in range(1, hosts + 1)]
    made_hosts = tuple(_host(name, index, zones=min(zones, hosts)) for index, name in enumerate(names))
    filler = _Filler(random, made_hosts)
    if servers_per_host is not None:
        filler.add_count(hosts * servers_per_host)
    else:
        filler.add_share(0.5 if utilisation is None else utilisation)
    return Cloud(
        taken_at=taken_at,
        domain=DomainName(domain),
        resources=RESOURCES,
        hosts=made_hosts,
        servers=tuple(filler.servers),
        groups=tuple(_groups(random, filler.servers)),
    )


def _host(name: HostName, index: int, *, zones: int) -> Host:
    rack = index // HOSTS_PER_RACK
    new = index % 2 == 0
    return Host(
        name=name,
        zone=f"az{index % zones + 1}",
        rack=f"r{rack + 1}",
        aggregates=("ssd",) if new else (),
        traits=frozenset({"HW_CPU_X86_AVX2", "CUSTOM_SSD"} if new else {"HW_CPU_X86_AVX2"}),
        capacity=CAPACITY,
        physical={"cpu_cores": float(CORES), "memory_mib": float(MEMORY_MIB)},
        link_mbps=10_000,
        power=Power.ON,
    )


class _Filler:
    """Adds servers where they fit; some hosts draw more of them than others."""

    def __init__(self, random: Random, hosts: Sequence[Host]) -> None:
        self._random = random
        self._hosts = hosts
        self._free = [dict(host.capacity) for host in hosts]
        self._pull = [random.uniform(0.3, 1.0) for _ in hosts]
        self._numbers = count(1)
        self._fallback = 0
        self.servers: list[Server] = []

    def add_count(self, servers: int) -> None:
        for _ in range(servers):
            if not self._add():
                return

    def add_share(self, share: float) -> None:
        wanted = share * sum(host.capacity["memory_mib"] for host in self._hosts)
        claimed = 0
        while claimed < wanted and self._add():
            claimed += self.servers[-1].demand["memory_mib"]

    def _add(self) -> bool:
        flavor = self._random.choices(FLAVORS, weights=[flavor.weight for flavor in FLAVORS])[0]
        for tried in (flavor, FLAVORS[0]):
            place = self._place(tried)
            if place is not None:
                self.servers.append(self._server(tried, place))
                return True
        return False

    def _place(self, flavor: Flavor) -> int | None:
        for _ in range(TRIES_MAX):
            index = self._random.randrange(len(self._hosts))
            if self._random.random() < self._pull[index] and self._fits(flavor, index):
                return index
        for step in range(len(self._hosts)):
            index = (self._fallback + step) % len(self._hosts)
            if self._fits(flavor, index):
                self._fallback = index
                return index
        return None

    def _fits(self, flavor: Flavor, index: int) -> bool:
        return all(self._free[index][resource] >= amount for resource, amount in flavor.demand.items())

    def _server(self, flavor: Flavor, index: int) -> Server:
        random, host = self._random, self._hosts[index]
        for resource, amount in flavor.demand.items():
            self._free[index][resource] -= amount
        number = next(self._numbers)
        stopped = random.random() < 0.02
        chosen = random.random()
        move = Move.NONE if chosen < 0.01 else Move.COLD if chosen < 0.03 else Move.LIVE
        # Most servers idle, a few work hard: a share of the flavor's cpu, skewed.
        busy = 0.03 + 0.5 * random.random() ** 3
        return Server(
            id=ServerId(str(UUID(int=random.getrandbits(128), version=4))),
            name=f"server-{number}",
            host=host.name,
            project=f"project-{number // SERVERS_PER_PROJECT + 1}",
            state=ServerState.STOPPED if stopped else ServerState.ACTIVE,
            demand=flavor.demand,
            load={
                "cpu_cores": 0.0 if stopped else round(flavor.vcpu * busy, 3),
                "memory_mib": round(flavor.memory_mib * random.uniform(0.3, 0.9), 1),
            },
            dirty_mib_s=0.0 if stopped else round(2 + 60 * random.random() ** 3, 1),
            zone=host.zone if random.random() < 0.1 else None,
            requires=frozenset({"CUSTOM_SSD"})
            if "CUSTOM_SSD" in host.traits and random.random() < 0.05
            else frozenset(),
            move=move,
            priority=random.choice((0, 0, 0, 50, 100)),
            locked=random.random() < 0.01,
        )


def _groups(random: Random, servers: Sequence[Server]) -> list[Group]:
    """Anti-affinity among servers of one project that already stand apart, two to four of them."""
    by_project: dict[str, list[Server]] = {}
    for server in servers:
        by_project.setdefault(server.project, []).append(server)
    found: list[Group] = []
    for project, members in by_project.items():
        if random.random() >= 0.3:
            continue
        size = random.randint(2, 4)
        apart: dict[HostName | None, Server] = {}
        for member in members:
            apart.setdefault(member.host, member)
        chosen = tuple(server.id for server in list(apart.values())[:size])
        if len(chosen) > 1:
            policy = GroupPolicy.ANTI_AFFINITY if random.random() < 0.8 else GroupPolicy.SOFT_ANTI_AFFINITY
            found.append(Group(f"group-{project}", policy, chosen))
    return found

"""Small random clouds that are legal by construction and in which every kind of rule occurs and can bind.

A placement is built first; the rules are then read off it, as tight as it allows. So no rule is broken at the start,
and many a move would break one. Where some are to be broken, servers are then put elsewhere and rules are made tighter.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from restow.cloud.model import (
    Allow,
    Among,
    AtMostPer,
    Ban,
    Budget,
    Cloud,
    Dedicate,
    Group,
    GroupPolicy,
    Host,
    HostState,
    Isolate,
    Licence,
    LoadBelow,
    Move,
    NearTo,
    Power,
    Reserve,
    Residency,
    RuleSpec,
    Server,
    ServerState,
    SpreadOver,
    Survive,
    TogetherIn,
    Unit,
)
from restow.ids import HostName, ServerId
from support.builders import a_cloud
from support.rare import metadata, rare_hosts, rare_servers

RESOURCES = ("vcpu", "memory_mib", "disk_gib", "pci_gpu")
FLAVORS = ((1, 1024, 10), (2, 2048, 10), (2, 4096, 20), (4, 8192, 40))
UNITS: tuple[Unit, ...] = ("host", "rack", "zone")
FEW = 3


def random_legal_cloud(
    seed: int, *, hosts: tuple[int, int] = (3, 12), servers: tuple[int, int] = (5, 60), rules: bool = True
) -> Cloud:
    """A cloud of 3 to 12 hosts and 5 to 60 servers, up to 90 % full, the same for the same seed."""
    return _Maker(Random(seed), Random(f"rare/{seed}")).cloud(hosts=hosts, servers=servers, rules=rules)


def random_broken_cloud(seed: int, *, hosts: tuple[int, int] = (3, 12), servers: tuple[int, int] = (5, 60)) -> Cloud:
    """The same cloud with some servers on other hosts, whatever the rules say, and with rules that ask for more.

    One more rule is read off nothing at all.
    """
    cloud, random = random_legal_cloud(seed, hosts=hosts, servers=servers), Random(f"broken/{seed}")
    astray = {one.id for one in random.sample(list(cloud.servers), min(len(cloud.servers), random.randint(1, 4)))}
    placed = tuple(
        replace(one, host=random.choice(cloud.hosts).name, numa=(), numa_at=()) if one.id in astray else one
        for one in cloud.servers
    )
    rules = tuple(_stricter(rule) if random.random() < 0.7 else rule for rule in cloud.rules)
    return replace(cloud, servers=placed, rules=(*rules, *_any_rule(random, cloud)))


def _any_rule(random: Random, cloud: Cloud) -> Sequence[RuleSpec]:
    """One about a few servers, wherever they are."""
    if len(cloud.servers) < FEW:
        return ()
    chosen, unit = [one.id for one in random.sample(list(cloud.servers), FEW)], random.choice(UNITS)
    names = random.sample([host.name for host in cloud.hosts], len(cloud.hosts))
    middle = random.randint(1, len(names) - 1)
    return [random.choice((
        TogetherIn(tuple(chosen), unit), SpreadOver(tuple(chosen), unit, 2), AtMostPer(tuple(chosen), unit, 1),
        Licence(tuple(chosen), 1, unit), NearTo(tuple(chosen[1:]), tuple(chosen[:1]), unit),
        Among(tuple(chosen), (tuple(names[:middle]), tuple(names[middle:]))),
    ))]  # fmt: skip


def _stricter(rule: RuleSpec) -> RuleSpec:
    match rule:
        case AtMostPer():
            return replace(rule, count=max(1, rule.count - 1))
        case Licence():
            return replace(rule, count=max(1, rule.count - 1))
        case SpreadOver():
            return replace(rule, at_least=min(len(rule.servers), rule.at_least + 1))
        case _:
            return rule


def legal_clouds(**bounds: tuple[int, int]) -> st.SearchStrategy[Cloud]:
    """The same for hypothesis; a failing example is told by its seed."""
    return st.integers(0, 2**32 - 1).map(lambda seed: random_legal_cloud(seed, **bounds))


class _Maker:
    def __init__(self, random: Random, rare: Random) -> None:
        self._random = random
        self._rare = rare

    def cloud(self, *, hosts: tuple[int, int], servers: tuple[int, int], rules: bool) -> Cloud:
        random = self._random
        made = self._hosts(random.randint(*hosts))
        placed = self._servers(made, random.randint(*servers), share=random.uniform(0.3, 0.9))
        aggregates: dict[str, dict[str, str]] = {}
        if rules:
            made = rare_hosts(self._rare, made)
            placed = rare_servers(self._rare, made, placed)
            aggregates = metadata(self._rare, made, placed)
        groups, chosen = (self._groups(placed), self._rules(made, placed)) if rules else ((), ())
        return a_cloud(made, placed, groups=groups, rules=chosen, resources=RESOURCES, aggregates=aggregates)

    def _hosts(self, count: int) -> list[Host]:
        random = self._random
        zones = random.randint(1, min(3, count))
        racks = random.randint(zones, min(count, zones * 2))
        made = []
        for index in range(count):
            rack = index % racks
            big = random.random() < 0.3
            cores = 16 if big else 8
            trait = random.choice((frozenset(), frozenset({"CUSTOM_SSD"}), frozenset({"CUSTOM_SSD", "CUSTOM_NIC"})))
            made.append(
                Host(
                    name=HostName(f"h{index}"),
                    zone=f"z{rack % zones}",
                    rack=f"r{rack}",
                    traits=trait,
                    aggregates=("ssd",) if "CUSTOM_SSD" in trait else (),
                    capacity={"vcpu": cores * 2, "memory_mib": cores * 4096, "disk_gib": cores * 40, "pci_gpu": 0},
                    physical={"cpu_cores": float(cores), "memory_mib": cores * 4096.0},
                    link_mbps=random.choice((1_000, 10_000)),
                    power=Power.ON,
                    **self._state(index),
                )
            )
        return made

    def _state(self, index: int) -> dict[str, object]:
        """Now and then a host that takes nothing in; never the first two, so that there is somewhere to go."""
        if index < 2 or self._random.random() > 0.12:
            return {}
        return self._random.choice(
            ({"enabled": False}, {"maintenance": True}, {"state": HostState.DOWN}, {"forced_down": True})
        )

    def _servers(self, hosts: Sequence[Host], count: int, *, share: float) -> list[Server]:
        random = self._random
        free = [{resource: int(amount * share) for resource, amount in host.capacity.items()} for host in hosts]
        placed: list[Server] = []
        for number in range(count):
            demand = dict(zip(RESOURCES, (*random.choice(FLAVORS), 0), strict=True))
            fitting = [
                index
                for index, left in enumerate(free)
                if all(left[resource] >= amount for resource, amount in demand.items())
            ]
            if not fitting:
                continue
            index = random.choice(fitting)
            for resource, amount in demand.items():
                free[index][resource] -= amount
            placed.append(self._server(number, hosts[index], demand))
        return placed

    def _server(self, number: int, host: Host, demand: dict[str, int]) -> Server:
        random = self._random
        absent = sorted({"CUSTOM_SSD", "CUSTOM_NIC"} - host.traits)
        present = sorted(host.traits)
        state = ServerState.STOPPED if random.random() < 0.05 else ServerState.ACTIVE
        return Server(
            id=ServerId(f"s{number}"),
            name=f"server-{number}",
            host=host.name,
            project=f"p{number % 4}" if number % 5 < 3 else f"of-{host.name}",
            state=state,
            demand=demand,
            load={"cpu_cores": round(random.uniform(0.0, 0.8) * demand["vcpu"], 2)},
            dirty_mib_s=round(random.uniform(0, 40), 1),
            zone=host.zone if random.random() < 0.1 else None,
            requires=frozenset(random.sample(present, 1)) if present and random.random() < 0.1 else frozenset(),
            forbids=frozenset(random.sample(absent, 1)) if absent and random.random() < 0.1 else frozenset(),
            move=random.choices((Move.LIVE, Move.COLD, Move.NONE), weights=(88, 7, 5))[0],
            priority=random.choice((0, 10, 100)),
            locked=random.random() < 0.03,
        )

    def _groups(self, servers: Sequence[Server]) -> list[Group]:
        """A server is in one group at most, as in Nova."""
        random = self._random
        left = list(servers)
        random.shuffle(left)
        groups: list[Group] = []
        for number, policy in enumerate(random.choices(tuple(GroupPolicy), k=random.randint(0, 4))):
            members = left[: random.randint(2, 5)]
            if policy is GroupPolicy.AFFINITY:
                members = [server for server in members if server.host == members[0].host]
            if len(members) < 2:
                continue
            left = [server for server in left if server not in members]
            most = 1
            if policy is GroupPolicy.ANTI_AFFINITY:
                most = max(sum(one.host == server.host for one in members) for server in members)
            groups.append(Group(f"g{number}", policy, tuple(server.id for server in members), max_per_host=most))
        return groups

    def _rules(self, hosts: Sequence[Host], servers: Sequence[Server]) -> list[RuleSpec]:
        if not servers:
            return []
        every = (
            self._allow, self._ban, self._spread, self._at_most, self._together, self._among, self._reserve, self._load,
            self._near, self._licence, self._residency, self._dedicate, self._isolate, self._budget,
        )  # fmt: skip
        kinds = self._random.choices(every, k=self._random.randint(0, 8))
        found = [rule for kind in kinds if (rule := kind(hosts, servers)) is not None]
        if self._random.random() < 0.15:
            found.append(Survive(1, "host", soft=1.0))
        return found

    def _some(self, servers: Sequence[Server]) -> list[Server]:
        return self._random.sample(list(servers), min(len(servers), self._random.randint(1, 5)))

    def _hosts_of(self, servers: Sequence[Server]) -> set[HostName]:
        return {server.host for server in servers if server.host is not None}

    def _soft(self) -> float | None:
        return 2.0 if self._random.random() < 0.2 else None

    def _allow(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen = self._some(servers)
        wanted = self._hosts_of(chosen) | {self._random.choice(hosts).name}
        return Allow(_ids(chosen), _names(hosts, wanted), self._soft())

    def _ban(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec | None:
        chosen = self._some(servers)
        others = [host.name for host in hosts if host.name not in self._hosts_of(chosen)]
        if not others:
            return None
        banned = self._random.sample(others, self._random.randint(1, len(others)))
        return Ban(_ids(chosen), _names(hosts, set(banned)), self._soft())

    def _spread(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen, unit = self._some(servers), self._random.choice(UNITS)
        return SpreadOver(_ids(chosen), unit, len(_units(hosts, chosen, unit)), self._soft())

    def _at_most(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen, unit = self._some(servers), self._random.choice(UNITS)
        return AtMostPer(_ids(chosen), unit, max(_units(hosts, chosen, unit).values()), self._soft())

    def _together(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        unit, first = self._random.choice(UNITS), self._random.choice(list(servers))
        place = next(iter(_units(hosts, [first], unit)))
        near = [server for server in servers if place in _units(hosts, [server], unit)]
        return TogetherIn(_ids(self._some(near)), unit, self._soft())

    def _among(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen = self._some(servers)
        here = self._hosts_of(chosen) | {self._random.choice(hosts).name}
        others = {host.name for host in hosts} - here
        sets = [_names(hosts, here)] + ([_names(hosts, others)] if others else [])
        return Among(_ids(chosen), tuple(sets), self._soft())

    def _reserve(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        host = self._random.choice(hosts)
        keep = {}
        for resource in ("vcpu", "memory_mib"):
            used = sum(server.demand[resource] for server in servers if server.host == host.name)
            keep[resource] = int((host.capacity[resource] - used) * self._random.choice((0.25, 0.5, 1.0)))
        return Reserve((host.name,), keep, self._soft())

    def _load(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec | None:
        """A little above what the hosts carry, of what is physically there."""
        chosen = self._random.sample(list(hosts), self._random.randint(1, len(hosts)))
        fullest = max(
            sum(server.load["cpu_cores"] for server in servers if server.host == host.name) / host.physical["cpu_cores"]
            for host in chosen
        )
        share = round(fullest + self._random.choice((0.01, 0.05, 0.2)), 3)
        if share > 1:
            return None
        return LoadBelow(_names(hosts, {host.name for host in chosen}), {"cpu_cores": share}, self._soft())

    def _near(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec | None:
        """Some that stand where one or two others do."""
        unit, to = self._random.choice(UNITS), self._some(servers)[:2]
        here = _units(hosts, to, unit).keys()
        near = [one for one in servers if one not in to and _units(hosts, [one], unit).keys() <= here]
        return NearTo(_ids(self._some(near)), _ids(to), unit, self._soft()) if near else None

    def _licence(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen, unit = self._some(servers), self._random.choice(UNITS)
        count = len(_units(hosts, chosen, unit)) + self._random.choice((0, 0, 1))
        return Licence(_ids(chosen), count, unit, self._soft())

    def _residency(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        """Some of one zone, and the project that is in the fewest zones."""
        first = self._random.choice(list(servers))
        zone = _units(hosts, [first], "zone").keys()
        chosen = self._some([server for server in servers if _units(hosts, [server], "zone").keys() == zone])
        mine = {one: [server for server in servers if server.project == one] for one in {s.project for s in chosen}}
        project = min(sorted(mine), key=lambda one: len(_units(hosts, mine[one], "zone")))
        both = [server for server in servers if server in chosen or server.project == project]
        return Residency(tuple(_units(hosts, both, "zone")), _ids(chosen), (project,), self._soft())

    def _dedicate(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec | None:
        """The host that the fewest projects share; those may be nowhere else."""
        projects = {host.name: {one.project for one in servers if one.host == host.name} for host in hosts}
        own = self._random.choice([name for name in projects if projects[name]])
        least = min((name for name in projects if projects[name]), key=lambda name: (len(projects[name]), name != own))
        here = tuple(sorted(projects[least]))
        exclusive = all(one.host == least for one in servers if one.project in here)
        return Dedicate((least,), here, exclusive, self._soft())

    def _isolate(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        """All that stand on one or two hosts."""
        chosen = self._random.sample([host.name for host in hosts], self._random.randint(1, 2))
        return Isolate(_ids([server for server in servers if server.host in chosen]), self._soft())

    def _budget(self, hosts: Sequence[Host], servers: Sequence[Server]) -> RuleSpec:
        chosen = self._random.sample(list(servers), self._random.randint(1, len(servers)))
        return Budget(_ids(chosen), self._random.randint(1, 2), self._soft())


def _ids(servers: Sequence[Server]) -> tuple[ServerId, ...]:
    return tuple(server.id for server in servers)


def _names(hosts: Sequence[Host], wanted: set[HostName]) -> tuple[HostName, ...]:
    return tuple(host.name for host in hosts if host.name in wanted)


def _units(hosts: Sequence[Host], servers: Sequence[Server], unit: Unit) -> dict[str, int]:
    """How many of the servers stand in each unit that holds any."""
    by_name = {host.name: host for host in hosts}
    found: dict[str, int] = {}
    for server in servers:
        assert server.host is not None
        host = by_name[server.host]
        place = {"host": host.name, "rack": host.rack, "zone": host.zone}[unit]
        assert place is not None
        found[place] = found.get(place, 0) + 1
    return found

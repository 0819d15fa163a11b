"""The simulated cloud as a reader of Nova sees it; values that did not change are the same objects; pure."""

from collections import deque

from restow.cloud.model import Cloud, Host, HostState, Server, ServerState
from restow.cloud.simulated.world import HostNow, ServerNow, World, moment_of
from restow.ids import HostName, ServerId

VIEWS_MAX = 10_000


class View:
    def __init__(self, world: World) -> None:
        self._world = world
        self._hosts: dict[HostName, Host] = {}
        self._servers: dict[ServerId, Server] = {}
        self._on: dict[HostName, dict[ServerId, Server]] = {name: {} for name in world.hosts}
        self._place: dict[ServerId, HostName | None] = {}
        self._slot: int | None = None
        self._seen = -1
        self._host_values: tuple[Host, ...] = ()
        self._server_values: tuple[Server, ...] = ()

    def cloud(self) -> Cloud:
        """The domain now. Cheap where little has changed since the last call."""
        self._refresh()
        given = self._world.cloud
        return Cloud(
            taken_at=moment_of(self._world.now),
            domain=given.domain,
            resources=given.resources,
            hosts=self._host_values,
            servers=self._server_values,
            groups=given.groups,
            rules=given.rules,
            aggregates=given.aggregates,
        )

    def host(self, name: HostName) -> Host:
        self._world.host(name)
        self._refresh()
        return self._hosts[name]

    def server(self, server: ServerId) -> Server:
        self._world.server(server)
        self._refresh()
        return self._servers[server]

    def _refresh(self) -> None:
        world = self._world
        slot = int(world.now // world.options.load_period_s)
        if slot != self._slot:
            self._slot = slot
            world.changed_servers.update(world.servers)
            world.changed_hosts.update(world.hosts)
        elif self._seen == world.version:
            return
        self._seen = world.version
        if world.changed_servers:
            # The order of a set is chance: of the first look it is the snapshot's, and later values keep their places.
            for name in sorted(world.changed_servers) if self._servers else list(world.servers):
                self._renew(name, world.servers.get(name))
            self._server_values = tuple(self._servers.values())
            world.changed_servers.clear()
        if world.changed_hosts:
            for host in [host for host in world.hosts.values() if host.name in world.changed_hosts]:
                self._hosts[host.name] = self._host_value(host)
            self._host_values = tuple(self._hosts[name] for name in world.hosts)
            world.changed_hosts.clear()

    def _renew(self, name: ServerId, server: ServerNow | None) -> None:
        old = self._place.pop(name, None)
        if server is None:
            self._servers.pop(name, None)
            if old is not None:
                self._on[old].pop(name, None)
            return
        if old is not None and old != server.host:
            self._on[old].pop(name, None)
        value = self._server_value(server)
        self._servers[name] = value
        self._place[name] = server.host
        if server.host is not None:
            self._on[server.host][name] = value

    def _server_value(self, server: ServerNow) -> Server:
        assert self._slot is not None
        base, world = server.base, self._world
        running = (
            server.state is ServerState.ACTIVE
            and server.host is not None
            and server.host in world.ledger.guests.get(server.id, ())
        )
        return Server(
            id=base.id,
            name=base.name,
            host=server.host,
            project=base.project,
            state=server.state,
            demand=base.demand,
            load=server.curve.at(self._slot, running=running, heat=world.heat.get(base.id, 0.0)),
            dirty_mib_s=base.dirty_mib_s,
            zone=base.zone,
            requires=base.requires,
            forbids=base.forbids,
            move=base.move,
            priority=base.priority,
            metadata=base.metadata,
            locked=base.locked,
            task=server.task,
            cpu=base.cpu,
            storage=base.storage,
            extra_specs=base.extra_specs,
            image=base.image,
            numa=base.numa,
            numa_at=base.numa_at if server.host == base.host else (),
            cool_down_s=base.cool_down_s,
        )

    def _host_value(self, host: HostNow) -> Host:
        base = host.base
        return Host(
            name=base.name,
            state=HostState.DOWN if host.forced_down else host.reported,
            enabled=host.enabled,
            maintenance=base.maintenance,
            zone=base.zone,
            rack=base.rack,
            aggregates=base.aggregates,
            traits=base.traits,
            capacity=base.capacity,
            load=self._load(host),
            physical=base.physical,
            link_mbps=base.link_mbps,
            power=host.power,
            forced_down=host.forced_down,
            cpu=base.cpu,
            storage=base.storage,
            numa=base.numa,
        )

    def _load(self, host: HostNow) -> dict[str, float]:
        """What its servers use, and what burns on top. A host that does not report tells nothing."""
        if not host.reporting:
            return {}
        total = {"cpu_cores": self._world.hot_cores.get(host.name, 0.0)}
        for server in self._on[host.name].values():
            for name, amount in server.load.items():
                total[name] = total.get(name, 0.0) + amount
        return {name: round(amount, 4) for name, amount in total.items()}


class PastViews:
    """What readers saw some time ago, for a cloud whose truth comes late."""

    def __init__(self, view: View, world: World, *, age_s: float) -> None:
        self._view = view
        self._world = world
        self.age_s = age_s
        self._kept: deque[tuple[float, Cloud]] = deque([(world.now, view.cloud())], maxlen=VIEWS_MAX)
        self._version = world.version

    def keep(self) -> None:
        """After every event: what a reader would see from now on."""
        if self._world.version != self._version:
            self._version = self._world.version
            self._kept.append((self._world.now, self._view.cloud()))

    def cloud(self) -> Cloud:
        """The view of `age_s` ago; the oldest there is, if that is younger."""
        wanted = self._world.now - self.age_s
        while len(self._kept) > 1 and self._kept[1][0] <= wanted:
            self._kept.popleft()
        return self._kept[0][1]

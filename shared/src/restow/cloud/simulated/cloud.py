"""The simulated cloud as an adapter of the cloud port: a thin shell around the world and its clock.

Time is caught up with on every call, so there is no loop in the background, and the same seed and the same calls
at the same times give the same trace.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from restow.clock import Clock
from restow.cloud.model import Cloud, Host, Power, Resource, Server
from restow.cloud.permission import ask_permission
from restow.cloud.port import Heartbeat, Migration
from restow.cloud.simulated import guests, hosts, moves
from restow.cloud.simulated.ledger import Broken, Held
from restow.cloud.simulated.options import SimulationOptions
from restow.cloud.simulated.trouble import Trouble
from restow.cloud.simulated.view import PastViews, View
from restow.cloud.simulated.world import World, moment_of, seconds_of
from restow.errors import CredentialError, LostAnswerError, NotFoundError, RestowError, TransientError
from restow.ids import DomainName, HostName, ServerId

T = TypeVar("T")

CALLS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """An action that was asked for. `outcome`: "taken", "lost before", "lost after", or why it was refused."""

    at: datetime
    method: str
    args: tuple[str, ...]
    request_id: str
    outcome: str


class SimulatedCloud:
    """CloudPort and FaultInjection for one domain."""

    def __init__(self, cloud: Cloud, clock: Clock, *, seed: int = 1, options: SimulationOptions | None = None) -> None:
        self._clock = clock
        self._domain = cloud.domain
        self._world = World(cloud, seed=seed, options=options or SimulationOptions())
        self._view = View(self._world)
        self._past: PastViews | None = None
        self.trouble = Trouble(self._world)
        self.calls: list[Call] = []
        self.faults_injected: list[tuple[datetime, str, HostName]] = []

    @property
    def given(self) -> Cloud:
        """The snapshot that it began with."""
        return self._world.cloud

    @property
    def domain(self) -> DomainName:
        return self._domain

    async def close(self) -> None:
        """Nothing is held open."""

    # --- reading ------------------------------------------------------------------------------------------------

    async def read(self) -> Cloud:
        return await self._reading("read", self._read)

    async def host(self, name: HostName) -> Host:
        return await self._reading("host", lambda: self._view.host(name))

    async def server(self, server: ServerId) -> Server:
        return await self._reading("server", lambda: self._view.server(server))

    async def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        def look() -> Mapping[HostName, Mapping[Resource, int]]:
            self._world.server(server)
            return dict(self._world.ledger.claims.get(server, {}))

        return await self._reading("allocations", look)

    async def migrations(self, server: ServerId) -> Sequence[Migration]:
        def look() -> Sequence[Migration]:
            self._world.server(server)
            return tuple(attempt.shown() for attempt in self._world.attempts.get(server, ()))

        return await self._reading("migrations", look)

    async def heartbeats(self) -> Sequence[Heartbeat]:
        return await self._reading("heartbeats", lambda: hosts.heartbeats(self._world, self.trouble.silent))

    async def power_state(self, host: HostName) -> Power:
        def look() -> Power:
            power = self._world.host(host).power
            return Power.UNKNOWN if self.trouble.broken_fences.get(host) == "error" else power

        return await self._reading("power_state", look)

    # --- acting -------------------------------------------------------------------------------------------------

    async def live_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        def act() -> None:
            moves.live_migrate(self._world, server, to=to, request_id=request_id)

        await self._acting("live_migrate", (server, to), request_id, act)

    async def cold_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        def act() -> None:
            moves.cold_migrate(self._world, server, to=to, request_id=request_id)

        await self._acting("cold_migrate", (server, to), request_id, act)

    async def confirm_cold_migration(self, server: ServerId) -> None:
        await self._acting("confirm_cold_migration", (server,), "", lambda: moves.confirm(self._world, server))

    async def clear_error(self, server: ServerId) -> None:
        await self._acting("clear_error", (server,), "", lambda: moves.clear_error(self._world, server))

    async def force_complete(self, server: ServerId, *, migration: str) -> None:
        def act() -> None:
            moves.force_complete(self._world, server, migration)

        await self._acting("force_complete", (server,), "", act)

    async def evacuate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        def act() -> None:
            source = self._world.server(server).host
            moves.evacuate(self._world, server, to=to, request_id=request_id)
            if source is not None:
                powered = self._world.host(source).powered
                self._world.ledger.evacuated(server, source, powered=powered, now=self._world.now)

        await self._acting("evacuate", (server, to), request_id, act)

    async def abort_migration(self, server: ServerId, *, migration: str) -> None:
        await self._acting("abort_migration", (server,), "", lambda: moves.abort(self._world, server, migration))

    async def start(self, server: ServerId, *, on: HostName | None, request_id: str) -> None:
        def act() -> None:
            guests.start(self._world, server, on=on)

        await self._acting("start", (server,) if on is None else (server, on), request_id, act)

    async def stop(self, server: ServerId, *, request_id: str) -> None:
        await self._acting("stop", (server,), request_id, lambda: guests.stop(self._world, server))

    async def shelve(self, server: ServerId, *, request_id: str) -> None:
        await self._acting("shelve", (server,), request_id, lambda: guests.shelve(self._world, server))

    async def disable(self, host: HostName, *, reason: str) -> None:
        await self._acting("disable", (host, reason), "", lambda: hosts.disable(self._world, host))

    async def enable(self, host: HostName) -> None:
        await self._acting("enable", (host,), "", lambda: hosts.enable(self._world, host))

    async def force_down(self, host: HostName, *, down: bool) -> None:
        def act() -> None:
            hosts.force_down(self._world, host, down=down)

        await self._acting("force_down", (host, "down" if down else "up"), "", act)

    async def power(self, host: HostName, *, on: bool) -> None:
        def act() -> None:
            self._world.host(host)
            match self.trouble.broken_fences.get(host):
                case "error":
                    raise TransientError(f"the board controller of {host} does not answer")
                case "ignored":
                    pass
                case None:
                    hosts.power(self._world, host, on=on)

        await self._acting("power", (host, "on" if on else "off"), "", act)

    # --- trouble on purpose -------------------------------------------------------------------------------------

    async def inject(self, kind: str, host: HostName) -> None:
        self._catch_up()
        hosts.inject(self._world, kind, host)
        self.faults_injected.append((moment_of(self._world.now), kind, host))
        self._remember()

    async def clear_faults(self, host: HostName | None = None) -> None:
        self._catch_up()
        hosts.clear_faults(self._world, host)
        self._remember()

    # --- what a witness knows, for tests ------------------------------------------------------------------------

    def truth(self) -> dict[ServerId, frozenset[HostName]]:
        """Where each server's guest really runs, whatever Nova's records say."""
        self._catch_up()
        return {server: frozenset(self._world.ledger.guests.get(server, ())) for server in self._world.servers}

    def violations(self) -> tuple[Broken, ...]:
        """Every promise that was broken so far: a host over capacity, a server in two places, an evacuation twice."""
        self._catch_up()
        return tuple(self._world.ledger.broken)

    def unfenced(self) -> tuple[Broken, ...]:
        """Every evacuation that was taken while its host still had power."""
        self._catch_up()
        return tuple(self._world.ledger.unfenced)

    def history(self) -> tuple[Held, ...]:
        """Every change of what a server claims where, in order: it tells which rules held at which instant."""
        self._catch_up()
        return tuple(self._world.ledger.history)

    def attempts(self) -> tuple[Migration, ...]:
        """Every attempt to move any server, by server and in order."""
        self._catch_up()
        return tuple(attempt.shown() for attempts in self._world.attempts.values() for attempt in attempts)

    def add_server(self, server: Server) -> None:
        """A user boots a server behind our back; it runs at once."""
        self._catch_up()
        self._world.add(server)
        self._remember()

    def remove_server(self, server: ServerId) -> None:
        """A user deletes a server behind our back."""
        self._catch_up()
        self._world.remove(server)
        self._remember()

    # --- the shell ----------------------------------------------------------------------------------------------

    def _read(self) -> Cloud:
        if self._past is None:
            return self._view.cloud()
        return self._past.cloud()

    async def _reading(self, method: str, look: Callable[[], T]) -> T:
        await self._slowly(method)
        self._catch_up()
        if self.trouble.refuses():
            raise CredentialError(f"{method}: 401 the credential is refused")
        return look()

    async def _acting(self, method: str, args: tuple[str, ...], request_id: str, act: Callable[[], None]) -> None:
        await self._slowly(method)
        ask_permission()
        self._catch_up()
        lost = self.trouble.loses(method)
        outcome = "taken" if lost is None else f"lost {lost}"
        try:
            if lost != "before":
                act()
        except RestowError as error:
            outcome = str(error)
            raise
        finally:
            self._remember()
            if len(self.calls) < CALLS_MAX:
                self.calls.append(Call(moment_of(self._world.now), method, args, request_id, outcome))
        if lost is not None:
            raise LostAnswerError(f"no answer to {method} of {args[0]}")

    async def _slowly(self, method: str) -> None:
        if (seconds := self.trouble.delay_of(method)) > 0:
            await self._clock.sleep(seconds)

    def _catch_up(self) -> None:
        self._world.engine.advance(seconds_of(self._clock.now()), fired=self._remember)
        wanted = self.trouble.stale_s
        if wanted <= 0:
            self._past = None
        elif self._past is None or self._past.age_s != wanted:
            self._past = PastViews(self._view, self._world, age_s=wanted)

    def _remember(self) -> None:
        if self._past is not None:
            self._past.keep()


class SimulatedClouds:
    """Several domains, each a cloud of its own."""

    def __init__(self, clouds: Mapping[DomainName, SimulatedCloud]) -> None:
        self._clouds = dict(clouds)

    def domains(self) -> tuple[DomainName, ...]:
        return tuple(self._clouds)

    def port(self, domain: DomainName) -> SimulatedCloud:
        if domain not in self._clouds:
            raise NotFoundError(f"there is no domain {domain}; there are {', '.join(self._clouds)}")
        return self._clouds[domain]

    async def close(self) -> None:
        for cloud in self._clouds.values():
            await cloud.close()

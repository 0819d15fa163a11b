"""A simulated cloud that runs in another process, as an adapter of the cloud port."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from restow.cloud.model import Cloud, Host, Power, Resource, Server
from restow.cloud.permission import ask_permission
from restow.cloud.port import Heartbeat, Migration
from restow.cloud.simulated.cloud import Call
from restow.cloud.simulated.ledger import Broken, Held
from restow.cloud.simulated.wire import METHODS, cloud_of, error_of
from restow.cloud.snapshot import server_document
from restow.errors import LostAnswerError, NotFoundError, RestowError, TransientError
from restow.ids import DomainName, HostName, ServerId

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
CONNECTIONS_MAX = 50

# Nothing was sent: the same call may be made again without a look.
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class RemoteCloud:
    """CloudPort and FaultInjection for one domain."""

    def __init__(self, domain: DomainName, http: httpx2.AsyncClient) -> None:
        self._domain = domain
        self._http = http
        self.trouble = RemoteTrouble(self)

    @property
    def domain(self) -> DomainName:
        return self._domain

    async def close(self) -> None:
        """The connections belong to all domains."""

    async def read(self) -> Cloud:
        found: Cloud = await self.call("read")
        return found

    async def host(self, name: HostName) -> Host:
        found: Host = await self.call("host", name=name)
        return found

    async def server(self, server: ServerId) -> Server:
        found: Server = await self.call("server", server=server)
        return found

    async def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        found: Mapping[HostName, Mapping[Resource, int]] = await self.call("allocations", server=server)
        return found

    async def migrations(self, server: ServerId) -> Sequence[Migration]:
        found: Sequence[Migration] = await self.call("migrations", server=server)
        return found

    async def heartbeats(self) -> Sequence[Heartbeat]:
        found: Sequence[Heartbeat] = await self.call("heartbeats")
        return found

    async def power_state(self, host: HostName) -> Power:
        found: Power = await self.call("power_state", host=host)
        return found

    async def live_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self.call("live_migrate", server=server, to=to, request_id=request_id)

    async def cold_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self.call("cold_migrate", server=server, to=to, request_id=request_id)

    async def evacuate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self.call("evacuate", server=server, to=to, request_id=request_id)

    async def confirm_cold_migration(self, server: ServerId) -> None:
        await self.call("confirm_cold_migration", server=server)

    async def clear_error(self, server: ServerId) -> None:
        await self.call("clear_error", server=server)

    async def force_complete(self, server: ServerId, *, migration: str) -> None:
        await self.call("force_complete", server=server, migration=migration)

    async def abort_migration(self, server: ServerId, *, migration: str) -> None:
        await self.call("abort_migration", server=server, migration=migration)

    async def start(self, server: ServerId, *, on: HostName | None, request_id: str) -> None:
        await self.call("start", server=server, on=on, request_id=request_id)

    async def stop(self, server: ServerId, *, request_id: str) -> None:
        await self.call("stop", server=server, request_id=request_id)

    async def shelve(self, server: ServerId, *, request_id: str) -> None:
        await self.call("shelve", server=server, request_id=request_id)

    async def disable(self, host: HostName, *, reason: str) -> None:
        await self.call("disable", host=host, reason=reason)

    async def enable(self, host: HostName) -> None:
        await self.call("enable", host=host)

    async def force_down(self, host: HostName, *, down: bool) -> None:
        await self.call("force_down", host=host, down=down)

    async def power(self, host: HostName, *, on: bool) -> None:
        await self.call("power", host=host, on=on)

    async def inject(self, kind: str, host: HostName) -> None:
        await self.call("inject", kind=kind, host=host)

    async def clear_faults(self, host: HostName | None = None) -> None:
        await self.call("clear_faults", host=host)

    async def truth(self) -> dict[ServerId, frozenset[HostName]]:
        found: dict[ServerId, frozenset[HostName]] = await self.call("truth")
        return found

    async def violations(self) -> tuple[Broken, ...]:
        found: tuple[Broken, ...] = await self.call("violations")
        return found

    async def history(self) -> tuple[Held, ...]:
        found: tuple[Held, ...] = await self.call("history")
        return found

    async def calls(self) -> tuple[Call, ...]:
        found: tuple[Call, ...] = await self.call("calls")
        return found

    async def add_server(self, server: Server) -> None:
        await self.call("add_server", server=server_document(server))

    async def remove_server(self, server: ServerId) -> None:
        await self.call("remove_server", server=server)

    async def call(self, method: str, **arguments: Any) -> Any:
        """One call over the wire. Whether an action was taken is in doubt once it was sent."""
        known = METHODS[method]
        if known.acts:
            ask_permission()
        try:
            answer = await self._http.post(f"/v1/methods/{method}", params={"domain": self._domain}, json=arguments)
        except _NOT_SENT as error:
            raise TransientError(f"the simulated cloud is not reachable: {error}") from error
        except httpx2.HTTPError as error:
            text = f"no answer from the simulated cloud to {method}: {type(error).__name__} {error}"
            raise (LostAnswerError if known.acts else TransientError)(text) from error
        return _result(method, answer, acts=known.acts)


class RemoteTrouble:
    """What can be broken on purpose, as `Trouble` of the simulated cloud has it, but awaited."""

    def __init__(self, cloud: RemoteCloud) -> None:
        self._cloud = cloud

    async def slow_answers(self, seconds: float, methods: Sequence[str] = ("*",)) -> None:
        await self._cloud.call("slow_answers", seconds=seconds, methods=list(methods))

    async def lose_answers(self, times: int, *, when: str = "after", methods: Sequence[str] = ()) -> None:
        await self._cloud.call("lose_answers", times=times, when=when, methods=list(methods))

    async def refuse_reads(self, times: int) -> None:
        await self._cloud.call("refuse_reads", times=times)

    async def stale_reads(self, seconds: float) -> None:
        await self._cloud.call("stale_reads", seconds=seconds)

    async def never_converges(self, server: ServerId) -> None:
        await self._cloud.call("never_converges", server=server)

    async def fails(self, server: ServerId, *, why: str = "the copy failed", in_error: bool = False) -> None:
        await self._cloud.call("fails", server=server, why=why, in_error=in_error)

    async def break_fence(self, host: HostName, *, how: str = "ignored") -> None:
        await self._cloud.call("break_fence", host=host, how=how)

    async def mend_fence(self, host: HostName) -> None:
        await self._cloud.call("mend_fence", host=host)

    async def silence(self, source: str) -> None:
        await self._cloud.call("silence", source=source)

    async def hear(self, source: str) -> None:
        await self._cloud.call("hear", source=source)


class RemoteClouds:
    """All domains of a simulated cloud at `url`. Its domains are asked for once, when they are first needed."""

    def __init__(self, url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._timeout = httpx2.Timeout(answer_timeout_s, connect=CONNECT_TIMEOUT_S)
        # The machine's proxies are not for a cluster's own network.
        self._http = httpx2.AsyncClient(
            base_url=self._url,
            timeout=self._timeout,
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )
        self._ports: dict[DomainName, RemoteCloud] | None = None

    def domains(self) -> tuple[DomainName, ...]:
        """Raises TransientError while the simulated cloud is not there."""
        return tuple(self._known())

    def port(self, domain: DomainName) -> RemoteCloud:
        known = self._known()
        if domain not in known:
            raise NotFoundError(f"there is no domain {domain}; there are {', '.join(known)}")
        return known[domain]

    async def close(self) -> None:
        await self._http.aclose()

    def _known(self) -> dict[DomainName, RemoteCloud]:
        if self._ports is None:
            try:
                with httpx2.Client(timeout=self._timeout, trust_env=False) as http:
                    names = http.get(f"{self._url}/v1/domains").raise_for_status().json()["domains"]
            except (httpx2.HTTPError, ValueError, KeyError) as error:
                raise TransientError(
                    f"the simulated cloud at {self._url} does not tell its domains: {error}"
                ) from error
            self._ports = {DomainName(name): RemoteCloud(DomainName(name), self._http) for name in names}
        return self._ports


def _result(method: str, answer: httpx2.Response, *, acts: bool) -> Any:
    try:
        if method == "read" and answer.is_success:
            return cloud_of(answer.content)
        document = answer.json()
        if "error" in document:
            raise error_of(document["error"])
        return METHODS[method].read(document["result"])
    except RestowError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        text = f"the simulated cloud answered {method} with {answer.status_code} and no sense"
        raise (LostAnswerError if acts else TransientError)(text) from error

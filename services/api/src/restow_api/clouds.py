"""The clouds as people see them: read through the port, shared for a moment between all who ask."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace

from restow.cloud.model import Cloud, Host, Server
from restow.cloud.port import CloudPort, Clouds
from restow.errors import BadInputError, FieldError, NotFoundError, close_names
from restow.ids import DomainName, HostName, ServerId

Ordered = Callable[[DomainName], Awaitable[frozenset[str]]]


@dataclass(slots=True)
class CloudReads:
    """Reads each domain at most once in `cache_s` seconds, however many ask.

    `ordered`: the hosts of a domain that people have put in maintenance. The cloud itself knows of some of them only.
    """

    clouds: Clouds
    cache_s: float
    ordered: Ordered | None = None
    _kept: dict[DomainName, tuple[float, Cloud]] = field(default_factory=dict)
    _marked: dict[DomainName, tuple[Cloud, frozenset[str], Cloud]] = field(default_factory=dict)
    _locks: dict[DomainName, asyncio.Lock] = field(default_factory=dict)

    def domain(self, name: str | None, *, where: str = "domain") -> DomainName:
        """The domain of that name, or the only one. Raises BadInputError."""
        domains = self.clouds.domains()
        if name is None and len(domains) == 1:
            return domains[0]
        for one in domains:
            if one == name:
                return one
        given: object = "(absent)" if name is None else name
        raise BadInputError("request", (FieldError(where, given, "one of " + ", ".join(domains)),))

    def port(self, domain: DomainName) -> CloudPort:
        return self.clouds.port(domain)

    async def read(self, domain: DomainName) -> Cloud:
        """With every host in maintenance marked as such. Raises TransientError when the cloud does not answer."""
        cloud = await self._read(domain)
        hosts = frozenset[str]() if self.ordered is None else await self.ordered(domain)
        if not hosts:
            return cloud
        known = self._marked.get(domain)
        if known is None or known[0] is not cloud or known[1] != hosts:
            known = self._marked[domain] = (cloud, hosts, _in_maintenance(cloud, hosts))
        return known[2]

    async def _read(self, domain: DomainName) -> Cloud:
        loop = asyncio.get_running_loop()
        async with self._locks.setdefault(domain, asyncio.Lock()):
            kept = self._kept.get(domain)
            if kept is not None and loop.time() - kept[0] < self.cache_s:
                return kept[1]
            cloud = await self.clouds.port(domain).read()
            self._kept[domain] = (loop.time(), cloud)
            return cloud

    async def read_all(self, domain: str | None = None) -> tuple[Cloud, ...]:
        """One domain, or all. Raises BadInputError for a domain that is not ours."""
        wanted = self.clouds.domains() if domain is None else (self.domain(domain),)
        return tuple([await self.read(one) for one in wanted])

    def check_host(self, name: str, clouds: Iterable[Cloud], *, what: str) -> None:
        """Raises BadInputError for a host that none of these has: an empty answer would hide a typo."""
        known = frozenset(host for cloud in clouds for host in cloud.host_by_name)
        if name not in known:
            raise BadInputError(what, (FieldError("host", name, "the name of a host" + close_names(name, known)),))

    async def host(self, name: str, domain: str | None = None) -> tuple[Cloud, Host]:
        """Raises NotFoundError."""
        for cloud in await self.read_all(domain):
            host = cloud.host_by_name.get(HostName(name))
            if host is not None:
                return cloud, host
        raise NotFoundError(f"no host has the name {name!r}")

    async def server(self, server: str, domain: str | None = None) -> tuple[Cloud, Server]:
        """Raises NotFoundError."""
        for cloud in await self.read_all(domain):
            found = cloud.server_by_id.get(ServerId(server))
            if found is not None:
                return cloud, found
        raise NotFoundError(f"no server has the id {server!r}")


def _in_maintenance(cloud: Cloud, hosts: frozenset[str]) -> Cloud:
    marked = (replace(host, maintenance=host.maintenance or host.name in hosts) for host in cloud.hosts)
    return replace(cloud, hosts=tuple(marked))

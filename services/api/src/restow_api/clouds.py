"""The clouds as people see them: read through the port, shared for a moment between all who ask."""

import asyncio
from dataclasses import dataclass, field

from restow.cloud.model import Cloud, Host, Server
from restow.cloud.port import CloudPort, Clouds
from restow.errors import BadInputError, FieldError, NotFoundError
from restow.ids import DomainName, HostName, ServerId


@dataclass(slots=True)
class CloudReads:
    """Reads each domain at most once in `cache_s` seconds, however many ask."""

    clouds: Clouds
    cache_s: float
    _kept: dict[DomainName, tuple[float, Cloud]] = field(default_factory=dict)
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
        """Raises TransientError when the cloud does not answer."""
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

"""One domain of an OpenStack cloud as an adapter of the cloud port: a thin shell over threads."""

import asyncio
import contextvars
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from restow.clock import Clock
from restow.cloud.model import Cloud, Host, HostState, Power, Resource, Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.controllers import Controllers
from restow.cloud.openstack.doctor import Finding, Seen, findings
from restow.cloud.openstack.doing import Doer
from restow.cloud.openstack.evidence import power_words, probe_words, service_words, state_of
from restow.cloud.openstack.faults import readable
from restow.cloud.openstack.looking import Looker
from restow.cloud.openstack.metrics import Metrics
from restow.cloud.openstack.migrations import Requests
from restow.cloud.openstack.power import PowerDriver
from restow.cloud.openstack.reading import Reader, assemble
from restow.cloud.openstack.roster import Roster
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.cloud.port import Heartbeat, Migration
from restow.ids import DomainName, HostName, ServerId

T = TypeVar("T")

CROWDED_MAX = 50  # hosts whose claims are looked into one by one


class OpenStackCloud:
    """`shelved`: servers that are on no host belong to this domain. The pools are shared by all domains."""

    def __init__(
        self, domain: DomainName, api: Api, driver: PowerDriver, *, settings: OpenStackSettings,
        chosen: DomainSettings, shelved: bool, clock: Clock, pool: ThreadPoolExecutor, workers: ThreadPoolExecutor,
        asking: ThreadPoolExecutor, roster: Roster, metrics: Metrics | None,
    ) -> None:  # fmt: skip
        self._domain = domain
        self._driver = driver
        self._controllers = Controllers(driver, asking, clock)
        self._settings = settings
        self._shelved = shelved
        self._clock = clock
        self._pool = pool
        self._workers = workers
        requests = Requests()
        self._reader = Reader(api, settings, chosen, workers, roster=roster, metrics=metrics)
        self._looker = Looker(api, settings, self._reader, requests)
        self._doer = Doer(api, self._looker, requests)
        self.api = api

    @property
    def domain(self) -> DomainName:
        return self._domain

    async def close(self) -> None:
        """Threads and connections belong to all domains."""

    # --- reading ------------------------------------------------------------------------------------------------

    async def read(self) -> Cloud:
        return await self._in_thread(f"domain {self._domain}", self._read)

    async def host(self, name: HostName) -> Host:
        def look() -> Host:
            host = self._looker.host(name)
            if host.state is HostState.UP:
                return host
            return replace(host, power=self._powers([name]).get(name, host.power))

        return await self._in_thread(f"host {name}", look)

    async def server(self, server: ServerId) -> Server:
        return await self._in_thread(f"server {server}", lambda: self._looker.server(server))

    async def allocations(self, server: ServerId) -> Mapping[HostName, Mapping[Resource, int]]:
        return await self._in_thread(f"server {server}", lambda: self._looker.allocations(server))

    async def migrations(self, server: ServerId) -> Sequence[Migration]:
        return await self._in_thread(f"server {server}", lambda: self._looker.migrations(server))

    async def heartbeats(self) -> Sequence[Heartbeat]:
        return await self._in_thread("heartbeats", self._heartbeats)

    async def power_state(self, host: HostName) -> Power:
        def look() -> Power:
            self._looker.service(host)
            return state_of(self._driver, host)

        return await self._in_thread(f"power of {host}", look)

    # --- acting -------------------------------------------------------------------------------------------------

    async def live_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.live_migrate(server, to, request_id))

    async def cold_migrate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.cold_migrate(server, to, request_id))

    async def confirm_cold_migration(self, server: ServerId) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.confirm(server))

    async def clear_error(self, server: ServerId) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.clear_error(server))

    async def evacuate(self, server: ServerId, *, to: HostName, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.evacuate(server, to, request_id))

    async def abort_migration(self, server: ServerId, *, migration: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.abort(server, migration))

    async def force_complete(self, server: ServerId, *, migration: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.force_complete(server, migration))

    async def start(self, server: ServerId, *, on: HostName | None, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.start(server, on, request_id))

    async def stop(self, server: ServerId, *, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.stop(server, request_id))

    async def shelve(self, server: ServerId, *, request_id: str) -> None:
        await self._in_thread(f"server {server}", lambda: self._doer.shelve(server, request_id))

    async def disable(self, host: HostName, *, reason: str) -> None:
        await self._in_thread(f"host {host}", lambda: self._doer.disable(host, reason))

    async def enable(self, host: HostName) -> None:
        await self._in_thread(f"host {host}", lambda: self._doer.enable(host))

    async def force_down(self, host: HostName, *, down: bool) -> None:
        await self._in_thread(f"host {host}", lambda: self._doer.force_down(host, down=down))

    async def power(self, host: HostName, *, on: bool) -> None:
        def switch() -> None:
            self._looker.service(host)
            self._driver.switch(host, on=on)

        await self._in_thread(f"power of {host}", switch)

    # --- for people ---------------------------------------------------------------------------------------------

    async def examine(self) -> tuple[Finding, ...]:
        """What can be seen and done here; nothing is changed."""
        return await self._in_thread(f"domain {self._domain}", self._examine)

    # --- the shell ----------------------------------------------------------------------------------------------

    def _read(self) -> Cloud:
        taken_at = self._clock.now()
        answers = self._reader.answers(self._reader.ask())
        self._looker.remember(answers.nodes)
        cloud = assemble(
            answers, self._settings, domain=self._domain, taken_at=taken_at, shelved=self._shelved,
            powers=self._powers(HostName(one["host"]) for one in answers.services if not _reports(one)),
        )  # fmt: skip
        self._looker.resources = cloud.resources
        return cloud

    def _examine(self) -> tuple[Finding, ...]:
        versions = {service: self.api.version(service) for service in ("compute", "placement")}
        answers = self._reader.answers(self._reader.ask())
        self._looker.remember(answers.nodes)
        cloud = assemble(
            answers, self._settings, domain=self._domain, taken_at=self._clock.now(), shelved=self._shelved, powers={}
        )
        names = [host.name for host in cloud.hosts]
        crowded = [
            node for node in answers.nodes
            if (host := cloud.host_by_name.get(node.host)) and node.uuid in answers.providers
            and any(amount < answers.providers[node.uuid].capacity.get(one, 0) for one, amount in host.capacity.items())
        ]  # fmt: skip
        held = self._workers.map(self._looker.stale_on, crowded[:CROWDED_MAX])
        powers = self._workers.map(lambda host: state_of(self._driver, host), names)
        now, hosts = self._clock.now(), frozenset(names)
        probes = {
            probe.source: probe_words(probe, hosts, now=now) for probe in self._settings.probes
        }  # one after the other: a person waits, and sees their warnings in order
        seen = Seen(
            cloud=cloud, services=answers.services, nodes=answers.nodes, versions=versions,
            words=(*service_words(answers.services, now=now), *(word for words in probes.values() for word in words)),
            powers=dict(zip(names, powers, strict=True)),
            told={source: frozenset(word.host for word in words) for source, words in probes.items()},
            held={node.host: found for node, found in zip(crowded, held, strict=False) if found},
            moves=self._looker.recent_moves(), roles=self.api.roles(), loads=answers.loads,
            cpu_models={node.host: node.cpu_model for node in answers.nodes if node.host in hosts and node.cpu_model},
            now=now,
        )  # fmt: skip
        return findings(seen, self._settings)

    def _powers(self, hosts: Iterable[HostName]) -> dict[HostName, Power]:
        """Of hosts that do not report: one that was switched off to save power looks like one that died."""
        return {host: word.power for host, word in self._controllers.told(hosts).items()}

    def _heartbeats(self) -> tuple[Heartbeat, ...]:
        now = self._clock.now()
        services = self._reader.heard()
        words = service_words(services, now=now)
        hosts = frozenset(word.host for word in words)
        probes = self._workers.map(lambda probe: probe_words(probe, hosts, now=now), self._settings.probes)
        words += [word for one in probes for word in one]
        silent = [word.host for word in words if not word.alive]
        words += power_words(self._controllers.told(dict.fromkeys(silent)))
        return tuple(words)

    async def _in_thread(self, what: str, work: Callable[[], T]) -> T:
        """`what`: is looked at. Whatever changes the cloud parses nothing after it was sent."""
        context = contextvars.copy_context()  # logs of the thread belong to the event at hand, and so does permission

        def within() -> T:
            with readable(what):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(within))


def _reports(service: Mapping[str, Any]) -> bool:
    return bool(service["state"] == "up" and not service.get("forced_down"))

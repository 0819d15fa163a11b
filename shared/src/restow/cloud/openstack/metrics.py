"""Measured loads: from Prometheus, or whatever answers its instant queries (Thanos, Mimir, Aetos).

The names of metrics are data: a profile is four queries and the labels of their answers. Four calls, however many
servers there are.
"""

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import structlog
from openstack.connection import Connection

from restow.cloud.openstack.settings import MetricsSettings
from restow.errors import PermanentError, RestowError, TransientError
from restow.ids import HostName, ServerId

CPU, MEMORY = "cpu_cores", "memory_mib"
HOST_CPU, HOST_MEMORY, SERVER_CPU, SERVER_MEMORY = "host_cpu", "host_memory", "server_cpu", "server_memory"
_NODE_EXPORTER = {
    HOST_CPU: 'sum by ({host}) (rate(node_cpu_seconds_total{{mode!~"idle|iowait|steal"}}[5m]))',
    HOST_MEMORY: "(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) / 1048576",
}
_IN_LIBVIRT = "* on (instance, domain) group_left ({server}) libvirt_domain_openstack_info"
# Cores and MiB. `{host}` and `{server}` are the labels that name a host and a server's id.
PROFILES: Mapping[str, Mapping[str, str]] = {
    "ceilometer": {
        **_NODE_EXPORTER,
        SERVER_CPU: "sum by ({server}) (rate(ceilometer_cpu[10m])) / 1e9",
        SERVER_MEMORY: "max by ({server}) (ceilometer_memory_usage)",
    },
    "libvirt": {
        **_NODE_EXPORTER,
        SERVER_CPU: f"sum by ({{server}}) (rate(libvirt_domain_info_cpu_time_seconds_total[5m]) {_IN_LIBVIRT})",
        SERVER_MEMORY: f"max by ({{server}}) (libvirt_domain_info_memory_usage_bytes {_IN_LIBVIRT}) / 1048576",
    },
}
SERVER_LABELS = {"ceilometer": "resource", "libvirt": "instance_id"}

log = structlog.get_logger(__name__)

Load = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Loads:
    """Of those that tell: cores and MiB in use. `trouble`: why nothing, or not everything, is known."""

    hosts: Mapping[HostName, Load] = field(default_factory=dict)
    servers: Mapping[ServerId, Load] = field(default_factory=dict)
    trouble: str = ""


class Metrics:
    """Blocking. A source that does not answer says nothing: loads are then not known, and nothing else is lost."""

    def __init__(self, connection: Connection, settings: MetricsSettings) -> None:
        self._session = connection.session
        self._settings = settings

    def loads(self, hosts: Iterable[str], workers: Executor) -> Loads:
        """`hosts`: the names that Nova knows. Never called from one of the workers."""
        queries = queries_of(self._settings)
        asked = [workers.submit(self._told, name, query) for name, query in queries.items()]
        told: dict[str, dict[str, float]] = {}
        troubles = []
        for name, one in zip(queries, asked, strict=True):
            try:
                told[name] = one.result()
            except RestowError as error:
                troubles.append(str(error))
        if troubles:
            log.warning("loads are not all known", error=troubles[0])
        return Loads(
            hosts=_by_host(hosts, told.get(HOST_CPU, {}), told.get(HOST_MEMORY, {})),
            servers={
                ServerId(name): load
                for name, load in _joined(told.get(SERVER_CPU, {}), told.get(SERVER_MEMORY, {})).items()
            },
            trouble=troubles[0] if troubles else "",
        )

    def _told(self, name: str, query: str) -> dict[str, float]:
        """The values of one query by the label that counts."""
        label = self._settings.host_label if name in (HOST_CPU, HOST_MEMORY) else _server_label(self._settings)
        found: dict[str, float] = {}
        for series in self._ask(query):
            try:
                key, value = str(series["metric"].get(label, "")), float(series["value"][1])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise TransientError(f"{self._settings.url} answered {name} with no vector") from error
            if key and math.isfinite(value) and value >= 0:
                found[key] = value
        return found

    def _ask(self, query: str) -> list[Any]:
        settings = self._settings
        what = f"metrics at {settings.url}"
        headers = {}
        try:
            if settings.token_file:
                headers["Authorization"] = f"Bearer {Path(settings.token_file).read_text(encoding='utf-8').strip()}"
            response = self._session.get(
                f"{settings.url.rstrip('/')}/api/v1/query", params={"query": query}, headers=headers,
                authenticated=settings.keystone, raise_exc=False, connect_retries=0, timeout=settings.timeout_s,
            )  # fmt: skip
        except OSError as error:
            raise PermanentError(f"{what}: {error}") from error
        except Exception as error:
            raise TransientError(f"{what}: {' '.join(str(error).split())[:300]}") from error
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise TransientError(f"{what}: answer {response.status_code}, no JSON") from error
        if response.status_code != 200 or document.get("status") != "success":
            raise TransientError(f"{what}: answer {response.status_code}, {str(document.get('error', ''))[:300]}")
        result = document["data"]["result"]
        return result if isinstance(result, list) else []


def queries_of(settings: MetricsSettings) -> dict[str, str]:
    """PromQL by what it tells: the profile's, unless the settings have their own. Pure."""
    labels = {"host": settings.host_label, "server": _server_label(settings)}
    queries = {name: query.format(**labels) for name, query in PROFILES[settings.profile].items()}
    queries.update((str(name), query) for name, query in settings.queries.items())
    return queries


def _server_label(settings: MetricsSettings) -> str:
    return settings.server_label or SERVER_LABELS[settings.profile]


def _joined(cpu: Mapping[str, float], memory: Mapping[str, float]) -> dict[str, Load]:
    found: dict[str, dict[str, float]] = {name: {CPU: value} for name, value in cpu.items()}
    for name, value in memory.items():
        found.setdefault(name, {})[MEMORY] = value
    return dict(found)


def _by_host(hosts: Iterable[str], cpu: Mapping[str, float], memory: Mapping[str, float]) -> dict[HostName, Load]:
    """By Nova's names. An exporter tells a host's with a port, and with its domain or without.

    One that is not as Nova has it counts by its first part, if that is no other host's.
    """
    told = {name.rsplit(":", 1)[0]: load for name, load in _joined(cpu, memory).items()}
    short: dict[str, list[str]] = {}
    for name in told:
        short.setdefault(name.split(".", maxsplit=1)[0], []).append(name)
    found: dict[HostName, Load] = {}
    for host in hosts:
        alike = [host] if host in told else short.get(host.split(".", maxsplit=1)[0], [])
        if len(alike) == 1:
            found[HostName(host)] = told[alike[0]]
    return found

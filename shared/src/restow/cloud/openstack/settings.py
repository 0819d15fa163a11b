"""What Restow must know of an OpenStack cloud beyond clouds.yaml: its domains, its board controllers, its probes."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from restow.cloud.documents import RuleDocument
from restow.errors import BadInputError, FieldError
from restow.messages.base import Message, parse

SETTINGS_FILE = "RESTOW_OPENSTACK_FILE"


class DomainSettings(Message):
    """The hosts that are planned together. Each list that is given narrows the choice; names may hold * and ?."""

    region: str | None = None
    hosts: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def has(self, host: str, *, zone: str | None) -> bool:
        return self.may_have(host) and (not self.zones or zone in self.zones)

    def may_have(self, host: str) -> bool:
        """By its name alone."""
        return not self.hosts or any(fnmatchcase(host, pattern) for pattern in self.hosts)


class Controller(Message):
    """One host's board controller, for redfish and ipmi. The password is in a file of its own."""

    address: str
    username: str = ""
    password_file: str = ""
    system: str = ""  # Redfish: the path of the system, where a controller has several
    verify_tls: bool = True


class PowerSettings(Message):
    """How hosts are switched off and on, and asked whether they are.

    `command` is given HOST and one of on, off, status; for status it prints on, off or unknown.
    """

    driver: Literal["none", "redfish", "ironic", "ipmi", "command"] = "none"
    command: tuple[str, ...] = ()
    controllers: dict[str, Controller] = Field(default_factory=dict)
    timeout_s: float = Field(default=20.0, gt=0, le=300)

    @model_validator(mode="after")
    def _complete(self) -> "PowerSettings":
        if self.driver == "command" and not self.command:
            raise ValueError("a command for the driver command")
        if self.driver in ("redfish", "ipmi") and not self.controllers:
            raise ValueError(f"controllers by host for the driver {self.driver}")
        return self


class ProbeSettings(Message):
    """One more source of evidence: a command that prints a JSON object of hosts, true for those that live."""

    source: Literal["management-network", "storage", "tenant-network"]
    command: tuple[str, ...] = Field(min_length=1)
    timeout_s: float = Field(default=10.0, gt=0, le=60)


class MetricsSettings(Message):
    """Where measured loads are: Prometheus, or what answers its instant queries.

    `queries` replace those of the profile: host_cpu, server_cpu (cores), host_memory, server_memory (MiB).
    """

    url: str = Field(pattern=r"^https?://")
    profile: Literal["ceilometer", "libvirt"] = "libvirt"
    host_label: str = Field(default="instance", pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")
    server_label: str = Field(default="", pattern=r"^([a-zA-Z_][a-zA-Z0-9_]*)?$")
    queries: dict[Literal["host_cpu", "host_memory", "server_cpu", "server_memory"], str] = Field(default_factory=dict)
    keystone: bool = False  # with a token of Keystone, as Aetos wants it
    token_file: str = ""
    timeout_s: float = Field(default=15.0, gt=0, le=120)


class OpenStackSettings(Message):
    """`domains` empty: one for each region, with all its hosts."""

    format: Literal["restow.openstack/1"] = "restow.openstack/1"
    domains: dict[str, DomainSettings] = Field(default_factory=dict)
    power: PowerSettings = PowerSettings()
    probes: tuple[ProbeSettings, ...] = ()
    rules: tuple[RuleDocument, ...] = Field(
        default=(),
        description="as in restow.cloud/1; hosts by name with * and ?, servers by id or by KEY=VALUE of their metadata",
    )
    metrics: MetricsSettings | None = None
    disks: Literal["local", "shared"] = Field(
        default="local", description="where the disks of servers are that are not volumes; Nova does not tell"
    )
    threads: int = Field(default=8, ge=1, le=64, description="calls at once, in all domains together")
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60)
    answer_timeout_s: float = Field(default=60.0, gt=0, le=600)
    page: int = Field(default=1000, ge=1, le=10_000, description="servers asked for at once; Nova may give fewer")
    whole_read_s: float = Field(
        default=600.0,
        ge=0,
        le=86_400,
        description="all servers are read at least so often; between, those that changed",
    )
    rack_key: str = Field(default="rack", description="the metadata of an aggregate that names a rack")
    priority_key: str = Field(default="restow_priority", description="the metadata of a server with its priority")


def read_file(name: str) -> OpenStackSettings:
    """The settings in this file of YAML; the default without a name. Raises BadInputError."""
    if not name:
        return OpenStackSettings()
    try:
        document: Any = yaml.safe_load(Path(name).read_bytes())
    except OSError as error:
        raise _wrong(name, f"a readable file ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise _wrong(name, f"YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(document, dict):
        raise _wrong(name, "a mapping with format: restow.openstack/1")
    return parse(OpenStackSettings, document, what=name)


def _wrong(name: str, expected: str) -> BadInputError:
    return BadInputError("settings", (FieldError(SETTINGS_FILE, name, expected),))

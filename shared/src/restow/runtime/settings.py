"""The settings that all services share, read once from `RESTOW_…` variables, frozen, checked."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from restow.errors import BadInputError, FieldError

PREFIX = "RESTOW_"
# what services, adapters and the command read by themselves, in whichever container it is set
READ_ELSEWHERE = frozenset({
    "RESTOW_API_KEYS_FILE", "RESTOW_CHECK_TIMEOUT_S", "RESTOW_CLOUD_CACHE_S", "RESTOW_COOKIE_SECURE",
    "RESTOW_DETECTOR_LEASE_S", "RESTOW_EVENT_HEARTBEAT_S", "RESTOW_EVENT_STREAMS_MAX", "RESTOW_EXECUTOR_IDLE_S",
    "RESTOW_EXECUTOR_LEASE_TTL_S", "RESTOW_HTTP_BODY_MAX_BYTES", "RESTOW_IDEMPOTENCY_KEPT_S", "RESTOW_KEY",
    "RESTOW_OPENSTACK_FILE", "RESTOW_SECOND_PAIR_OF_EYES", "RESTOW_SESSION_KEPT_S", "RESTOW_URL",
})  # fmt: skip
# Kubernetes tells each container the addresses of the services of its namespace, named after them
OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)=|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=|_PORT=(tcp|udp|sctp)://")
KAFKA_NAME = r"[A-Za-z0-9._-]*"


def default_data_dir() -> Path:
    """Where `restow up` keeps its things unless told otherwise."""
    return Path.home() / ".local" / "share" / "restow"


def _readable(file: Path) -> Path:
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise ValueError(f"a readable file ({error.strerror})") from error


File = Annotated[Path, AfterValidator(_readable)]


class Settings(BaseSettings):
    """Each field is the variable `RESTOW_` + its name in capitals. An empty `kafka_bootstrap`: the embedded log."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    database_url: SecretStr | None = None
    kafka_bootstrap: str = ""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_password_file: File | None = None
    kafka_ca_file: File | None = None
    kafka_cert_file: File | None = None
    kafka_key_file: File | None = None
    kafka_topic_prefix: str = Field(default="", pattern=f"^{KAFKA_NAME}$", max_length=200)
    kafka_group_prefix: str = Field(default="restow.", pattern=f"^{KAFKA_NAME}$", max_length=200)
    kafka_create_topics: bool = True
    kafka_partitions: int = Field(default=12, ge=1, le=10_000)
    kafka_replication: int = Field(default=1, ge=1, le=10)
    kafka_telemetry_hours: int = Field(default=24, ge=1)
    kafka_commands_hours: int = Field(default=7 * 24, ge=1)
    kafka_healing_hours: int = Field(default=28 * 24, ge=1)
    kafka_dead_hours: int = Field(default=28 * 24, ge=1)
    cloud: str = "simulated:"
    domains: str = ""
    policy_file: File | None = None
    data_dir: Path = Field(default_factory=default_data_dir)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    http_host: str = "0.0.0.0"  # noqa: S104  (in a container the probes come from outside; `up` has its own default)
    http_port: int = Field(default=8080, ge=0, le=65535)
    otlp_endpoint: str = ""
    blocking_threads: int = Field(default=4, ge=1, le=256)
    start_timeout_s: float = Field(default=60.0, ge=0)
    stop_delay_s: float = Field(default=0.0, ge=0, le=600)
    drain_timeout_s: float = Field(default=25.0, ge=0)

    @field_validator("kafka_bootstrap")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in filter(None, (part.strip() for part in value.split(","))):
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError("HOST:PORT, several separated by commas")
        return value.strip()

    @field_validator("otlp_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("an address that begins with http:// or https://, or nothing")
        return value

    @model_validator(mode="after")
    def _secrets(self) -> "Settings":
        if self.kafka_security_protocol.startswith("SASL") and (self.kafka_username is None or not self.password()):
            raise ValueError(
                "RESTOW_KAFKA_USERNAME and RESTOW_KAFKA_PASSWORD (or RESTOW_KAFKA_PASSWORD_FILE) "
                f"for RESTOW_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}"
            )
        return self

    def password(self) -> str | None:
        if self.kafka_password_file is not None:
            return self.kafka_password_file.read_text().strip()
        return None if self.kafka_password is None else self.kafka_password.get_secret_value()

    def database(self) -> str:
        """The database's URL. Raises BadInputError if there is none."""
        if self.database_url is None or not self.database_url.get_secret_value():
            raise BadInputError(
                "settings", (FieldError("RESTOW_DATABASE_URL", "(absent)", "postgresql://… or sqlite:///FILE"),)
            )
        return self.database_url.get_secret_value()

    def domain_names(self) -> tuple[str, ...]:
        """The domains to look after; empty: all that the cloud has."""
        return tuple(filter(None, (name.strip() for name in self.domains.split(","))))


def read_settings(environment: Mapping[str, str], **given: Any) -> Settings:
    """The settings from these variables; `given` wins. Raises BadInputError that names each wrong variable."""
    names = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    values = {names[key]: value for key, value in environment.items() if key in names and value != ""}
    try:
        return Settings(**{**values, **given})
    except ValidationError as error:
        raise BadInputError("settings", tuple(_variable(line) for line in error.errors(include_url=False))) from error


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like ours and that nobody reads, each with the closest name that is read, or nothing."""
    known = READ_ELSEWHERE | {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    found = {}
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in known and not OF_KUBERNETES.search(f"{name}={value}"):
            found[name] = next(iter(difflib.get_close_matches(name, sorted(known), n=1)), "")
    return found


def _variable(line: Any) -> FieldError:
    name = str(line["loc"][0]) if line["loc"] else ""
    secret = "password" in name or "database" in name
    expected = line["msg"].removeprefix("Value error, ")
    if not name:
        return FieldError("RESTOW_KAFKA_USERNAME", "(absent)", expected)
    return FieldError(f"{PREFIX}{name.upper()}", "(hidden)" if secret else line.get("input"), expected)

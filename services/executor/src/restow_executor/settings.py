"""The executor's own settings, read once from the environment; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from restow.errors import BadInputError, FieldError

LEASE_TTL = "RESTOW_EXECUTOR_LEASE_TTL_S"
IDLE = "RESTOW_EXECUTOR_IDLE_S"


@dataclass(frozen=True, slots=True)
class Settings:
    """In seconds of the service's clock. `lease_ttl_s`: for how long a silent executor keeps its domain.

    `idle_s`: a bound on the wait for work that another process put on record; work of this process wakes at once.
    """

    lease_ttl_s: float = 10.0
    idle_s: float = 2.0


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Raises BadInputError that names the variable."""
    default = Settings()
    return Settings(
        lease_ttl_s=_seconds(environment, LEASE_TTL, default.lease_ttl_s, least=1.0),
        idle_s=_seconds(environment, IDLE, default.idle_s, least=0.1),
    )


def _seconds(environment: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = environment.get(name)
    if text is None:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= 3600.0:
        raise BadInputError("settings", (FieldError(name, text, f"seconds from {least:g} to 3600"),))
    return seconds

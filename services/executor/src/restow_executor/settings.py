"""The executor's own settings, read once from the environment; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from restow.errors import BadInputError, FieldError

LEASE_TTL = "RESTOW_EXECUTOR_LEASE_TTL_S"


@dataclass(frozen=True, slots=True)
class Settings:
    """`lease_ttl_s`: for how long a silent executor keeps its domain, in seconds of the service's clock."""

    lease_ttl_s: float = 10.0


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Raises BadInputError that names the variable."""
    text = environment.get(LEASE_TTL)
    if text is None:
        return Settings()
    try:
        ttl_s = float(text)
    except ValueError:
        ttl_s = 0.0
    if not 1.0 <= ttl_s <= 3600.0:
        raise BadInputError("settings", (FieldError(LEASE_TTL, text, "seconds from 1 to 3600"),))
    return Settings(lease_ttl_s=ttl_s)

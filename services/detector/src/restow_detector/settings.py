"""The detector's settings, read once from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from restow.errors import BadInputError, FieldError


@dataclass(frozen=True, slots=True)
class Settings:
    """`policy_file`: a restow.policy/1 that is read again when it changes; None: policies come by command only."""

    policy_file: Path | None = None
    lease_ttl_s: float = 60.0


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Raises BadInputError that names the variable."""
    file, ttl = environment.get("RESTOW_POLICY_FILE", ""), environment.get("RESTOW_DETECTOR_LEASE_S", "60")
    try:
        lease_ttl_s = float(ttl)
    except ValueError:
        lease_ttl_s = 0.0
    if not 1.0 <= lease_ttl_s <= 3600.0:
        raise BadInputError("settings", (FieldError("RESTOW_DETECTOR_LEASE_S", ttl, "seconds, from 1 to 3600"),))
    return Settings(Path(file) if file else None, lease_ttl_s)

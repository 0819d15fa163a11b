"""The api's own settings, read once from `RESTOW_…` variables; pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from restow.errors import BadInputError, FieldError


class ApiSettings(BaseModel):
    """Each field is the variable `RESTOW_` + its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    second_pair_of_eyes: bool = False
    http_body_max_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 4 << 20
    idempotency_kept_s: Annotated[float, Field(gt=0, le=31 * 86400)] = 86400.0
    session_kept_s: Annotated[float, Field(ge=60, le=31 * 86400)] = 12 * 3600.0
    cookie_secure: bool = False
    event_streams_max: Annotated[int, Field(ge=1, le=10_000)] = 200
    event_heartbeat_s: Annotated[float, Field(ge=1, le=300)] = 15.0
    cloud_cache_s: Annotated[float, Field(ge=0, le=300)] = 2.0
    check_timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    api_keys_file: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadInputError that names the variable."""
        given = {
            name: environment[f"RESTOW_{name.upper()}"]
            for name in cls.model_fields
            if environment.get(f"RESTOW_{name.upper()}")
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise BadInputError(
                "settings",
                tuple(
                    FieldError(f"RESTOW_{str(line['loc'][0]).upper()}", line.get("input"), line["msg"])
                    for line in error.errors(include_url=False)
                ),
            ) from error

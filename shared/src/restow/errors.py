"""The two kinds of error that cross a border, and bad input with its fields; pure."""

import difflib
from collections.abc import Collection
from dataclasses import dataclass


class RestowError(Exception):
    """Base of all errors that Restow raises on purpose."""


class TransientError(RestowError):
    """It may work later: the same call is worth another try."""


class LostAnswerError(TransientError):
    """The call may or may not have been carried out: look before asking again."""


class PermanentError(RestowError):
    """Trying again is useless: the cloud or the caller must change first."""


class CredentialError(PermanentError):
    """The other side refuses who we are or our roles: nothing was done, and nothing is known, until that is mended."""


class NotFoundError(PermanentError):
    """The named host, server or record does not exist."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of an input: where it stands, what was given, what is expected."""

    field: str
    value: object
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: got {_shortened(self.value)}, expected {self.expected}"


class BadInputError(RestowError):
    """Input that is refused; carries every wrong field that was found."""

    def __init__(self, what: str, errors: tuple[FieldError, ...]) -> None:
        self.what = what
        self.errors = errors
        super().__init__(f"{what}: " + "; ".join(str(error) for error in errors))


def _shortened(value: object, *, length_max: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


NAMES_SHOWN = 3


def close_names(name: str, known: Collection[str]) -> str:
    """A hint to add to what is expected: the closest names, or all if they are few."""
    close = difflib.get_close_matches(name[:255], known, n=NAMES_SHOWN, cutoff=0.6)
    if close:
        return "; the closest: " + ", ".join(close)
    if known and len(known) <= NAMES_SHOWN * 2:
        return "; there is " + ", ".join(sorted(known))
    return ""

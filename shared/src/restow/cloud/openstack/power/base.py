"""What is asked of a board controller. Blocking; every call has a bound on its time."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from restow.cloud.model import Power
from restow.errors import PermanentError, TransientError
from restow.ids import HostName


class PowerDriver(Protocol):
    """Errors: TransientError (it does not answer), CredentialError (it refuses us), PermanentError (there is none)."""

    def switch(self, host: HostName, *, on: bool) -> None:
        """Ask for it at once, without a clean shutdown: a fence must not wait for a host that hangs.

        Permission is asked just before.
        """

    def state(self, host: HostName) -> Power:
        """What the controller says now; UNKNOWN is what it says while it is not sure."""


class NoPower:
    """No controller is known: nothing can be fenced, and nothing is said to be off."""

    def switch(self, host: HostName, *, on: bool) -> None:
        del on
        raise PermanentError(f"no board controller of {host} is known: see power in RESTOW_OPENSTACK_FILE")

    def state(self, host: HostName) -> Power:
        del host
        return Power.UNKNOWN


def run(command: Sequence[str], *, timeout_s: float, what: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of a program without a shell. Raises TransientError with the end of what it complained of."""
    try:
        done = subprocess.run(  # noqa: S603  (the operator's own program, by the operator's own settings)
            list(command), capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
            env=None if environment is None else dict(environment),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise PermanentError(f"{what}: there is no program {command[0]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransientError(f"{what}: no answer within {timeout_s:g} s ({type(error).__name__})") from error
    if done.returncode != 0:
        raise TransientError(f"{what}: {command[0]} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def power_of(text: str) -> Power:
    """The last word of what was printed, if it is one that we know."""
    words = text.lower().split()
    return Power(words[-1]) if words and words[-1] in ("on", "off") else Power.UNKNOWN

"""Permission to act: what must still hold at the very moment when a change is sent to a cloud.

Whoever holds the lease of a domain says so once; the adapters ask immediately before they send. What was decided may
have waited for a thread, a look or a token meanwhile, and another process may act by now.
"""

from collections.abc import Callable
from contextvars import ContextVar


def _always() -> None:
    """Nobody else acts: a test, or a person at a prompt."""


_holds: ContextVar[Callable[[], None]] = ContextVar("permission to act", default=_always)


def act_only_while(holds: Callable[[], None]) -> None:
    """For this task and all that it starts, threads of adapters included: `holds` raises where nothing may be sent."""
    _holds.set(holds)


def ask_permission() -> None:
    """Raises what the holder's check raises; the adapter lets it pass."""
    _holds.get()()

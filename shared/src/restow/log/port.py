"""The log as its users see it: handlers that take events, consumers that bring them."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from restow.database.engine import Transaction
from restow.messages.events import Event, Topic

Effect = Callable[[Transaction], Awaitable[None]]


class Handler(Protocol):
    """One consumer group's work.

    `handle` reads and decides outside any transaction (it may be slow)
    and returns what is to be written; the effect, its events and the note that the event was
    seen are one transaction. Delivered twice, done once.

    `handle` raises TransientError (tried again, bounded) or PermanentError (set aside at once).
    """

    @property
    def group(self) -> str: ...

    @property
    def topics(self) -> frozenset[Topic]: ...

    async def handle(self, event: Event) -> Effect | None:
        """None: this event is no business of ours."""


class Consumer(Protocol):
    """Brings events to handlers, per domain in order."""

    async def run(self, handler: Handler) -> None:
        """Go on until cancelled, or until `drain` was called and the event at hand is done."""

    def drain(self) -> None:
        """Take no more events, for any handler."""

"""What a service is to the runtime: handlers, loops, checks and perhaps an HTTP app; and what it is given.

Services are found by entry points in group `restow.services`; each names `build(context) -> Service`.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from restow.clock import Clock
from restow.cloud.port import Clouds
from restow.database.engine import Database
from restow.log.port import Handler

T = TypeVar("T")


class Blocking(Protocol):
    """Runs blocking code away from the event loop; simulations run it in place."""

    async def __call__(self, work: Callable[[], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Context:
    """All that the outside gives to a service. `instance` names this process, unique in the installation."""

    clock: Clock
    database: Database
    clouds: Clouds
    blocking: Blocking
    instance: str
    new_id: Callable[[], str]  # for what starts outside the log; effects derive their ids from their cause
    environment: dict[str, str] = field(default_factory=dict)  # what the service's own settings are read from


@dataclass(frozen=True, slots=True)
class Loop:
    """Work that goes on until cancelled. If it raises, the service stops: its supervisor starts it anew."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    handlers: tuple[Handler, ...] = ()
    loops: tuple[Loop, ...] = ()
    checks: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = ()  # raise: not ready, and why
    app: Any = None  # an ASGI app, if it has one

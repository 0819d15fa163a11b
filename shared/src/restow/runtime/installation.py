"""The services of one process: built from their entry points, started, drained, killed, revived.

It owns no socket and reads no environment, so the same class runs in a container, under `restow up`
and in a simulation on virtual time.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import structlog

from restow import __version__, metrics
from restow.database.leases import release_all
from restow.errors import BadInputError, FieldError, RestowError
from restow.log.delivery import Delivery
from restow.log.embedded import EmbeddedLog
from restow.log.port import Consumer
from restow.runtime.service import Context, Loop, Service

SERVICES_GROUP = "restow.services"
DRAIN_S = 30.0  # what a handler may take to end once we are asked to stop
CANCEL_S = 10.0  # what a cancelled loop may take to put its things away

log = structlog.get_logger(__name__)

Check = tuple[str, Callable[[], Awaitable[None]]]


class LoopDiedError(RestowError):
    """A loop or consumer of a service ended by itself: the process must stop, its supervisor starts it anew."""


def installed() -> dict[str, EntryPoint]:
    """The services that are installed, by name, in the order of their names."""
    found = {point.name: point for point in entry_points(group=SERVICES_GROUP)}
    return {name: found[name] for name in sorted(found)}


def builder(name: str) -> Callable[[Context], Service]:
    """What builds the service of that name. Raises BadInputError if none such is installed."""
    services = installed()
    if name not in services:
        expected = "one of " + (", ".join(services) or "(no service is installed)")
        raise BadInputError("service", (FieldError("SERVICE", name, expected),))
    found: Callable[[Context], Service] = services[name].load()
    return found


class Installation:
    """All services of this process on one log.

    `names`: which services (default: all that are installed), built by their entry points or by `builders`.
    `consumer`: the log (default: the embedded one). `loops` and `checks` are those of the process itself, the
    relay for example; `settle` is awaited at the end, when the services have stopped and those loops still run.
    """

    def __init__(
        self,
        context: Context,
        *,
        names: Sequence[str] | None = None,
        consumer: Consumer | None = None,
        loops: Iterable[Loop] = (),
        checks: Iterable[Check] = (),
        settle: Callable[[], Awaitable[object]] | None = None,
        builders: Mapping[str, Callable[[Context], Service]] | None = None,
    ) -> None:
        self.context = context
        self.consumer: Consumer = consumer or EmbeddedLog(context.database, Delivery(context.database, context.clock))
        given = {} if builders is None else dict(builders)
        self.names = tuple(given or installed()) if names is None else tuple(names)
        self._builders = {name: given[name] if name in given else builder(name) for name in self.names}
        self.services: dict[str, Service] = {}
        self._own_loops = tuple(loops)
        self._own_checks = tuple(checks)
        self._settle = settle
        self._consuming: dict[str, list[asyncio.Task[None]]] = {}
        self._looping: dict[str, list[asyncio.Task[None]]] = {}
        self._lives: dict[str, int] = {}
        self._died: asyncio.Future[LoopDiedError] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Build every service, then start its consumers and loops."""
        self._died = asyncio.get_running_loop().create_future()
        for name in self.names:
            self.services[name] = self._builders[name](self._context_of(name))
        self._looping[""] = [self._task(f"{loop.name}", loop.run()) for loop in self._own_loops]
        for name in self.names:
            self._run(name)

    async def wait(self) -> None:
        """Return never: raises LoopDiedError, with the cause, when any loop or consumer has ended."""
        assert self._died is not None, "start it first"
        raise await asyncio.shield(self._died)

    async def stop(self, *, drain_s: float = DRAIN_S) -> None:
        """Take no more events, let handlers end within `drain_s`, end the loops, give the leases back."""
        self._stopping = True
        self.consumer.drain()
        consuming = [task for tasks in self._consuming.values() for task in tasks]
        if consuming:
            _, late = await asyncio.wait(consuming, timeout=drain_s)
            if late:
                log.warning(
                    "handlers did not end in time and are cut off; their events come again",
                    consumers=sorted(task.get_name() for task in late),
                    drain_s=drain_s,
                )
        own = self._looping.pop("", [])
        await _cancel([*consuming, *(task for tasks in self._looping.values() for task in tasks)])
        if self._settle is not None:
            try:
                await self._settle()
            except RestowError as error:
                log.warning("the last events may not have reached the broker yet", error=str(error))
        await _cancel(own)
        self._consuming.clear()
        self._looping.clear()
        for name in self.names:
            await self._release(name)
        if self._died is not None and not self._died.done():
            self._died.cancel()

    async def kill(self, name: str) -> None:
        """End a service at once, as SIGKILL would: no drain, no lease given back. For simulations."""
        await _cancel([*self._consuming.pop(name, []), *self._looping.pop(name, [])])

    async def revive(self, name: str) -> None:
        """Build a killed service anew, as another process would: with another instance name."""
        assert name not in self._consuming, f"{name} is alive"
        self._lives[name] = self._lives.get(name, 0) + 1
        self.services[name] = self._builders[name](self._context_of(name))
        self._run(name)

    def checks(self) -> tuple[Check, ...]:
        """What must hold for this process to be ready, by name; each raises if it does not."""
        own = [(f"{name}: {what}", check) for name in self.names for what, check in self.services[name].checks]
        return (*self._own_checks, ("consumers and loops", self._check_alive), *own)

    @property
    def app(self) -> Any:
        """The ASGI app of the service that has one (the api), or None."""
        return next((service.app for service in self.services.values() if service.app is not None), None)

    def _run(self, name: str) -> None:
        service = self.services[name]
        metrics.SERVICE.labels(name, __version__).set(1)
        for handler in service.handlers:
            metrics.start_at_zero(handler.group)
        self._consuming[name] = [
            self._task(f"{name}: consumer {handler.group}", self.consumer.run(handler)) for handler in service.handlers
        ]
        self._looping[name] = [self._task(f"{name}: {loop.name}", loop.run()) for loop in service.loops]

    def _context_of(self, name: str) -> Context:
        lives = self._lives.get(name, 0)
        return self.context if not lives else dataclasses.replace(self.context, instance=self._instance(name))

    def _instance(self, name: str) -> str:
        lives = self._lives.get(name, 0)
        return f"{self.context.instance}/{name}-{lives}" if lives else self.context.instance

    def _task(self, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=what)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() and (self._stopping or not self._runs(task)):
            return
        cause = asyncio.CancelledError("by nobody of ours") if task.cancelled() else task.exception()
        if self._stopping and cause is None:
            return
        error = LoopDiedError(f"{task.get_name()} ended: {_said(cause)}")
        error.__cause__ = cause
        log.error("a part of this process has ended", part=task.get_name(), error=_said(cause), exc_info=cause)
        if self._died is not None and not self._died.done():
            self._died.set_result(error)

    def _runs(self, task: asyncio.Task[None]) -> bool:
        """Whether it should: what we cancel is taken off the lists before."""
        return any(task in tasks for tasks in (*self._consuming.values(), *self._looping.values()))

    async def _check_alive(self) -> None:
        if self._died is not None and self._died.done() and not self._died.cancelled():
            raise self._died.result()

    async def _release(self, name: str) -> None:
        try:
            await release_all(self.context.database, holder=self._instance(name), now=self.context.clock.now())
        except RestowError as error:  # they expire by themselves
            log.warning("leases not given back", error=str(error))


def _said(cause: BaseException | None) -> str:
    return "without an error, which it never should" if cause is None else f"{type(cause).__name__}: {cause}"


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=CANCEL_S)
        for task in late:
            log.warning("a cancelled part does not end", part=task.get_name())

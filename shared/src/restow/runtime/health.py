"""What a process says of itself over HTTP: /livez, /readyz, /metrics; and the server that says it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from restow.errors import BadInputError, FieldError
from restow.metrics import TEXT, exposition

CHECK_MAX_S = 5.0
GRACE_S = 5  # for answers under way and open event streams

ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

Check = tuple[str, Callable[[], Awaitable[None]]]


def health_app(checks: Callable[[], Sequence[Check]], *, starting: bool = False) -> Starlette:
    """/livez depends on nothing; /readyz is 503 with the reasons while any check fails.

    `starting`: whatever else is asked for is not there yet, which is not to say that it does not exist.
    """

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        failing = await failures(checks())
        if failing:
            return JSONResponse({"status": "not ready", "failing": failing}, status_code=503)
        return JSONResponse({"status": "ok", "failing": {}})

    async def metrics(_: Request) -> Response:
        return Response(exposition(), headers={"Content-Type": TEXT})

    async def elsewhere(_: Request) -> Response:
        return JSONResponse({"status": "starting"}, status_code=503, headers={"Retry-After": "5"})

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    if starting:
        routes.append(Route("/{path:path}", elsewhere, methods=ALL_METHODS))
    return Starlette(routes=routes)


async def failures(checks: Sequence[Check]) -> dict[str, str]:
    """What fails, by name, with its reason; a check that takes longer than CHECK_MAX_S fails."""

    async def look(check: Callable[[], Awaitable[None]]) -> str | None:
        try:
            await asyncio.wait_for(check(), CHECK_MAX_S)
        except TimeoutError:
            return f"no answer within {CHECK_MAX_S:g} s"
        except Exception as error:  # noqa: BLE001  (a check tells by any error)
            return f"{type(error).__name__}: {error}"
        return None

    answers = await asyncio.gather(*(look(check) for _, check in checks))
    return {name: answer for (name, _), answer in zip(checks, answers, strict=True) if answer is not None}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the runtime's, which drains first."""
        yield


class _Farewell:
    """An ASGI app that can ask its clients to hold no connection, so that a load balancer places the next."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.told = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def closing(message: Any) -> None:
            if self.told and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self.app(scope, receive, closing if scope["type"] == "http" else send)


class HttpServer:
    """An ASGI app on a port; 0 takes a free one. Another app may take its place while it serves."""

    def __init__(self, app: Any, *, host: str, port: int) -> None:
        self._host = host
        self._socket: socket.socket | None = None
        self.port = port
        self._farewell = _Farewell(app)
        self._server = _Server(
            uvicorn.Config(
                self._farewell,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=GRACE_S,
                server_header=False,
                proxy_headers=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Raises BadInputError if the port cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self.port), family=family, backlog=512)
        except OSError as error:
            expected = f"a free port to listen on ({error.strerror or error})"
            raise BadInputError("address", (FieldError("HOST:PORT", f"{self._host}:{self.port}", expected),)) from error
        self.port = self._socket.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="http")
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  (uvicorn offers no event)
            await asyncio.sleep(0.01)
        if self._task.done():
            await self._task

    def serve(self, app: Any) -> None:
        """Let this app answer from now on."""
        self._farewell.app = app

    def keep_no_connections(self) -> None:
        """From now on every answer ends its connection; none is left to be cut off by `stop`."""
        self._farewell.told = True

    async def stop(self) -> None:
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task}, timeout=GRACE_S + 2)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

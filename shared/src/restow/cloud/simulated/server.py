"""The simulated cloud for several processes: its port, its faults and its witness over HTTP on a trusted network.

    POST /v1/methods/METHOD?domain=NAME   arguments as a JSON object; answers {"result": ...} or {"error": {...}}
    GET  /v1/domains                      {"domains": [...]}
    GET  /livez

It knows no callers and no roles: it is a test bed, never a door to a real cloud.
"""

import json
from inspect import signature
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from restow.cloud.model import Cloud
from restow.cloud.simulated.cloud import SimulatedCloud, SimulatedClouds
from restow.cloud.simulated.wire import METHODS, cloud_answer, error_document, plain
from restow.cloud.snapshot import read_server
from restow.errors import BadInputError, FieldError, NotFoundError, RestowError
from restow.ids import DomainName

BODY_MAX = 1_000_000

log = structlog.get_logger(__name__)


def app(clouds: SimulatedClouds) -> Starlette:
    """The ASGI app for these clouds."""

    async def domains(_: Request) -> Response:
        return JSONResponse({"domains": list(clouds.domains())})

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def call(request: Request) -> Response:
        try:
            cloud = clouds.port(DomainName(request.query_params.get("domain", "")))
            answer = await _call(cloud, request.path_params["method"], await _arguments(request))
        except RestowError as error:
            return JSONResponse({"error": error_document(error)}, status_code=400)
        if isinstance(answer, Cloud):
            return Response(cloud_answer(answer), media_type="application/json")
        return JSONResponse({"result": plain(answer)})

    return Starlette(
        routes=[
            Route("/livez", livez),
            Route("/v1/domains", domains),
            Route("/v1/methods/{method}", call, methods=["POST"]),
        ]
    )


async def serve(clouds: SimulatedClouds, *, host: str = "127.0.0.1", port: int) -> None:
    """Serve until cancelled, or until the process is asked to end."""
    log.info("the simulated cloud listens", host=host, port=port, domains=list(clouds.domains()))
    await server_of(clouds, host=host, port=port).serve()


def server_of(clouds: SimulatedClouds, *, host: str, port: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app(clouds), host=host, port=port, log_config=None, access_log=False, lifespan="off", ws="none"
    )
    return uvicorn.Server(config)


async def _arguments(request: Request) -> dict[str, Any]:
    body = await request.body()
    if len(body) > BODY_MAX:
        raise BadInputError("call", (FieldError("(document)", len(body), f"at most {BODY_MAX} bytes"),))
    try:
        arguments = json.loads(body or b"{}")
    except ValueError as error:
        raise BadInputError("call", (FieldError("(document)", body[:40], "JSON"),)) from error
    if not isinstance(arguments, dict):
        raise BadInputError("call", (FieldError("(document)", arguments, "a JSON object of arguments"),))
    return arguments


async def _call(cloud: SimulatedCloud, name: str, arguments: dict[str, Any]) -> Any:
    method = METHODS.get(name)
    if method is None:
        raise NotFoundError(f"the simulated cloud has no method {name}")
    if method.server_value:
        arguments["server"] = read_server(arguments.get("server", {}))
    found = getattr(cloud.trouble if method.of == "trouble" else cloud, name)
    if not callable(found):
        return found
    try:
        signature(found).bind(**arguments)
    except TypeError as error:
        raise BadInputError("call", (FieldError("(document)", sorted(arguments), f"arguments of {name}"),)) from error
    answer = found(**arguments)
    return await answer if hasattr(answer, "__await__") else answer

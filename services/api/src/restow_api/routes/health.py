"""Whether this process lives, whether it is ready, and its metrics."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from restow.errors import TransientError
from restow_api import metrics
from restow_api.access import Door, GuardedRoute
from restow_api.http import answer, problems
from restow_api.models import Alive, Ready
from restow_api.problems import ProblemError

log = structlog.get_logger(__name__)
router = APIRouter(route_class=GuardedRoute, tags=["care"])

Checks = list[tuple[str, Callable[[], Awaitable[None]]]]


@router.get("/livez", response_model=Alive)
async def livez() -> Response:
    """Depends on nothing: the process answers."""
    return answer({"alive": True})


@router.get("/readyz", response_model=Ready, responses=problems(503))
async def readyz(request: Request, front: Door) -> Response:
    """Every check of this process; 503 with the reasons if one fails."""
    checks: Checks = list(request.app.state.checks)
    failed = []
    for name, check in checks:
        try:
            await asyncio.wait_for(check(), front.settings.check_timeout_s)
        except Exception as error:  # noqa: BLE001  (a check may fail in any way; that it fails is the answer)
            failed.append(f"{name}: {str(error) or type(error).__name__}")
    if front.stopping:
        failed.append("this process is stopping")
    if failed:
        raise ProblemError(503, "not ready: " + "; ".join(failed))
    return answer({"ready": True, "checks": [name for name, _ in checks]})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def exposed(front: Door) -> Response:
    """In Prometheus' text format. What is open is read now; while the database is away it stays as it was."""
    try:
        await asyncio.wait_for(metrics.measure(front.database, now=front.clock.now()), front.settings.check_timeout_s)
    except (TransientError, TimeoutError) as error:
        log.warning("what is open was not measured", error=str(error) or "it took too long")
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

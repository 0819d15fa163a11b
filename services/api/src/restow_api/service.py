"""The api as a service: the app that faces people, the handler that keeps its views, the loop that tidies up."""

from typing import Any

import structlog
from fastapi import FastAPI, Request, Response

from restow import __version__
from restow.database.engine import DatabaseAwayError
from restow.errors import TransientError
from restow.runtime.service import Context, Loop, Service
from restow_api import console, metrics, openapi, problems
from restow_api.access import ACCESS, GuardedRoute, allowed_methods
from restow_api.front import Front
from restow_api.http import BodyLimit, Hardened, answer
from restow_api.keyfile import KeyFile
from restow_api.routes import ROUTERS
from restow_api.settings import ApiSettings
from restow_api.views import Views

TIDY_EVERY_S = 600.0

log = structlog.get_logger(__name__)


def build(context: Context) -> Service:
    """Raises BadInputError for a wrong setting."""
    front = Front(context, ApiSettings.from_environment(context.environment))
    try:
        metrics.start_at_zero(context.clouds.domains())
    except TransientError as error:  # the front door opens without a cloud, too
        log.warning("counters begin with what they first count: the domains are not known yet", error=str(error))

    keyed: tuple[Loop, ...] = ()
    if front.settings.api_keys_file is not None:
        keys = KeyFile(front.settings.api_keys_file, context.database, context.clock)
        keys.read()  # what is wrong with it stops the start, not the night
        keyed = (Loop("keys file", keys.follow),)

    async def tidy() -> None:
        try:
            while True:
                try:
                    await front.put_away()
                except DatabaseAwayError as error:
                    log.info("nothing is put away until the database answers again", error=str(error))
                await context.clock.sleep(TIDY_EVERY_S)
        finally:
            front.stopping = True  # open event streams end, or they would keep the server from stopping

    return Service(
        name="api",
        handlers=(Views(),),
        loops=(Loop("tidying", tidy), *keyed),
        checks=(("database", context.database.ping),),
        app=app_of(front),
    )


def app_of(front: Front) -> Any:
    """The ASGI app. `app.state.checks` is what /readyz asks: the runtime may set more."""
    app = FastAPI(title="Restow", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False
    app.state.front = front
    app.state.checks = [("database", front.database.ping)]
    app.router.route_class = GuardedRoute
    for router in (*ROUTERS, console.router):
        app.include_router(router)
    described: dict[str, Any] = {}

    @app.get("/openapi.json", include_in_schema=False)
    async def described_as(request: Request) -> Response:
        """The description of this API; made at the first look."""
        if not described:
            described.update(openapi.document(request.app))
        return answer(described)

    problems.install(app, allowed=allowed_methods, page=console.problem_page)
    app.add_middleware(BodyLimit, limit=front.settings.http_body_max_bytes)
    app.add_middleware(Hardened)
    assert ACCESS, "every route has passed the table when it was built"
    return app

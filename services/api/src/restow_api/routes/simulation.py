"""Trouble on the simulated cloud, to see what happens; 404 on a real one."""

from fastapi import APIRouter, Request, Response

from restow_api.access import Door, GuardedRoute
from restow_api.http import answer, problems, read_body
from restow_api.models import Fault, FaultRead
from restow_api.openapi import body
from restow_api.problems import ProblemError
from restow_api.routes.common import Domain, Text, asked

router = APIRouter(route_class=GuardedRoute, tags=["simulation"])


@router.post(
    "/v1/simulation/faults", status_code=201, response_model=FaultRead, responses=problems(404),
    openapi_extra=body("Fault"),
)  # fmt: skip
async def inject(request: Request, front: Door) -> Response:
    """Make trouble."""
    if not front.has_faults:
        raise ProblemError(404, "this is a real cloud: trouble on purpose is for the simulated one")
    fault = await read_body(request, Fault, what="fault")
    domain = await front.fault(asked(request), fault.kind, fault.host, domain=fault.domain)
    return answer({"kind": fault.kind, "host": fault.host, "domain": domain}, status=201)


@router.delete("/v1/simulation/faults", status_code=204, responses=problems(404))
async def clear(request: Request, front: Door, host: Text = None, domain: Domain = None) -> Response:
    """End the faults of one host, or all; a crashed host boots again."""
    await front.clear_faults(asked(request), host=host, domain=domain)
    return Response(status_code=204)

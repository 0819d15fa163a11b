"""Incidents: trouble and what came of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from restow_api import reading
from restow_api.access import Door, GuardedRoute
from restow_api.front import Front
from restow_api.http import answer, problems, read_optional_body
from restow_api.models import Collection, IncidentOutcomeName, IncidentRead, IncidentStateName, Order
from restow_api.openapi import body
from restow_api.present import incident_read
from restow_api.routes.common import LIMIT, Cursor, Domain, Limit, Name, Text, asked

router = APIRouter(route_class=GuardedRoute, tags=["incidents"])

PLANS_SHOWN = 100


@router.get("/v1/incidents", response_model=Collection[IncidentRead], response_model_exclude_none=True)
async def incidents(
    front: Door, *, state: Annotated[IncidentStateName | None, Query()] = None, symptom: Text = None,
    outcome: Annotated[IncidentOutcomeName | None, Query()] = None, host: Text = None, domain: Domain = None,
    cursor: Cursor = None, limit: Limit = LIMIT,
) -> Response:  # fmt: skip
    """Incidents, newest first."""
    wanted = reading.IncidentFilter(state, symptom, outcome, host, domain)
    page = await reading.incidents(front.database, wanted, after=cursor, limit=limit)
    return answer({"items": [incident_read(view) for view in page.items], "next": page.next})


@router.get("/v1/incidents/{id}", response_model=IncidentRead, responses=problems(404))
async def incident(front: Door, id: Name) -> Response:
    """One incident, with the plans that were made for it."""
    view = await reading.incident_view(front.database, id)
    made = await reading.plans(front.database, reading.PlanFilter(incident=id), after=None, limit=PLANS_SHOWN)
    return answer({**incident_read(view), "plans": [plan.id for plan in made.items]})


async def _order(request: Request, front: Front, id: str, verb: str) -> Response:
    order = await read_optional_body(request, Order, what=verb)
    view = await front.incident_order(asked(request), id, verb, why=order.why)
    return answer(incident_read(view), status=202)


_ACTING: dict[str, Any] = {
    "status_code": 202, "response_model": IncidentRead, "responses": problems(404, 409),
    "openapi_extra": body("Order", required=False),
}  # fmt: skip


@router.post("/v1/incidents/{id}/acknowledge", **_ACTING)
async def acknowledge(request: Request, front: Door, id: Name) -> Response:
    """Somebody has seen it."""
    return await _order(request, front, id, "acknowledge")


@router.post("/v1/incidents/{id}/close", **_ACTING)
async def close(request: Request, front: Door, id: Name) -> Response:
    """A person has dealt with it."""
    return await _order(request, front, id, "close")

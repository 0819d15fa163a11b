"""Plans: ask for one, look at it, decide about it; and what-if."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from restow.errors import BadInputError
from restow.messages.plan import Plan
from restow.messages.request import Mode, parse_request, without_tag
from restow_api import reading
from restow_api.access import Door, GuardedRoute
from restow_api.folding import undo_plan_id
from restow_api.front import Front
from restow_api.http import answer, json_body, problems, read_body, read_optional_body
from restow_api.models import Collection, GraphRead, Order, PlanRead, PlanStateName, PlanSummary, StepRead, WhatIf
from restow_api.openapi import body
from restow_api.paging import page_in_memory
from restow_api.present import no_document, plan_read, plan_summary, steps_read
from restow_api.problems import ProblemError
from restow_api.routes.common import LIMIT, Cursor, Domain, Limit, Name, Text, asked

router = APIRouter(route_class=GuardedRoute, tags=["plans"])

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, pattern=r"^[!-~]+$",
           description="the same key with the same body is answered the same, and done once"),
]  # fmt: skip
LOCATION = {"Location": {"description": "where the plan is", "schema": {"type": "string"}}}
ACCEPTED: dict[int | str, dict[str, Any]] = {202: {"headers": LOCATION}, **problems(403, 409)}


@router.post(
    "/v1/plans", status_code=202, response_model=PlanSummary, responses=ACCEPTED, openapi_extra=body("RequestDocument")
)
async def submit(request: Request, front: Door, idempotency_key: IdempotencyKey = None) -> Response:
    """Ask for a plan (`restow.request/1`). It is made in the background: look at `Location`, or at the events."""
    wanted = parse_request(await json_body(request))
    plan = await front.submit(asked(request, idempotency_key=idempotency_key), wanted)
    return answer(plan, status=202, headers={"Location": f"/v1/plans/{plan['id']}"})


@router.post(
    "/v1/what-if", status_code=202, response_model=PlanSummary, responses=ACCEPTED, openapi_extra=body("WhatIf")
)
async def what_if(request: Request, front: Door, idempotency_key: IdempotencyKey = None) -> Response:
    """A dry run on a changed cloud: whatever the mode says, nothing is carried out."""
    try:
        wanted = await read_body(request, WhatIf, what="what-if")
    except BadInputError as error:
        raise BadInputError("what-if", tuple(without_tag(one, at=("request",)) for one in error.errors)) from error
    dry = wanted.request.model_copy(update={"mode": Mode.DRY_RUN})
    plan = await front.submit(asked(request, idempotency_key=idempotency_key), dry, wanted.changes)
    return answer(plan, status=202, headers={"Location": f"/v1/plans/{plan['id']}"})


@router.get("/v1/plans", response_model=Collection[PlanSummary])
async def plans(
    front: Door, *, state: Annotated[PlanStateName | None, Query()] = None, goal: Text = None, incident: Text = None,
    created_by: Text = None, domain: Domain = None, cursor: Cursor = None, limit: Limit = LIMIT,
) -> Response:  # fmt: skip
    """Plans, newest first, without their documents."""
    wanted = reading.PlanFilter(state, goal, incident, created_by, domain)
    page = await reading.plans(front.database, wanted, after=cursor, limit=limit)
    return answer({"items": [plan_summary(view) for view in page.items], "next": page.next})


@router.get("/v1/plans/{id}", response_model=PlanRead, responses=problems(404))
async def plan(front: Door, id: Name) -> Response:
    """A stored plan, with its `restow.plan/1` once it is made."""
    view = await reading.plan_view(front.database, id)
    return answer(plan_read(view, await reading.plan_document(front.database, view)))


@router.get(
    "/v1/plans/{id}/graph", response_model=GraphRead,
    responses={
        200: {"content": {"text/vnd.graphviz": {"schema": {"type": "string"}},
                          "image/svg+xml": {"schema": {"type": "string"}}}},
        **problems(404, 409),
    },
)  # fmt: skip
async def graph(front: Door, id: Name, format: Annotated[Literal["json", "dot", "svg"], Query()] = "json") -> Response:
    """The graph of steps: which waits for which, and why."""
    made = await _made(front, id)
    from restow.render import to_dot, to_json, to_svg  # drawing is loaded when somebody looks

    match format:
        case "dot":
            return Response(to_dot(made), headers={"Content-Type": "text/vnd.graphviz"})
        case "svg":
            return Response(to_svg(made), media_type="image/svg+xml")
        case "json":
            return answer(to_json(made))


@router.get("/v1/plans/{id}/steps", response_model=Collection[StepRead], responses=problems(404, 409))
async def steps(front: Door, id: Name, cursor: Cursor = None, limit: Limit = LIMIT) -> Response:
    """The steps in the plan's order, each with how it went so far."""
    made = await _made(front, id)
    told = enumerate(steps_read(made, await reading.steps_of(front.database, id)))
    page = page_in_memory(told, kind="steps", key=lambda one: (f"{one[0]:09}", ""), after=cursor, limit=limit)
    return answer({"items": [step for _, step in page.items], "next": page.next})


async def _made(front: Front, id: str) -> Plan:
    view = await reading.plan_view(front.database, id)
    made = await reading.made_plan(front.database, view)
    if made is None:
        raise ProblemError(409, no_document(view))
    return made


async def _order(request: Request, front: Front, id: str, verb: str) -> Response:
    order = await read_optional_body(request, Order, what=verb)
    view = await front.order(asked(request), id, verb, why=order.why)
    where = undo_plan_id(id) if verb == "undo" else id
    return answer(plan_summary(view), status=202, headers={"Location": f"/v1/plans/{where}"})


_ACTING: dict[str, Any] = {
    "status_code": 202, "response_model": PlanSummary, "responses": {**ACCEPTED, **problems(404)},
    "openapi_extra": body("Order", required=False),
}  # fmt: skip


@router.post("/v1/plans/{id}/approve", **_ACTING)
async def approve(request: Request, front: Door, id: Name) -> Response:
    """Let a proposed plan be carried out."""
    return await _order(request, front, id, "approve")


@router.post("/v1/plans/{id}/reject", **_ACTING)
async def reject(request: Request, front: Door, id: Name) -> Response:
    """Decide against a proposed plan."""
    return await _order(request, front, id, "reject")


@router.post("/v1/plans/{id}/cancel", **_ACTING)
async def cancel(request: Request, front: Door, id: Name) -> Response:
    """Steps that run come to their end, nothing new starts."""
    return await _order(request, front, id, "cancel")


@router.post("/v1/plans/{id}/pause", **_ACTING)
async def pause(request: Request, front: Door, id: Name) -> Response:
    """Start nothing new until it is resumed."""
    return await _order(request, front, id, "pause")


@router.post("/v1/plans/{id}/resume", **_ACTING)
async def resume(request: Request, front: Door, id: Name) -> Response:
    """Go on with a paused plan."""
    return await _order(request, front, id, "resume")


@router.post("/v1/plans/{id}/undo", **_ACTING)
async def undo(request: Request, front: Door, id: Name) -> Response:
    """Plan the way back to the placement at this plan's start; `Location` is that plan's."""
    return await _order(request, front, id, "undo")

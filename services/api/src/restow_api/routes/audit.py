"""Who did what, or was refused it."""

from fastapi import APIRouter, Response

from restow_api import reading
from restow_api.access import Door, GuardedRoute
from restow_api.http import answer
from restow_api.models import AuditRead, Collection
from restow_api.present import audit_read
from restow_api.routes.common import LIMIT, Cursor, Limit, Text

router = APIRouter(route_class=GuardedRoute, tags=["audit"])


@router.get("/v1/audit", response_model=Collection[AuditRead])
async def audit(
    front: Door,
    *,
    by: Text = None,
    action: Text = None,
    subject: Text = None,
    cursor: Cursor = None,
    limit: Limit = LIMIT,
) -> Response:
    """The audit, newest first."""
    page = await reading.audit(front.database, by=by, action=action, subject=subject, after=cursor, limit=limit)
    return answer({"items": [audit_read(row) for row in page.items], "next": page.next})

"""API keys: made, listed, revoked; by admins."""

from fastapi import APIRouter, Request, Response

from restow_api import keys
from restow_api.access import Door, GuardedRoute, Who
from restow_api.http import answer, problems, read_body
from restow_api.models import Collection, KeyMade, KeyRead, NewKey
from restow_api.openapi import body
from restow_api.paging import page_in_memory
from restow_api.present import key_read, when
from restow_api.problems import ProblemError
from restow_api.routes.common import LIMIT, Cursor, Limit, Name

router = APIRouter(route_class=GuardedRoute, tags=["keys"])


@router.get("/v1/keys", response_model=Collection[KeyRead])
async def listed(front: Door, cursor: Cursor = None, limit: Limit = LIMIT) -> Response:
    """All keys, oldest first, the revoked ones too; never the keys themselves."""
    page = page_in_memory(
        await keys.list_keys(front.database), kind="keys", key=lambda row: (when(row.created_at) or "", row.id),
        after=cursor, limit=limit,
    )  # fmt: skip
    return answer({"items": [key_read(row) for row in page.items], "next": page.next})


@router.post("/v1/keys", status_code=201, response_model=KeyMade, openapi_extra=body("NewKey"))
async def create(request: Request, front: Door, who: Who) -> Response:
    """A new key, shown this once."""
    wanted = await read_body(request, NewKey, what="key")
    async with front.database.writing() as transaction:
        row, key = await keys.make_key(transaction, front.clock, name=wanted.name, role=wanted.role, by=who.name)
    return answer({**key_read(row), "key": key}, status=201)


@router.delete("/v1/keys/{id}", response_model=KeyRead, responses=problems(404, 409))
async def revoke(front: Door, who: Who, id: Name) -> Response:
    """The key and its sessions end at once. The last valid admin key stays: 409."""
    try:
        async with front.database.writing() as transaction:
            row = await keys.revoke_key(transaction, front.clock, key=id, by=who.name)
    except keys.LastAdminError as error:
        await front.audit_refusal(who, action="key.revoke", subject=id, why=str(error))
        raise ProblemError(409, str(error)) from error
    return answer(key_read(row))

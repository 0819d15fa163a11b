"""The cloud as Restow sees it now: the whole snapshot, hosts, servers; and maintenance of a host."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from restow.cloud.documents import CloudDocument
from restow.cloud.snapshot import dump_cloud
from restow_api.access import Door, GuardedRoute
from restow_api.http import answer, problems, read_optional_body
from restow_api.models import Collection, HostRead, MaintenanceOrder, MaintenanceRead, ServerRead
from restow_api.openapi import body
from restow_api.paging import page_in_memory
from restow_api.present import host_read, server_read
from restow_api.routes.common import LIMIT, Cursor, Domain, Limit, Name, Text, asked

router = APIRouter(route_class=GuardedRoute, tags=["cloud"])

HostStateQuery = Annotated[Literal["up", "down"] | None, Query()]
ServerStateQuery = Annotated[Literal["active", "stopped", "paused", "error"] | None, Query()]


@router.get("/v1/cloud", response_model=CloudDocument)
async def cloud(front: Door, domain: Domain = None) -> Response:
    """The latest snapshot of a domain, `restow.cloud/1`."""
    read = await front.clouds.read(front.clouds.domain(domain))
    return Response(dump_cloud(read), media_type="application/json")


@router.get("/v1/hosts", response_model=Collection[HostRead])
async def hosts(
    front: Door, *, domain: Domain = None, zone: Text = None, state: HostStateQuery = None, cursor: Cursor = None,
    limit: Limit = LIMIT,
) -> Response:  # fmt: skip
    """Hosts by name."""
    found = [
        (cloud, host)
        for cloud in await front.clouds.read_all(domain)
        for host in cloud.hosts
        if zone in (None, host.zone) and state in (None, host.state.value)
    ]
    page = page_in_memory(found, kind="hosts", key=lambda one: (one[1].name, one[0].domain), after=cursor, limit=limit)
    return answer({"items": [host_read(cloud, host) for cloud, host in page.items], "next": page.next})


@router.get("/v1/hosts/{name}", response_model=HostRead, responses=problems(404))
async def host(front: Door, name: Name, domain: Domain = None) -> Response:
    """One host."""
    return answer(host_read(*await front.clouds.host(name, domain)))


@router.get("/v1/servers", response_model=Collection[ServerRead])
async def servers(
    front: Door, *, host: Text = None, project: Text = None, state: ServerStateQuery = None, name: Text = None,
    group: Text = None, domain: Domain = None, cursor: Cursor = None, limit: Limit = LIMIT,
) -> Response:  # fmt: skip
    """Servers by id. `name` is a part of the name."""
    found = []
    clouds = await front.clouds.read_all(domain)
    if host is not None:
        front.clouds.check_host(host, clouds, what="filter")
    for cloud in clouds:
        members = (
            None if group is None else {server for one in cloud.groups if one.id == group for server in one.members}
        )
        found += [
            (cloud, server)
            for server in cloud.servers
            if host in (None, server.host)
            and project in (None, server.project)
            and state in (None, server.state.value)
            and (name is None or name in server.name)
            and (members is None or server.id in members)
        ]
    page = page_in_memory(found, kind="servers", key=lambda one: (one[1].id, one[0].domain), after=cursor, limit=limit)
    return answer({"items": [server_read(cloud, server) for cloud, server in page.items], "next": page.next})


@router.get("/v1/servers/{id}", response_model=ServerRead, responses=problems(404))
async def server(front: Door, id: Name, domain: Domain = None) -> Response:
    """One server."""
    return answer(server_read(*await front.clouds.server(id, domain)))


@router.post(
    "/v1/hosts/{name}/maintenance", status_code=202, response_model=MaintenanceRead, responses=problems(404),
    openapi_extra=body("MaintenanceOrder", required=False),
)  # fmt: skip
async def begin_maintenance(request: Request, front: Door, name: Name) -> Response:
    """Healing off for this host, and the host emptied."""
    order = await read_optional_body(request, MaintenanceOrder, what="maintenance")
    event = await front.maintenance(asked(request), name, on=True, reason=order.reason)
    shown = {"host": name, "domain": event.domain, "on": True, "event": event.id, "correlation": event.correlation}
    return answer(shown, status=202)


@router.delete("/v1/hosts/{name}/maintenance", status_code=202, response_model=MaintenanceRead, responses=problems(404))
async def end_maintenance(request: Request, front: Door, name: Name) -> Response:
    """The host is back in service."""
    event = await front.maintenance(asked(request), name, on=False)
    shown = {"host": name, "domain": event.domain, "on": False, "event": event.id, "correlation": event.correlation}
    return answer(shown, status=202)

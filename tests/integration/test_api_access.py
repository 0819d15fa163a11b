"""Roles and endpoints: every endpoint is in the table, and the table is what the door does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from restow_api.access import ACCESS, SESSION_COOKIE, GuardedRoute
from restow_api.keys import Role, csrf_token
from restow_api.routes import ROUTERS
from support.front_door import FrontDoor, a_front_door

READING = {"GET", "HEAD"}
API = sorted((method, path) for method, path in ACCESS if not path.startswith("/console") and path != "/")
OPEN = [entry for entry in API if ACCESS[entry] is None]
GUARDED = [entry for entry in API if ACCESS[entry] is not None]
CONSOLE = sorted(entry for entry in ACCESS if entry[1].startswith("/console") and ACCESS[entry] is not None)
UNDER = {role: [below for below in Role if not below.covers(role)] for role in Role}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[FrontDoor]:
    async with a_front_door(tmp_path) as made:
        yield made


def at(path: str) -> str:
    return path.replace("{name}", "host-1").replace("{id}", "some-id").replace("{file}", "console.css")


def test_every_route_is_guarded_and_is_in_the_table():
    from restow_api import console

    built = {
        (method, route.path)
        for router in (*ROUTERS, console.router)
        for route in router.routes
        for method in route.methods
        if isinstance(route, GuardedRoute)
    }
    assert all(isinstance(route, GuardedRoute) for router in (*ROUTERS, console.router) for route in router.routes)
    assert built | {("GET", "/openapi.json")} == set(ACCESS)


def test_a_viewer_may_do_nothing_but_look():
    assert [e for e, role in ACCESS.items() if e[0] not in READING and role in (None, Role.VIEWER)] == [
        ("POST", "/console/login"),
        ("POST", "/console/logout"),
    ]


@pytest.mark.parametrize(("method", "path"), OPEN)
async def test_what_is_open_needs_no_key(door: FrontDoor, method: str, path: str):
    async with door.client(None) as client:
        assert (await client.request(method, at(path))).status_code == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_without_a_key_the_answer_is_401(door: FrontDoor, method: str, path: str):
    async with door.client(None) as client:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {door.keys['admin']}"}):
            answer = await client.request(method, at(path), headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["status"] == 401


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_role_below_the_table_gets_403_and_is_on_record_and_one_at_it_does_not(
    door: FrontDoor, method: str, path: str
):
    needed = ACCESS[method, path]
    for role in UNDER[needed]:
        async with door.client(role) as client:
            answer = await client.request(method, at(path), content=b"not even json")
            assert answer.status_code == 403, answer.text
    async with door.client(needed) as client:
        answer = await client.request(method, at(path))
        assert answer.status_code not in (401, 403, 500), answer.text
    async with door.client("admin") as client:
        refused = [one for one in (await client.get("/v1/audit")).json()["items"] if one["result"] == "refused"]
        assert len([one for one in refused if one["subject"] == at(path)]) == len(UNDER[needed])


async def logged_in(door: FrontDoor, client, role: str) -> str:
    answer = await client.post("/console/login", data={"key": door.keys[role]})
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    return client.cookies[SESSION_COOKIE]


@pytest.mark.parametrize(("method", "path"), CONSOLE)
async def test_the_console_keeps_the_same_roles(door: FrontDoor, method: str, path: str):
    async with door.client(None) as client:
        assert (await client.request(method, at(path))).status_code == 401
    for role in UNDER[ACCESS[method, path]]:
        async with door.client(None) as client:
            secret = await logged_in(door, client, role)
            assert (await client.request(method, at(path), data={"csrf": csrf_token(secret)})).status_code == 403
    async with door.client(None) as client:
        secret = await logged_in(door, client, ACCESS[method, path])
        form = {"data": {"csrf": csrf_token(secret)}} if method == "POST" else {}
        assert (await client.request(method, at(path), **form)).status_code not in (401, 403, 500)


@pytest.mark.parametrize("path", [path for method, path in CONSOLE if method == "POST"])
async def test_a_form_of_another_site_is_refused(door: FrontDoor, path: str):
    async with door.client(None) as client:
        secret = await logged_in(door, client, "admin")
        token = {"csrf": csrf_token(secret)}
        assert (await client.post(at(path), data={"why": "x"})).status_code == 403
        assert (await client.post(at(path), data={"csrf": csrf_token("other")})).status_code == 403
        headers = {"Origin": "http://evil.example"}
        assert (await client.post(at(path), data=token, headers=headers)).status_code == 403
        assert (await client.post(at(path), data=token, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert await door.log() == []


async def test_the_api_takes_no_orders_from_a_cookie_but_lets_it_look(door: FrontDoor):
    async with door.client(None) as client:
        await logged_in(door, client, "admin")
        assert (await client.get("/v1/hosts")).status_code == 200
        for method, path in GUARDED:
            if method not in READING:
                assert (await client.request(method, at(path))).status_code == 401


async def test_a_session_ends_with_its_time_and_with_logging_out(door: FrontDoor):
    from datetime import timedelta

    async with door.client(None) as client:
        secret = await logged_in(door, client, "viewer")
        assert "Log out" in (await client.get("/")).text
        door.clock.time += timedelta(days=30)  # a simulated cloud may run fast: nobody is logged out for that
        assert (await client.get("/console/hosts")).status_code == 200
        door.wall.time += timedelta(days=1)
        assert (await client.get("/console/hosts")).status_code == 401
        secret = await logged_in(door, client, "viewer")
        assert (await client.post("/console/logout", data={"csrf": csrf_token(secret)})).status_code == 303
        client.cookies.set(SESSION_COOKIE, secret)
        assert (await client.get("/console/hosts")).status_code == 401


async def test_keys_are_made_listed_and_revoked_by_admins(door: FrontDoor):
    async with door.client("admin") as client:
        made = (await client.post("/v1/keys", json={"name": "ci", "role": "viewer"})).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert (await client.get("/v1/hosts", headers=headers)).status_code == 200
        listed = (await client.get("/v1/keys")).json()["items"]
        assert "ci" in [one["name"] for one in listed]
        assert all("key" not in one and "digest" not in one for one in listed)
        assert (await client.delete(f"/v1/keys/{made['id']}")).status_code == 200
        assert (await client.get("/v1/hosts", headers=headers)).status_code == 401
        actions = [one["action"] for one in (await client.get("/v1/audit")).json()["items"]]
        assert actions[:2] == ["key.revoke", "key.create"]


async def test_the_last_admin_key_cannot_be_revoked(door: FrontDoor):
    async with door.client("admin") as client:
        for name in ("the-admin", door.keys["admin"].split("_")[1]):
            refused = await client.delete(f"/v1/keys/{name}")
            assert (refused.status_code, "last valid admin key" in refused.json()["detail"]) == (409, True)
        other = (await client.post("/v1/keys", json={"name": "eve", "role": "admin"})).json()
        assert (await client.delete("/v1/keys/the-admin")).status_code == 200
        headers = {"Authorization": f"Bearer {other['key']}"}
        assert (await client.delete("/v1/keys/eve", headers=headers)).status_code == 409
        assert (await client.get("/v1/keys", headers=headers)).status_code == 200

"""`restow keys …`: over HTTP, or on the database itself where nobody has a key yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import typer

from restow.clock import SystemClock
from restow.errors import BadInputError
from restow_api.client import BAD_INPUT, calling, stop
from restow_api.commands.common import URL, AsJson, Data, Url, moment, show_json, table, where

if TYPE_CHECKING:
    from restow.database.engine import Database

T = TypeVar("T")

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="RESTOW_DATABASE_URL",
        help="Work on this database directly, in place of the front door (a first key).",
    ),
]
BY = "database"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="API keys: shown once, kept hashed.", no_args_is_help=True)
    app.add_typer(group, name="keys")
    group.command("create")(create)
    group.command("generate")(generate)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)


def create(
    *, name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, as the log will say.")],
    role: Annotated[str, typer.Option("--role", help="viewer, operator, approver or admin.")],
    database: DatabaseUrl = None, as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Make a key. It is the last word printed, and is never shown again."""
    from restow_api import keys

    try:
        keys.checked(name, role)
    except BadInputError as error:
        stop("\n".join(str(one) for one in error.errors), BAD_INPUT)
    if database is None:
        with calling(where(url, data)) as client:
            made = client.call("POST", "/v1/keys", json={"name": name, "role": role}).json()
    else:
        made = _on(database, lambda opened: _made(opened, name, role))
    if as_json:
        show_json(made)
    else:
        typer.echo(f"key {made['id']} of {made['name']}, role {made['role']}, shown this once: {made['key']}")


def generate(
    *, name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, as the log will say.")],
    role: Annotated[str, typer.Option("--role", help="viewer, operator, approver or admin.")],
) -> None:  # fmt: skip
    """Print a line for the file that RESTOW_API_KEYS_FILE names; the key is valid once it stands there."""
    from restow_api import keys

    try:
        keys.checked(name, role)
    except BadInputError as error:
        stop("\n".join(str(one) for one in error.errors), BAD_INPUT)
    key_id, secret = keys.new_key()
    typer.echo(f"{name} {role} rk_{key_id}_{secret}")


def list_keys(database: DatabaseUrl = None, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """All keys, oldest first; never the keys themselves."""
    if database is None:
        with calling(where(url, data)) as client:
            found = client.all("/v1/keys")
    else:
        from restow_api import keys
        from restow_api.present import key_read

        found = [key_read(row) for row in _on(database, keys.list_keys)]
    if as_json:
        show_json(found)
        return
    table(
        ("ID", "NAME", "ROLE", "CREATED", "BY", "REVOKED"),
        [
            (one["id"], one["name"], one["role"], moment(one["created_at"]), one["created_by"],
             moment(one["revoked_at"]))
            for one in found
        ],
        empty="no keys",
    )  # fmt: skip


def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The id or the name of a key.")],
    database: DatabaseUrl = None, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """The key and its sessions end at once."""
    if database is None:
        with calling(where(url, data)) as client:
            name = client.call("DELETE", f"/v1/keys/{quote(key, safe='')}").json()["name"]
    else:
        name = _on(database, lambda opened: _revoked(opened, key))
    typer.echo(f"revoked: the key of {name}")


async def _made(opened: "Database", name: str, role: str) -> dict[str, Any]:
    from restow_api import keys
    from restow_api.present import key_read

    async with opened.writing() as transaction:
        row, key = await keys.make_key(transaction, SystemClock(), name=name, role=role, by=BY)
    return {**key_read(row), "key": key}


async def _revoked(opened: "Database", key: str) -> str:
    from restow_api import keys

    async with opened.writing() as transaction:
        return (await keys.revoke_key(transaction, SystemClock(), key=key, by=BY)).name


def _on(url: str, work: Callable[["Database"], Awaitable[T]]) -> T:
    from restow.database.engine import Database

    async def run() -> T:
        opened = Database(url)
        try:
            return await work(opened)
        finally:
            await opened.close()

    return asyncio.run(run())

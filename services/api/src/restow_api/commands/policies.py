"""`restow policies …`: the policy in force, and another in its place."""

import sys
from typing import Annotated, Any

import typer

from restow_api.client import calling
from restow_api.commands.common import URL, AsJson, Data, Url, read_file, show_json, where

File = Annotated[str, typer.Argument(metavar="FILE", help="restow.policy/1 in YAML or JSON; - is standard input.")]
YAML = {"Content-Type": "application/yaml"}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The policy: which incident calls for what.", no_args_is_help=True)
    app.add_typer(group, name="policies")
    group.command("show")(show)
    group.command("list", hidden=True)(show)
    group.command("put")(put)
    group.command("validate")(validate)


def show(as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """The policy in force, as YAML."""
    with calling(where(url, data)) as client:
        if as_json:
            show_json(client.get("/v1/policies"))
        else:
            sys.stdout.write(client.call("GET", "/v1/policies", headers={"Accept": "application/yaml"}).text)


def put(file: File, url: Url = URL, data: Data = None) -> None:
    """Put a policy in force, whole."""
    content = read_file(file, what="policy")
    with calling(where(url, data)) as client:
        made = client.call("PUT", "/v1/policies", content=content, headers=YAML)
        checked = client.call("POST", "/v1/policies/validate", content=content, headers=YAML).json()
    typer.echo(f"in force: {made.headers['ETag']}")
    _warn(checked)


def validate(file: File, url: Url = URL, data: Data = None) -> None:
    """Whether a policy could be put; every mistake is named."""
    with calling(where(url, data)) as client:
        content = read_file(file, what="policy")
        checked = client.call("POST", "/v1/policies/validate", content=content, headers=YAML).json()
    typer.echo("no mistake found")
    _warn(checked)


def _warn(checked: Any) -> None:
    for line in checked.get("warnings", ()):
        typer.echo(f"warning: {line}", err=True)

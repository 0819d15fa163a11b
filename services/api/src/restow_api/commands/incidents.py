"""`restow incidents …`: trouble and what came of it."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

import typer

from restow_api.client import calling
from restow_api.commands.common import URL, AsJson, Data, Most, Url, Why, facts, moment, show_json, table, where

IncidentId = Annotated[str, typer.Argument(metavar="INCIDENT")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Incidents: trouble and what came of it.", no_args_is_help=True)
    app.add_typer(group, name="incidents")
    group.command("list")(list_incidents)
    group.command("show")(show)
    group.command("acknowledge", help="Say that somebody has seen it.")(_ordering("acknowledge"))
    group.command("close", help="Say that a person has dealt with it.")(_ordering("close"))


def list_incidents(
    *, state: Annotated[str | None, typer.Option(help="open or closed.")] = None,
    host: Annotated[str | None, typer.Option(help="Only those of this host.")] = None,
    limit: Most = 50, as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Incidents, newest first."""
    with calling(where(url, data)) as client:
        found = client.all("/v1/incidents", most=limit, state=state, host=host)
    if as_json:
        show_json(found)
        return
    table(
        ("INCIDENT", "STATE", "SYMPTOM", "HOSTS", "OPENED", "CLOSED", "OUTCOME", "WHY"),
        [
            (one["id"], one["state"], one["symptom"], one["hosts"], moment(one["opened_at"]), moment(one["closed_at"]),
             one["outcome"], one["why"])
            for one in found
        ],
        empty="no incidents",
    )  # fmt: skip


def show(incident: IncidentId, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """One incident with its evidence and plans."""
    with calling(where(url, data)) as client:
        found = client.get(f"/v1/incidents/{quote(incident, safe='')}")
    if as_json:
        show_json(found)
        return
    names = ("id", "state", "symptom", "hosts", "servers", "outcome", "why", "evidence", "explains", "plans",
             "acknowledged_by", "opened_at", "closed_at")  # fmt: skip
    facts((name.replace("_", " "), found[name]) for name in names)


def _ordering(verb: str) -> Callable[..., None]:
    def order(incident: IncidentId, why: Why = "", as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
        with calling(where(url, data)) as client:
            made = client.call("POST", f"/v1/incidents/{quote(incident, safe='')}/{verb}", json={"why": why}).json()
        if as_json:
            show_json(made)
        else:
            typer.echo(f"{verb}: asked for incident {incident}")

    return order

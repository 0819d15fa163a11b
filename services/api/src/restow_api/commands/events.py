"""`restow events …`: the log, page by page or as it is written."""

import json
from typing import Annotated, Any

import typer

from restow_api.client import calling
from restow_api.commands.common import URL, AsJson, Data, Most, Url, moment, show_json, table, where

Type = Annotated[str | None, typer.Option("--type", help="Only this type.")]
Story = Annotated[str | None, typer.Option("--correlation", help="Only this story: an incident's or a request's id.")]
Subject = Annotated[str | None, typer.Option("--subject", help="Only this plan, incident or host.")]
After = Annotated[str | None, typer.Option("--after", help="Go on after this event; 0: from the beginning.")]
TopicName = Annotated[str | None, typer.Option("--topic", help="healing (the default), commands, telemetry or all.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The log: what happened.", no_args_is_help=True)
    app.add_typer(group, name="events")
    group.command("list")(list_events)
    group.command("watch")(watch)


def list_events(
    *, type: Type = None, correlation: Story = None, subject: Subject = None, topic: TopicName = None, limit: Most = 50,
    as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """The latest events, oldest first."""
    with calling(where(url, data)) as client:
        found = client.all(
            "/v1/events", most=limit, type=type, correlation=correlation, subject=subject, topic=topic, order="desc"
        )[::-1]
    if as_json:
        show_json(found)
        return
    table(
        ("TIME", "TYPE", "SUBJECT", "WHAT"),
        [(moment(one["time"]), one["type"], one["subject"], _what(one)) for one in found],
        empty="no events",
    )


def watch(
    *, type: Type = None, correlation: Story = None, subject: Subject = None, topic: TopicName = None,
    after: After = None,
    as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Events as they come, until interrupted or until the server stops."""
    with calling(where(url, data)) as client:
        asked = {"type": type, "correlation": correlation, "subject": subject, "topic": topic}
        for _, event in client.stream("/v1/events", last_event_id=after, **asked):
            head = f"{moment(event['time'])}  {event['type']:<28} {event['subject']}"
            line = json.dumps(event, ensure_ascii=False) if as_json else f"{head}  {_what(event)}"
            typer.echo(line)


def _what(event: Any) -> str:
    told = event["data"]
    way = [f"{told['from']} -> {told['to']}"] if told.get("from") and told.get("to") else []
    words = [str(told[name]) for name in ("step", "action", "server", "symptom", "goal", "outcome") if told.get(name)]
    return " ".join([*words, *way, told.get("why") or told.get("reason") or ""]).strip()

"""`restow plans …`: ask, look, decide, follow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from restow_api.client import BAD_INPUT, DONE, FAILED, IMPOSSIBLE, UNDECIDED, Client, calling, stop
from restow_api.commands.common import (
    URL,
    AsJson,
    Data,
    Most,
    Url,
    Why,
    facts,
    moment,
    read_file,
    show_json,
    table,
    where,
    write_file,
)
from restow_api.numbers import number

ENDED = ("finished", "failed", "rejected", "cancelled", "stale")
RequestFile = Annotated[
    str | None, typer.Argument(metavar="[REQUEST]", help="A restow.request/1; - is standard input.")
]
Goal = Annotated[str | None, typer.Option(help="In place of a file: evacuate, rebalance, consolidate, recover.")]
PlanId = Annotated[str, typer.Argument(metavar="PLAN")]
VERBS = {
    "approve": "Let a proposed plan be carried out.",
    "reject": "Decide against a proposed plan.",
    "cancel": "Stop a plan: what runs comes to its end, nothing new starts.",
    "pause": "Start nothing new until it is resumed.",
    "resume": "Go on with a paused plan.",
    "undo": "Plan the way back to the placement at this plan's start.",
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Plans: ask for one, look, decide.", no_args_is_help=True)
    app.add_typer(group, name="plans")
    group.command("list")(list_plans)
    group.command("show")(show)
    group.command("steps")(steps)
    group.command("graph")(graph)
    group.command("submit")(submit)
    group.command("watch")(watch)
    for verb, text in VERBS.items():
        group.command(verb, help=text)(_ordering(verb))


def list_plans(
    *, state: Annotated[str | None, typer.Option(help="Only plans in this state.")] = None,
    goal: Annotated[str | None, typer.Option(help="Only plans with this goal.")] = None,
    limit: Most = 50, as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Plans, newest first."""
    with calling(where(url, data)) as client:
        found = client.all("/v1/plans", most=limit, state=state, goal=goal)
    if as_json:
        show_json(found)
        return
    table(
        ("PLAN", "STATE", "GOAL", "MODE", "STEPS", "BY", "CREATED", "WHY"),
        [
            (one["id"], one["state"], one["goal"], one["mode"], one["steps"], one["created_by"],
             moment(one["created_at"]), one["why"])
            for one in found
        ],
        empty="no plans",
    )  # fmt: skip


def show(plan: PlanId, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """One plan, with what it does and what stands in its way."""
    with calling(where(url, data)) as client:
        found = client.get(f"/v1/plans/{_safe(plan)}")
    if as_json:
        show_json(found)
    else:
        _tell(found)


def steps(plan: PlanId, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """The steps of a plan, each with how it went."""
    with calling(where(url, data)) as client:
        found = client.all(f"/v1/plans/{_safe(plan)}/steps")
    if as_json:
        show_json(found)
        return
    table(
        ("STEP", "STATE", "ACTION", "SERVER", "FROM", "TO", "WAITS FOR", "SECONDS", "WHY"),
        [
            (one["id"], one["state"], one["action"], one["server"], one["from"] or one["host"], one["to"],
             [edge["step"] for edge in one["waits_for"]], one["seconds"], one["outcome"] or one["why"])
            for one in found
        ],
        empty="no steps",
    )  # fmt: skip


def graph(
    plan: PlanId,
    form: Annotated[str, typer.Option("--format", help="json, dot or svg.")] = "dot",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file in place of standard output.")] = None,
    url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """The graph of a plan's steps."""
    with calling(where(url, data)) as client:
        write_file(output, client.call("GET", f"/v1/plans/{_safe(plan)}/graph", params={"format": form}).content)


def submit(
    *, request: RequestFile = None, goal: Goal = None,
    host: Annotated[list[str] | None, typer.Option(help="A host of the goal; may be given several times.")] = None,
    mode: Annotated[str | None, typer.Option(help="dry-run, propose or auto.")] = None,
    reason: Annotated[str | None, typer.Option(help="For the record.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Asked twice with the same key, done once.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the plan is proposed or has ended.")] = False,
    as_json: AsJson = False, url: Url = URL, data: Data = None,
) -> None:  # fmt: skip
    """Ask for a plan; its id is printed."""
    document = _document(request, goal=goal, hosts=host, mode=mode, reason=reason)
    headers = {"Content-Type": "application/json"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    with calling(where(url, data)) as client:
        made = client.call("POST", "/v1/plans", content=document, headers=headers).json()
        if wait:
            made = _wait(client, made["id"], lambda state: state != "requested")
    if as_json:
        show_json(made)
    elif wait:
        _tell(made)
    else:
        typer.echo(made["id"])
    raise typer.Exit(_exit_code(made) if wait else DONE)


def _document(
    request: str | None, *, goal: str | None, hosts: list[str] | None, mode: str | None, reason: str | None
) -> bytes:
    if (request is None) == (goal is None):
        stop("give a request (a file, or - for standard input) or --goal, one of the two", BAD_INPUT)
    document: Any = {"goal": goal}
    if request is not None:
        text = read_file(request, what="request")
        try:
            document = json.loads(text)
        except ValueError as error:
            stop(f"request {request}: not JSON ({error})", BAD_INPUT)
        if not isinstance(document, dict):
            stop(f"request {request}: a JSON object is expected", BAD_INPUT)
    for name, value in (("hosts", hosts), ("mode", mode), ("reason", reason)):
        if value:
            document[name] = value
    return json.dumps(document).encode()


def watch(plan: PlanId, as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
    """Follow a plan until it has ended. Exit code 0: it finished; 1: it did not."""
    with calling(where(url, data)) as client:

        def tell(event: Any) -> None:
            if as_json:
                typer.echo(json.dumps(event, ensure_ascii=False))
                return
            told = event["data"]
            way = f" {told['from']} -> {told['to']}" if told.get("from") and told.get("to") else ""
            what = " ".join(str(told[name]) for name in ("step", "action", "server") if told.get(name))
            kind = event["type"].removeprefix("restow.")
            typer.echo(f"{moment(event['time'])}  {kind:<16} {what}{way} {told.get('why', '')}")

        made = _follow(client, plan, tell)
    raise typer.Exit(DONE if made["state"] == "finished" else FAILED)


def _follow(client: Client, plan: str, tell: Callable[[Any], None]) -> Any:
    client.get(f"/v1/plans/{_safe(plan)}")  # ends here if there is no such plan
    seen = "0"
    while True:
        for place, event in client.stream("/v1/events", last_event_id=seen, subject=plan):
            seen = place
            tell(event)
            if event["type"].removeprefix("restow.plan.") in ENDED:
                return client.get(f"/v1/plans/{_safe(plan)}")


def _wait(client: Client, plan: str, enough: Callable[[str], bool]) -> Any:
    """The events wake us, the plan itself tells its state."""
    made = client.get(f"/v1/plans/{plan}")
    while not enough(made["state"]):
        for _, event in client.stream("/v1/events", last_event_id="0", subject=plan):
            if event["type"] != "restow.plan.requested":
                break
        made = client.get(f"/v1/plans/{plan}")
    return made


def _exit_code(plan: Any) -> int:
    match plan["outcome"], plan["state"]:
        case "impossible", _:
            return IMPOSSIBLE
        case "undecided", "failed":
            return UNDECIDED
        case _, "failed" | "stale":
            return FAILED
        case _:
            return DONE


def _ordering(verb: str) -> Callable[..., None]:
    def order(plan: PlanId, why: Why = "", as_json: AsJson = False, url: Url = URL, data: Data = None) -> None:
        with calling(where(url, data)) as client:
            response = client.call("POST", f"/v1/plans/{_safe(plan)}/{verb}", json={"why": why})
        if as_json:
            show_json(response.json())
        elif verb == "undo":
            typer.echo(response.headers["Location"].rpartition("/")[2])
        else:
            typer.echo(f"{verb}: asked for plan {plan}")

    return order


def _tell(plan: Any) -> None:
    made = plan.get("plan") or {}
    before, after = made.get("before", {}), made.get("after", {})
    facts([
        ("plan", plan["id"]), ("state", plan["state"]), ("goal", plan["goal"]),
        ("hosts", plan["request"].get("hosts")), ("mode", plan["mode"]), ("reason", plan["request"].get("reason")),
        ("asked for by", f"{plan['created_by']}, {moment(plan['created_at'])}"), ("incident", plan["incident"]),
        ("outcome", plan["outcome"]), ("why", plan["why"]), ("approved by", plan["approved_by"]),
        ("replaced by", plan["replaced_by"]), ("undone by", plan["undone_by"]), ("possible now", plan["possible"]),
        ("steps", len(made.get("steps", ()))), ("moved", f"{made.get('moved_mib', 0):,} MiB"),
        ("predicted", f"{made.get('makespan_s', 0):,.1f} s"),
        *((name.replace("_", " "), f"{_short(value)} -> {_short(after.get(name))}") for name, value in before.items()),
    ])  # fmt: skip
    for one in made.get("blockers", ()):
        typer.echo(
            f"blocked: {one['server'] or 'the plan'}: {one['why']} ({one['rule']}); a way out: {one['relaxation']}"
        )


def _short(value: float | None) -> str:
    return "-" if value is None else number(value)


def _safe(part: str) -> str:
    """An id as one segment of a path."""
    from urllib.parse import quote

    return quote(part, safe="")

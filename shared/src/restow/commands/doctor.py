"""`restow doctor`: what Restow can see and do on a cloud, with the consequence and the remedy of each finding."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from restow.cloud.openstack.doctor import Finding

WRONG = 1


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    *,
    cloud: Annotated[str, typer.Option(help="A cloud of clouds.yaml.")],
    domain: Annotated[str | None, typer.Option(help="One of its domains; else all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Look at a cloud and say what is missing; nothing is changed. Exit code 1: something is wrong."""
    from restow.clock import SystemClock
    from restow.cloud.openstack import connect
    from restow.runtime.logs import set_up_logs

    set_up_logs(level="warning", form="console")
    clouds = connect(cloud.removeprefix("openstack:"), clock=SystemClock())
    wrong = False
    for name in clouds.domains():
        if domain in (None, name):
            found = asyncio.run(clouds.port(name).examine())
            wrong = wrong or any(one.grade == "wrong" for one in found)
            sys.stdout.write("".join(_json(name, one) if as_json else _text(name, one) for one in found))
    asyncio.run(clouds.close())
    if wrong:
        raise typer.Exit(WRONG)


def _text(domain: str, one: "Finding") -> str:
    lines = [f"{one.grade.value:5} {domain}  {one.about}: {one.what}"]
    lines += [f"        so: {one.consequence}"] if one.consequence else []
    lines += [f"        do: {one.remedy}"] if one.remedy else []
    return "\n".join(lines) + "\n"


def _json(domain: str, one: "Finding") -> str:
    import json

    told = {
        "domain": domain, "grade": one.grade.value, "about": one.about, "what": one.what,
        "consequence": one.consequence, "remedy": one.remedy,
    }  # fmt: skip
    return json.dumps(told, ensure_ascii=False) + "\n"

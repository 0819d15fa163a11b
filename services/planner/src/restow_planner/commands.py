"""`restow solve`, `check`, `show`, `why`, `replay`: plans from the terminal, no service needed."""

import asyncio
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from restow.errors import BadInputError, FieldError, PermanentError

if TYPE_CHECKING:
    from restow.cloud.model import Cloud
    from restow.messages.plan import Plan
    from restow.messages.request import Changes

DONE, FAILED, IMPOSSIBLE, UNDECIDED = 0, 1, 3, 4

FINDINGS_SHOWN_MAX = 200


def register(app: typer.Typer) -> None:
    app.command("solve")(solve)
    app.command("check")(check)
    app.command("show")(show)
    app.command("why")(why)
    app.command("replay")(replay)


def solve(
    snapshot: Annotated[str, typer.Argument(help="A restow.cloud/1 file; - is standard input.")],
    request: Annotated[str, typer.Option("--request", help="A restow.request/1 file; - is standard input.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Where the plan goes; - is standard output.")] = "-",
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", min=0.05, max=3600, help="Seconds; replaces the request's own.")
    ] = None,
    changes: Annotated[
        str | None,
        typer.Option("--changes", help="What if: a file of changes to the cloud, as in POST /v1/what-if."),
    ] = None,
) -> None:
    """Make a plan offline. Exit code 3: proven impossible, 4: undecided in the time given."""
    _one_standard_input(SNAPSHOT=snapshot, **{"--request": request, "--changes": changes or ""})
    began = time.perf_counter()
    cloud, _ = _cloud(snapshot, None)
    different = None if changes is None else _changes(changes)
    from restow.ids import digest_of, id_of_effect
    from restow.messages.request import parse_request

    body = _read(request, "--request")
    asked = parse_request(body)
    if time_limit is not None:
        asked = asked.model_copy(update={"limits": asked.limits.model_copy(update={"time_limit_s": time_limit})})
    plan_id = id_of_effect(digest_of(body), f"solve/{cloud.domain}/{cloud.taken_at}")
    if different is None:
        from restow_planner.plan import plan_for

        plan = plan_for(cloud, asked, plan_id=plan_id)
    else:
        from restow_planner.what_if import plan_if

        plan = plan_if(cloud, different, asked, plan_id=plan_id)
    plan = plan.model_copy(update={"solve_s": round(time.perf_counter() - began, 3)})
    _write(output, json.dumps(plan.dump(), indent=1, ensure_ascii=False) + "\n")
    _note(_summary(plan))
    for blocker in plan.blockers[:10]:
        _note(f"  {blocker.why}" + (f" ({blocker.relaxation})" if blocker.relaxation else ""))
    if different is not None:
        from restow_planner.tables import print_beside

        print_beside(plan)
    raise typer.Exit({"impossible": IMPOSSIBLE, "undecided": UNDECIDED}.get(plan.outcome.value, DONE))


def check(
    snapshot: Annotated[
        str, typer.Argument(help="The restow.cloud/1 that the plan was made from; - is standard input.")
    ],
    plan: Annotated[str, typer.Argument(help="A restow.plan/1 file; - is standard input.")],
    changes: Annotated[str | None, typer.Option("--changes", help="The changes that the plan was made with.")] = None,
) -> None:
    """The independent referee: every rule at every instant of every interleaving. Exit code 1: something is wrong."""
    _one_standard_input(SNAPSHOT=snapshot, PLAN=plan)
    cloud, digest = _cloud(snapshot, changes)
    made = _plan(plan)
    from restow_planner import referee

    if made.snapshot != digest:
        _note(f"the plan was made from snapshot {made.snapshot}, this is {digest}: judged on this one")
    findings = referee.check(cloud, made)
    for finding in findings[:FINDINGS_SHOWN_MAX]:
        _say(str(finding))
    if len(findings) > FINDINGS_SHOWN_MAX:
        _say(f"… and {len(findings) - FINDINGS_SHOWN_MAX} more")
    if findings:
        _note(f"refused: {len(findings)} findings")
        raise typer.Exit(FAILED)
    _say(f"ok: {len(made.steps)} steps keep every rule in every interleaving")


def show(
    plan: Annotated[str, typer.Argument(help="A restow.plan/1 file; - is standard input.")],
    *,
    dot: Annotated[bool, typer.Option("--dot", help="The graph for Graphviz.")] = False,
    svg: Annotated[bool, typer.Option("--svg", help="The timeline as a picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The graph as JSON.")] = False,
) -> None:
    """Look at a plan: what it does, in which order, and what waits for what."""
    if dot + svg + as_json > 1:
        raise BadInputError("usage", (FieldError("--dot, --svg, --json", "several", "at most one of them"),))
    made = _plan(plan)
    from restow.render import to_dot, to_json, to_svg

    if dot:
        _out(to_dot(made))
    elif svg:
        _out(to_svg(made))
    elif as_json:
        _out(json.dumps(to_json(made), indent=1, ensure_ascii=False) + "\n")
    else:
        from restow_planner.tables import as_tables

        as_tables(made)


def why(
    plan: Annotated[str, typer.Argument(help="A restow.plan/1 file; - is standard input.")],
    subject: Annotated[
        str, typer.Argument(metavar="SERVER|HOST|STEP", help="A server's id or name, a host, or a step's id.")
    ],
    *,
    reverse: Annotated[
        bool, typer.Option("--reverse", "--waiting-for", help="The other way: what waits for it.")
    ] = False,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="FILE", help="The restow.cloud/1 that the plan was made from: tells more."),
    ] = None,
    changes: Annotated[str | None, typer.Option("--changes", help="The changes that the plan was made with.")] = None,
) -> None:
    """Why a server moves or stays, what leaves a host, what its steps wait for, and what that waits for in turn."""
    _one_standard_input(PLAN=plan, **{"--snapshot": snapshot or "", "--changes": changes or ""})
    if changes is not None and snapshot is None:
        raise BadInputError("usage", (FieldError("--changes", changes, "the snapshot that they change: --snapshot"),))
    made = _plan(plan)
    cloud = None
    if snapshot is not None:
        cloud, digest = _cloud(snapshot, changes)
        if made.snapshot != digest:
            _note(f"the plan was made from snapshot {made.snapshot}, this is {digest}: told of this one")
    from restow_planner.explain import explain

    for line in explain(made, subject, cloud=cloud, reverse=reverse):
        _say(line)


def replay(
    plan_id: Annotated[str, typer.Argument(metavar="PLAN_ID", help="A plan of this installation.")],
    database: Annotated[
        str | None, typer.Option("--database", help="Its database; default: RESTOW_DATABASE_URL, else that of DIR.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The data directory of `restow up`; default: RESTOW_DATA_DIR."),
    ] = None,
) -> None:
    """Decide again from what was recorded, and compare. Exit code 1: the answer is another one."""
    if database is not None and data is not None:
        raise BadInputError("usage", (FieldError("--data", str(data), "either --data or --database"),))
    from restow_planner.replay import compare, database_of, recorded

    url = database or database_of(data, os.environ)
    cloud, before = asyncio.run(recorded(url, plan_id))
    from restow_planner.plan import made_again

    again = made_again(cloud, before)
    _say(f"recorded: {_summary(before)}")
    _say(f"again:    {_summary(again)}")
    differences = compare(before, again)
    for line in differences:
        _say(line)
    if differences:
        raise typer.Exit(FAILED)
    _say("the same answer")


# --- input and output ----------------------------------------------------------------------


def _one_standard_input(**names: str) -> None:
    if sum(name == "-" for name in names.values()) > 1:
        raise BadInputError("usage", (FieldError(", ".join(names), "-", "standard input for one of them only"),))


def _read(name: str, argument: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise BadInputError(argument, (FieldError(name, error.strerror, "a file that can be read"),)) from error


def _cloud(name: str, changes: str | None) -> "tuple[Cloud, str]":
    """The cloud, as changed, and its digest."""
    from restow.cloud.changes import changed
    from restow.cloud.snapshot import dump_cloud, read_cloud
    from restow.ids import digest_of

    gc.disable()  # the cloud is kept to the end: to look for garbage in it takes longer than to read it
    try:
        cloud = read_cloud(_read(name, "SNAPSHOT"), what=f"snapshot {name}")
    finally:
        gc.freeze()
        gc.enable()
    if changes is not None:
        cloud = changed(cloud, _changes(changes))
    return cloud, digest_of(dump_cloud(cloud))


def _changes(name: str) -> "Changes":
    from restow.messages.base import parse
    from restow.messages.request import Changes

    return parse(Changes, _read(name, "--changes"), what=f"changes {name}")


def _plan(name: str) -> "Plan":
    from restow.messages.base import parse
    from restow.messages.plan import Plan

    return parse(Plan, _read(name, "PLAN"), what=f"plan {name}")


def _write(name: str, text: str) -> None:
    if name == "-":
        _out(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError("-o", (FieldError(name, error.strerror, "a file that can be written"),)) from error


def _summary(plan: "Plan") -> str:
    from restow.render import gap_in_words
    from restow_planner.deadline import was_cut

    numbers: dict[str, Any] = plan.metadata
    parts = [f"{plan.outcome.value}: {plan.why}" if plan.why else plan.outcome.value]
    if plan.steps:
        parts.append(
            f"{len(plan.steps)} steps, {numbers.get('moves', 0)} moves ({numbers.get('parkings', 0)} parkings), "
            f"{plan.moved_mib} MiB, longest chain {numbers.get('longest_chain', 0)}, "
            f"{plan.makespan_s:.0f} s (one by one {numbers.get('serial_s', 0):.0f} s)"
        )
    if was_cut(numbers.get("clock")):
        parts.append("cut by the time limit")
    if plan.steps:
        parts.append(gap_in_words(plan))
    if plan.blockers:
        parts.append(f"{len(plan.blockers)} blockers")
    if plan.solve_s:
        parts.append(f"solved in {plan.solve_s:.2f} s")
    return "; ".join(parts)


def _out(text: str) -> None:
    """To standard output, seen to be written: a full disk would else be told by a traceback at the end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # the reader has gone, and nothing is wrong
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        raise PermanentError(f"standard output cannot be written: {error.strerror}") from error


def _say(line: str) -> None:
    _out(line + "\n")


def _note(line: str) -> None:
    sys.stderr.write(line + "\n")

"""`restow demo` and `restow simulate`: the system shown, and judged, on the simulated cloud."""

import json
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer

EXIT_FAILED = 1


def register(app: typer.Typer) -> None:
    """Add the commands to `restow`."""
    app.command()(demo)
    app.add_typer(simulate, name="simulate")


simulate = typer.Typer(no_args_is_help=True, help="Play on the simulated cloud and judge the promises.")


def demo(
    snapshot: Annotated[Path | None, typer.Option(help="A cloud of your own (restow.cloud/1).")] = None,
    speed: Annotated[float, typer.Option(min=0.1, help="Simulated seconds a second.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    report: Annotated[Path | None, typer.Option(help="Write the verdicts here, as JSON.")] = None,
) -> None:
    """Show the whole loop: a hot host, a crash, a maintenance, a consolidation. Exit 0 only if all held."""
    from restow.simulation.stage import run_demo

    held = run_demo(snapshot=snapshot, speed=speed, seed=seed, report=report)
    raise typer.Exit(0 if held else EXIT_FAILED)


@simulate.command()
def day(
    seed: Annotated[int, typer.Option(min=0)] = 1,
    hours: Annotated[float, typer.Option(min=0.1, max=240)] = 24.0,
) -> None:
    """One simulated day with random faults, the same by its seed."""
    from restow.runtime.logs import set_up_logs
    from restow.simulation.day import play_day
    from restow.simulation.witness import report

    set_up_logs(level="error", form="console")
    result = play_day(seed, hours=hours)
    typer.echo(report(result.verdicts))
    typer.echo(
        f"seed {seed}: {result.events} events, {result.incidents} incidents, {result.plans} plans, "
        f"{result.moves} moves, {result.calls} calls; trace {result.trace[:16]}"
    )
    raise typer.Exit(0 if result.held else EXIT_FAILED)


@simulate.command()
def plan(
    snapshot: Annotated[Path, typer.Argument(help="The restow.cloud/1 that the plan was made from.")],
    plan: Annotated[Path, typer.Argument(help="A restow.plan/1 file.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the cloud's chances, such as how long a migration takes.")] = 1,
) -> None:
    """Carry a plan out on the simulated cloud, told step by step. Exit 0 only if it finished and no rule was broken."""
    from restow.cloud.snapshot import read_cloud
    from restow.messages.base import parse
    from restow.messages.plan import Plan
    from restow.runtime.logs import set_up_logs
    from restow.simulation.play import play_plan
    from restow.simulation.witness import report

    cloud = read_cloud(_read(snapshot, "SNAPSHOT"), what=f"snapshot {snapshot}")
    made = parse(Plan, _read(plan, "PLAN"), what=f"plan {plan}")
    if not made.steps:
        typer.echo(f"{made.outcome.value}: the plan has no steps, so there is nothing to play")
        raise typer.Exit(0 if made.outcome.value == "nothing-to-do" else EXIT_FAILED)
    set_up_logs(level="error", form="console")
    played = play_plan(cloud, made, seed=seed, tell=typer.echo)
    typer.echo(report(played.verdicts))
    typer.echo(f"{played.state} after {played.seconds:,.0f} s, {made.makespan_s:,.0f} s were predicted: {played.why}")
    raise typer.Exit(0 if played.well else EXIT_FAILED)


def _read(file: Path, argument: str) -> bytes:
    from restow.errors import BadInputError, FieldError

    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(argument, (FieldError(str(file), error.strerror, "a file that can be read"),)) from error


@simulate.command()
def days(
    count: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    first_seed: Annotated[int, typer.Option(min=0)] = 1,
    jobs: Annotated[int, typer.Option(min=1, max=256)] = 2,
    hours: Annotated[float, typer.Option(min=0.1, max=240)] = 24.0,
    output: Annotated[Path | None, typer.Option(help="One JSON line a day.")] = None,
) -> None:
    """Many simulated days. A day that broke a promise is told with how to play it again."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console()
    failed: list[int] = []
    totals = {"events": 0, "incidents": 0, "plans": 0, "moves": 0}
    lines = output.open("w", encoding="utf-8") if output else None
    columns = (TextColumn("simulated days"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ProcessPoolExecutor(jobs) as pool, Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=count)
        asked: dict[Future[dict[str, object]], int] = {
            pool.submit(_one_day, seed, hours): seed for seed in range(first_seed, first_seed + count)
        }
        for future in as_completed(asked):
            seed = asked[future]
            row, text, held = _outcome(future, seed)
            for name in totals:
                totals[name] += int(str(row.get(name, 0)))
            if lines:
                lines.write(json.dumps(row) + "\n")
            if not held:
                failed.append(seed)
                console.print(f"[red]seed {seed} broke a promise[/red]\n{text}", highlight=False)
                console.print(f"  again: restow simulate day --seed {seed} --hours {hours:g}", highlight=False)
            progress.advance(task)
    if lines:
        lines.close()
    told = ", ".join(f"{number} {name}" for name, number in totals.items())
    console.print(f"{count - len(failed)} of {count} days kept promises 1 to 7 ({told})", highlight=False)
    raise typer.Exit(0 if not failed else EXIT_FAILED)


def _one_day(seed: int, hours: float) -> dict[str, object]:
    from restow.runtime.logs import set_up_logs
    from restow.simulation.day import play_day
    from restow.simulation.witness import report

    set_up_logs(level="error", form="console")
    result = play_day(seed, hours=hours)
    return {
        "seed": seed,
        "held": result.held,
        "trace": result.trace,
        "events": result.events,
        "incidents": result.incidents,
        "plans": result.plans,
        "moves": result.moves,
        "report": report(result.verdicts),
    }


def _outcome(future: "Future[dict[str, object]]", seed: int) -> tuple[dict[str, object], str, bool]:
    try:
        row = future.result()
    except Exception as error:  # noqa: BLE001  (one day that cannot be played must not hide the others)
        return {"seed": seed, "held": False, "error": repr(error)}, f"  it could not be played: {error!r}", False
    return row, str(row["report"]), bool(row["held"])

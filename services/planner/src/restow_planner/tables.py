"""A plan in tables for a terminal, and a plan beside the one without the changes."""

from typing import Any

from rich.console import Console
from rich.table import Table

from restow.messages.plan import Plan
from restow.render import gap_in_words, part_of
from restow_planner.beside import BESIDE, DIFFERENCE
from restow_planner.deadline import was_cut
from restow_planner.why.names import Names, what
from restow_planner.why.waits import Waits

TABLE_ROWS_MAX = 500
SERVERS_SHOWN = 20
PIPED_WIDTH = 160  # columns when there is no terminal that says how many there are
NO_NUMBERS = frozenset({"clock", BESIDE, DIFFERENCE})


def as_tables(plan: Plan) -> None:
    """Print the plan: outcome and numbers, steps, blockers, what is not modelled."""
    console = _console()
    console.print(f"{plan.request.goal}: {plan.outcome.value} ({plan.id}) {plan.why}")
    if plan.steps:
        console.print(_steps(plan))
        if len(plan.steps) > TABLE_ROWS_MAX:
            console.print(f"… and {len(plan.steps) - TABLE_ROWS_MAX} more steps")
    if plan.blockers:
        table = Table(title="not served", title_justify="left")
        for column in ("server", "rule", "why", "way out"):
            table.add_column(column, overflow="fold")
        for one in plan.blockers[:TABLE_ROWS_MAX]:
            table.add_row(one.server or "-", one.rule, one.why, one.relaxation)
        console.print(table)
    if plan.before or plan.after:
        table = Table(title="numbers", title_justify="left")
        for column in ("", "before", "after"):
            table.add_column(column, justify="right" if column else "left")
        for key in dict.fromkeys([*plan.before, *plan.after]):
            table.add_row(key, _number(plan.before.get(key)), _number(plan.after.get(key)))
        console.print(table)
    console.print(f"moved {plan.moved_mib} MiB in {plan.makespan_s:g} s; {gap_in_words(plan)}")
    numbers = {key: value for key, value in plan.metadata.items() if key not in NO_NUMBERS}
    console.print(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in numbers.items()))
    if was_cut(plan.metadata.get("clock")):
        console.print("the time limit cut the search: with more time there may be a better plan")
    if BESIDE in plan.metadata and DIFFERENCE in plan.metadata:
        _print_beside(console, plan)
    if plan.emptied_hosts:
        console.print("emptied: " + ", ".join(plan.emptied_hosts))
    console.print("not modelled: " + "; ".join(plan.not_modelled))


def _steps(plan: Plan) -> Table:
    table = Table()
    table.add_column("step", no_wrap=True)
    table.add_column("part", no_wrap=True, justify="right")
    table.add_column("does", overflow="fold", ratio=3)
    table.add_column("waits for", overflow="fold", ratio=2)
    table.add_column("seconds", no_wrap=True, justify="right")
    table.add_column("MiB", no_wrap=True, justify="right")
    parts, waits = part_of(plan), Waits(plan, Names())
    for step in plan.steps[:TABLE_ROWS_MAX]:
        purpose = "" if step.purpose.value == "required" else f" ({step.purpose.value})"
        by_limits = [other.id for other, _ in waits.limits.get(step.id, ())]
        awaited = ", ".join(edge.step for edge in step.waits_for)
        if by_limits:
            awaited += ("; " if awaited else "") + f"by the limits: {', '.join(dict.fromkeys(by_limits))}"
        seconds = f"{step.start_s:.1f}-{step.end_s:.1f}"
        does = f"{step.action.value} {what(step, Names())}{purpose}"
        table.add_row(step.id, str(parts[step.id]), does, awaited or "-", seconds, str(step.moved_mib))
    return table


def _signed(change: float) -> str:
    return f"{change:+.10g}" if change else "0"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.10g}"  # no exponents: MiB may be millions


def _console(*, stderr: bool = False) -> Console:
    console = Console(highlight=False, markup=False, stderr=stderr)  # names may hold brackets
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, stderr=stderr, width=PIPED_WIDTH)


def print_beside(plan: Plan) -> None:
    """To standard error: a plan that was made on a changed cloud, beside the one without the changes."""
    _print_beside(_console(stderr=True), plan)


def _print_beside(console: Console, plan: Plan) -> None:
    beside: dict[str, Any] = plan.metadata[BESIDE]
    difference: dict[str, Any] = plan.metadata[DIFFERENCE]
    if beside["outcome"] is None:
        console.print(f"without the changes there is no plan to compare with: {beside['why']}")
        return
    table = Table(title="what if", title_justify="left")
    for column in ("", "without the changes", "with them", "difference"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("outcome", beside["outcome"], plan.outcome.value, "")
    old, new, change = beside["numbers"], difference["with"], difference["numbers"]
    for key in new:
        more = change.get(key)
        table.add_row(key, _number(old.get(key)), _number(new[key]), "-" if more is None else _signed(more))
    console.print(table)
    if beside["cut"]:
        console.print("the time limit cut the search without the changes: with more time there may be a better plan")
    for word, blockers in (("no longer", difference["blockers_gone"]), ("newly", difference["blockers_new"])):
        for why in blockers[:SERVERS_SHOWN]:
            console.print(f"{word} blocked: {why}")
        if len(blockers) > SERVERS_SHOWN:
            console.print(f"… and {len(blockers) - SERVERS_SHOWN} more {word} blocked")
    for one in difference["servers"][:SERVERS_SHOWN]:
        label = one["server"] if one["name"] in ("", one["server"]) else f"{one['name']} ({one['server']})"
        console.print(
            f"{label} ends on {one['without'] or 'no host'} without the changes, on {one['with'] or 'no host'} with"
        )
    if difference["servers_differ"] > SERVERS_SHOWN:
        console.print(f"… and {difference['servers_differ'] - SERVERS_SHOWN} more servers end elsewhere")

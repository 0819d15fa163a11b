"""A plan in words and tables for a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from restow.messages.plan import Plan, Step
from restow.render import gap_in_words, part_of
from restow_planner.deadline import was_cut

LINES_MAX = 2_000
TABLE_ROWS_MAX = 500
PIPED_WIDTH = 160  # columns when there is no terminal that says how many there are


def explain(plan: Plan, subject: str, *, reverse: bool = False) -> list[str] | None:
    """Why this step or server moves or stays, and the whole tree of what it waits for (or what waits for it).

    None if the plan does not name it. What was told once is not told again.
    """
    by_id = {step.id: step for step in plan.steps}
    steps = (
        [by_id[subject]] if subject in by_id else [step for step in plan.steps if subject in (step.server, step.host)]
    )
    blocked = [one for one in plan.blockers if one.server == subject]
    lines = [f"{subject} cannot be served: {one.why} [{one.rule}]; {one.relaxation}" for one in blocked]
    if subject in plan.stays:
        lines.append(f"{subject} stays: {plan.stays[subject]}")
    told: set[str] = set()
    after, parts = _after(plan), part_of(plan)
    for step in steps:
        lines.append(_sentence(step) + _in_part(step, parts))
        told.add(step.id)
        tree = _tree(step, by_id, after, told=told, depth=1, reverse=reverse)
        found = [line for _, line in zip(range(LINES_MAX), tree, strict=False)]
        lines += found or ["  nothing waits for it" if reverse else "  it waits for nothing"]
    return lines or None


def _in_part(step: Step, parts: dict[str, int]) -> str:
    mine = parts[step.id]
    if max(parts.values()) == 1:
        return ""
    others = sum(part == mine for part in parts.values()) - 1
    beside = f"with {others} other step{'s' if others != 1 else ''}" if others else "alone"
    return f"; part {mine} of {max(parts.values())}, {beside}: it waits for no other part"


def _after(plan: Plan) -> dict[str, list[tuple[Step, str]]]:
    found: dict[str, list[tuple[Step, str]]] = {}
    for step in plan.steps:
        for edge in step.waits_for:
            found.setdefault(edge.step, []).append((step, edge.because))
    return found


def _tree(
    step: Step, by_id: dict[str, Step], after: dict[str, list[tuple[Step, str]]], *, told: set[str], depth: int,
    reverse: bool,
) -> Iterator[str]:  # fmt: skip
    """Depth first, without recursion: chains may be thousands of steps long."""
    stack = [iter(_next(step, by_id, after, reverse=reverse))]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
            continue
        other, because = entry
        lead = "  " * (depth + len(stack) - 1) + ("frees " if reverse else "waits for ")
        if other.id in told:
            yield f"{lead}{other.id}: {because} (see above)"
            continue
        told.add(other.id)
        yield f"{lead}{_sentence(other)} — {because}"
        stack.append(iter(_next(other, by_id, after, reverse=reverse)))


def _next(
    step: Step, by_id: dict[str, Step], after: dict[str, list[tuple[Step, str]]], *, reverse: bool
) -> list[tuple[Step, str]]:
    if reverse:
        return after.get(step.id, [])
    return [(by_id[edge.step], edge.because) for edge in step.waits_for if edge.step in by_id]


def _sentence(step: Step) -> str:
    purpose = "" if step.purpose.value == "required" else f", {step.purpose.value}"
    reason = f": {step.why}" if step.why else ""
    return f"{step.id} {step.action.value} {_what(step)} ({step.start_s:g}-{step.end_s:g} s{purpose}){reason}"


def _what(step: Step) -> str:
    if step.server is None:
        return str(step.host)
    return f"{step.server} {step.source or 'nowhere'} → {step.target or 'nowhere'}"


def as_tables(plan: Plan) -> None:
    """Print the plan: outcome and numbers, steps, blockers, what is not modelled."""
    console = Console(highlight=False, markup=False)  # names may hold brackets
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=PIPED_WIDTH)
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
    numbers = {key: value for key, value in plan.metadata.items() if key != "clock"}
    console.print(", ".join(f"{key.replace('_', ' ')} {value}" for key, value in numbers.items()))
    if was_cut(plan.metadata.get("clock")):
        console.print("the time limit cut the search: with more time there may be a better plan")
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
    parts = part_of(plan)
    for step in plan.steps[:TABLE_ROWS_MAX]:
        purpose = "" if step.purpose.value == "required" else f" ({step.purpose.value})"
        waits = ", ".join(edge.step for edge in step.waits_for) or "-"
        seconds = f"{step.start_s:.1f}-{step.end_s:.1f}"
        does = f"{step.action.value} {_what(step)}{purpose}"
        table.add_row(step.id, str(parts[step.id]), does, waits, seconds, str(step.moved_mib))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"

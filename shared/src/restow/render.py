"""A plan as a graph: JSON for programs, DOT for Graphviz, SVG for people; pure."""

from html import escape
from typing import Any

from restow.messages.plan import Action, Plan, Purpose, Step

DRAWN_STEPS_MAX = 400  # more is no picture any more: the first ones are drawn, and the rest is counted
EDGES_DRAWN_MAX = 2_000
ROW_PX, TOP_PX, LEFT_PX, CHART_PX, RIGHT_PX = 26, 78, 330, 720, 40
TICKS = 6

_COLOURS = {Purpose.REQUIRED: "#2f6fb0", Purpose.PARKING: "#c9821f", Purpose.RETURN: "#7a6ab5"}
_HOST_COLOUR = "#5b6672"
_STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:12px;fill:#1d2733}"
    ".head{font-size:15px;font-weight:600}.dim{fill:#5b6672}.inside{fill:#fff}"
    ".grid{stroke:#dfe4ea;stroke-width:1}.row{fill:#f6f8fa}"
    ".edge{fill:none;stroke:#9aa5b1;stroke-width:1.2}"
)


def to_json(plan: Plan) -> dict[str, Any]:
    """`nodes` (steps with their times, wave and part) and `edges` (`from` ends before `to` starts, `because`)."""
    waves, parts = wave_of(plan), part_of(plan)
    return {
        "plan": plan.id,
        "outcome": plan.outcome.value,
        "makespan_s": plan.makespan_s,
        "moved_mib": plan.moved_mib,
        "nodes": [
            {
                "id": step.id, "action": step.action.value, "server": step.server, "host": step.host,
                "from": step.source, "to": step.target, "purpose": step.purpose.value, "why": step.why,
                "start_s": step.start_s, "end_s": step.end_s, "moved_mib": step.moved_mib, "wave": waves[step.id],
                "part": parts[step.id],
            }
            for step in plan.steps
        ],
        "edges": [
            {"from": edge.step, "to": step.id, "because": edge.because}
            for step in plan.steps
            for edge in step.waits_for
        ],
    }  # fmt: skip


def gap_in_words(plan: Plan) -> str:
    """How far the plan may be from the best one."""
    if plan.gap is None:
        return "how far from the best it is, is not known"
    return "proven: no plan is better" if plan.gap <= 0 else f"the best possible is at most {plan.gap:.1%} better"


def part_of(plan: Plan) -> dict[str, int]:
    """The independent part that each step belongs to, from 1: no step waits, however indirectly, for another part's."""
    leader = {step.id: step.id for step in plan.steps}

    def led_by(step: str) -> str:
        while leader[step] != step:
            leader[step] = step = leader[leader[step]]
        return step

    for step in plan.steps:
        for edge in step.waits_for:
            if edge.step in leader:
                leader[led_by(step.id)] = led_by(edge.step)
    numbers: dict[str, int] = {}
    return {step.id: numbers.setdefault(led_by(step.id), len(numbers) + 1) for step in plan.steps}


def wave_of(plan: Plan) -> dict[str, int]:
    """The length of the longest chain of edges before each step; steps of one wave wait for none of their own."""
    found: dict[str, int] = {}
    left = list(plan.steps)
    while left:
        later = []
        for step in left:
            if all(edge.step in found for edge in step.waits_for):
                found[step.id] = max((found[edge.step] + 1 for edge in step.waits_for), default=0)
            else:
                later.append(step)
        if len(later) == len(left):  # a circle or an edge to nowhere: the referee says so, the drawing goes on
            found.update(dict.fromkeys((step.id for step in later), 0))
            break
        left = later
    return found


def to_dot(plan: Plan) -> str:
    """A digraph for Graphviz: an arrow goes from what must end to what waits for it."""
    lines = [
        "digraph plan {",
        f"  label={_quoted(f'{plan.request.goal}: {plan.outcome.value}, {len(plan.steps)} steps')};",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=10];',
        '  edge [fontname="sans-serif", fontsize=8, color="#9aa5b1"];',
    ]
    fills = {Purpose.REQUIRED: "#dbe9f6", Purpose.PARKING: "#f8e3c2", Purpose.RETURN: "#e4e0f3"}
    for step in plan.steps:
        fill = fills[step.purpose] if step.host is None else "#e3e7eb"
        label = f"{step.id}: {step.action.value}\n{_subject(step)}"
        lines.append(f'  {_quoted(step.id)} [label={_quoted(label)}, fillcolor="{fill}", tooltip={_quoted(step.why)}];')
    for step in plan.steps:
        for edge in step.waits_for:
            because = _quoted(edge.because)
            lines.append(f"  {_quoted(edge.step)} -> {_quoted(step.id)} [label={because}, tooltip={because}];")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _subject(step: Step) -> str:
    match step.action:
        case Action.START:
            return f"{step.server} on {step.target}"
        case Action.SHELVE | Action.STOP:
            return f"{step.server} on {step.source}"
        case _ if step.host is not None:
            return step.host
        case _:
            return f"{step.server}: {step.source} → {step.target}"


def to_svg(plan: Plan) -> str:
    """The timeline: one row a step, in the order of their start; arrows from what must end to what waits for it."""
    drawn = sorted(plan.steps, key=lambda step: (step.start_s, step.end_s))[:DRAWN_STEPS_MAX]
    row = {step.id: index for index, step in enumerate(drawn)}
    width = LEFT_PX + CHART_PX + RIGHT_PX
    height = TOP_PX + max(1, len(drawn)) * ROW_PX + 44
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(_title(plan), quote=True)}">'
        ),
        f"<style>{_STYLE}</style>",
        (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#9aa5b1"/></marker></defs>'
        ),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="head" x="16" y="26">{escape(_title(plan))}</text>',
        f'<text class="dim" x="16" y="46">{escape(_short(_subtitle(plan), 150))}</text>',
    ]
    scale = CHART_PX / max(plan.makespan_s, 1e-9)
    bottom = TOP_PX + max(1, len(drawn)) * ROW_PX
    parts += [
        f'<rect class="row" x="0" y="{TOP_PX + index * ROW_PX}" width="{width}" height="{ROW_PX}"/>'
        for index in range(0, len(drawn), 2)
    ]
    if drawn:
        for tick in range(TICKS + 1):
            x = LEFT_PX + CHART_PX * tick / TICKS
            at = plan.makespan_s * tick / TICKS
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP_PX}" x2="{x:.1f}" y2="{bottom}"/>')
            parts.append(f'<text class="dim" x="{x:.1f}" y="{TOP_PX - 6}" text-anchor="middle">{_seconds(at)}</text>')
    else:
        words = plan.blockers[0].why if plan.blockers else "nothing is to be done"
        parts.append(f'<text x="16" y="{TOP_PX + 18}">{escape(_short(words, 150))}</text>')
    parts += _arrows(drawn, row, scale)
    parts += [bar for step in drawn for bar in _bar(step, row[step.id], scale)]
    left_out = len(plan.steps) - len(drawn)
    more = f" · {left_out} more steps are not drawn" if left_out else ""
    parts.append(_legend(bottom + 26, more))
    return "\n".join([*parts, "</svg>", ""])


def _title(plan: Plan) -> str:
    return f"{plan.request.goal}: {plan.outcome.value}"


def _subtitle(plan: Plan) -> str:
    return ": ".join(part for part in (_numbers(plan) if plan.steps else "", plan.why) if part)


def _numbers(plan: Plan) -> str:
    parking = sum(1 for step in plan.steps if step.purpose is not Purpose.REQUIRED)
    return (
        f"{len(plan.steps)} steps ({parking} of them only make room), {plan.moved_mib} MiB moved, "
        f"{_seconds(plan.makespan_s)} expected"
    )


def _bar(step: Step, index: int, scale: float) -> list[str]:
    y = TOP_PX + index * ROW_PX
    x, wide = LEFT_PX + step.start_s * scale, max(3.0, (step.end_s - step.start_s) * scale)
    colour = _HOST_COLOUR if step.host is not None else _COLOURS[step.purpose]
    tip = f"{step.id} {step.action.value} {_subject(step)}: {step.why}"
    tip += "".join(f"\nwaits for {edge.step}: {edge.because}" for edge in step.waits_for)
    return [
        (f'<g><title>{escape(tip)}</title>'
        f'<text x="16" y="{y + 17}"><tspan font-weight="600">{escape(_short(step.id, 8))}</tspan> '
        f'{escape(_short(_words(step), 44))}</text>'
        f'<rect x="{x:.1f}" y="{y + 5}" width="{wide:.1f}" height="{ROW_PX - 10}" rx="3" fill="{colour}"/></g>')
    ]  # fmt: skip


def _words(step: Step) -> str:
    verb = {Action.LIVE_MIGRATE: "", Action.COLD_MIGRATE: "cold ", Action.EVACUATE: "rebuild "}
    return f"{verb.get(step.action, step.action.value + ' ')}{_subject(step)}"


def _arrows(drawn: list[Step], row: dict[str, int], scale: float) -> list[str]:
    by_id = {step.id: step for step in drawn}
    edges = [(edge.step, step) for step in drawn for edge in step.waits_for if edge.step in by_id]
    found = []
    for before, step in edges[:EDGES_DRAWN_MAX]:
        x1, y1 = LEFT_PX + by_id[before].end_s * scale, TOP_PX + row[before] * ROW_PX + ROW_PX / 2
        x2, y2 = LEFT_PX + step.start_s * scale, TOP_PX + row[step.id] * ROW_PX + ROW_PX / 2
        bend = max(10.0, (x2 - x1) / 2)
        found.append(
            f'<path class="edge" marker-end="url(#tip)" '
            f'd="M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"/>'
        )
    return found


def _legend(y: float, more: str) -> str:
    x, parts = 16, []
    for colour, word in (
        *((_COLOURS[purpose], purpose.value) for purpose in Purpose), (_HOST_COLOUR, "host"),
    ):  # fmt: skip
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text class="dim" x="{x + 18}" y="{y}">{word}</text>')
        x += 90
    return "".join(parts) + f'<text class="dim" x="{x}" y="{y}">{escape(more)}</text>'


def _seconds(value: float) -> str:
    if value < 120:
        return f"{value:.3g} s"
    if value < 7200:
        return f"{value / 60:.3g} min"
    return f"{value / 3600:.3g} h"


def _short(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"

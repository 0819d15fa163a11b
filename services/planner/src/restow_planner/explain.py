"""Why a step, a server or a host of a plan moves, stays or waits, in lines for a terminal; pure."""

from collections.abc import Iterable, Iterator

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow.messages.plan import Plan, Step
from restow.render import part_of
from restow_planner.why.hosts import of_host, traffic
from restow_planner.why.names import Names, what
from restow_planner.why.scene import Scene
from restow_planner.why.servers import WITH_SNAPSHOT, said, staying, staying_by_plan
from restow_planner.why.subjects import subject_of
from restow_planner.why.waits import Waits

LINES_MAX = 2_000


def explain(plan: Plan, word: str, *, cloud: Cloud | None = None, reverse: bool = False) -> list[str]:
    """Why this step, server or host moves, stays or waits, and the whole tree of what it waits for (or what for it).

    `cloud`: the snapshot that the plan was made from; without it, as far as the plan alone tells. What was told once is
    not told again. Raises BadInputError if the word means nothing, or several servers.
    """
    subject = subject_of(plan, word, cloud)
    scene = None if cloud is None else Scene(plan, cloud)
    telling = _Telling(plan, Names(cloud))
    lines = [] if subject.step is None else telling.of_steps([subject.step], reverse=reverse)
    if subject.server is not None:
        steps = [one for one in plan.steps if one.server == subject.server]
        if steps:
            lines += (f"{telling.names.server(subject.server)}: {line}" for line in said(plan, subject.server))
            lines += telling.of_steps(steps, reverse=reverse)
        elif scene is None or subject.server not in scene.cloud.server_by_id:
            lines += staying_by_plan(plan, subject.server)
        else:
            lines += staying(scene, ServerId(subject.server))
    if subject.host is not None:
        if scene is None or subject.host not in scene.cloud.host_by_name:
            lines += [f"{subject.host}:", *traffic(plan, subject.host, telling.names)]
            lines.append(f"  who stays on it, how full it is and why it is left so is told with {WITH_SNAPSHOT}")
        else:
            lines += of_host(scene, subject.host)
        lines += telling.of_steps([one for one in plan.steps if one.host == subject.host], reverse=reverse)
    if subject.unknown:
        lines += staying_by_plan(plan, word)
    return lines


class _Telling:
    """The trees of one answer. Each step is told once."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self.names = names
        self._waits = Waits(plan, names)
        self._parts = part_of(plan)
        self._told: set[str] = set()

    def of_steps(self, steps: Iterable[Step], *, reverse: bool) -> list[str]:
        lines: list[str] = []
        for step in steps:
            lines.append(self._sentence(step) + self._in_part(step))
            self._told.add(step.id)
            found = [line for _, line in zip(range(LINES_MAX), self._tree(step, reverse=reverse), strict=False)]
            lines += found or [f"  nothing waits for {step.id}" if reverse else f"  {self._alone(step)}"]
        return lines

    def _tree(self, step: Step, *, reverse: bool) -> Iterator[str]:
        """Depth first, without recursion: chains may be thousands of steps long."""
        following = self._waits.after if reverse else self._waits.before
        stack = [iter(following(step))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            other, because = entry
            lead = "  " * len(stack) + ("frees " if reverse else "waits for ")
            if other.id in self._told:
                yield f"{lead}{other.id}: {because} (see above)"
                continue
            self._told.add(other.id)
            yield f"{lead}{self._sentence(other)} — {because}"
            stack.append(iter(following(other)))

    def _alone(self, step: Step) -> str:
        if self._waits.idles(step):
            return f"no other step and no limit holds it back: the schedule has it start at {step.start_s:g} s"
        return "it waits for nothing"

    def _in_part(self, step: Step) -> str:
        mine, parts = self._parts[step.id], self._parts
        if max(parts.values()) == 1:
            return ""
        others = sum(part == mine for part in parts.values()) - 1
        beside = f"with {others} other step{'s' if others != 1 else ''}" if others else "alone"
        return f"; part {mine} of {max(parts.values())}, {beside}: no rule makes it wait for another part"

    def _sentence(self, step: Step) -> str:
        purpose = "" if step.purpose.value == "required" else f", {step.purpose.value}"
        moved = f", {step.moved_mib} MiB" if step.moved_mib else ""
        reason = f": {step.why}" if step.why else ""
        does = f"{step.action.value} {what(step, self.names)}"
        return f"{step.id} {does} ({step.start_s:g}-{step.end_s:g} s{moved}{purpose}){reason}"

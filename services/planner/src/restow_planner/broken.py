"""Which rules are broken before a plan and after it, and what is told of that; pure."""

from collections.abc import Collection, Iterable, Mapping

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow_planner.rules import all_violations, worse
from restow_planner.rules.affected import affected
from restow_planner.rules.base import Violation

BROKEN_SHOWN = 3

Ends = Mapping[ServerId, tuple[HostName, ...]]
"""Where the servers that a plan touches stand at its end."""


def judged(cloud: Cloud, ends: Ends, dead: Collection[ServerId]) -> tuple[tuple[Violation, ...], ...]:
    """The hard rules broken before, after, and those made worse, as far as the plan can have to do with them.

    Of those that are `dead`, who is not rebuilt runs nowhere, and what their death has broken stays broken.
    """
    small = affected(cloud, ends)
    start: dict[ServerId, tuple[HostName, ...]] = {
        one.id: () if one.host is None else (one.host,) for one in small.servers
    }
    before, after = all_violations(small, start), {**start, **ends}
    known = before
    lost = set(dead) & start.keys()
    left = {one for one in lost if after[one] == start[one]}
    if left:
        known += all_violations(small, start | dict.fromkeys(lost, ()))
        after |= dict.fromkeys(left, ())
    now = all_violations(small, after)
    return before, now, worse(known, now)


def told(broken: Iterable[Violation], before: Iterable[Violation], after: Iterable[Violation]) -> str:
    """Which of the rules that are `broken` at the start are mended, and which stay as they were.

    `before`, `after`: what was judged of the part of the cloud that the plan touches.
    """
    before, after = tuple(before), tuple(after)
    was = {(one.rule, one.subject): one for one in (*broken, *before)}
    mended = {(one.rule, one.subject) for one in before} - {(one.rule, one.subject) for one in after}
    stays = was.keys() - mended
    parts = []
    if stays:
        some = "; ".join(was[key].why for key in sorted(stays)[:BROKEN_SHOWN])
        parts.append(f"broken before and no worse after: {_rules(stays)} ({some})")
    if mended:
        parts.append(f"broken before and mended: {_rules(mended)}")
    return "; ".join(parts)


def _rules(keys: Iterable[tuple[str, str]]) -> str:
    names = sorted({rule for rule, _ in keys})
    return ", ".join(names[:BROKEN_SHOWN]) + (" …" if len(names) > BROKEN_SHOWN else "")

"""The cheapest way to give a server a place: what stands against each host, rule by rule, on the board; pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from restow_planner.goals.work import Work
from restow_planner.problem import Bools, Floats, Ints

RULE = 1.0
"""What it costs to relax one rule; two are dearer than any one."""
EXCLUDED = 0.9
"""The request itself shuts the host: who made it can change it."""
CLOSED = 1.1
DEAD = 3.0
"""No word opens a host that is down."""
HOSTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Hurdle:
    """`against` (H,): the hosts that it bars to the server; `price`: what it costs to take it away there."""

    rule: str
    against: Bools
    price: float | Floats
    words: Callable[[int], str] | None = None
    """How that is done on one host; None: the rule is relaxed, and so for all hosts."""


@dataclass(frozen=True, slots=True)
class WayOut:
    """`rules`: all that must give way on `host`, so that the server fits there as things stand; `words` say how.

    `short`: what the host lacks for it.
    """

    host: int | None
    rules: tuple[str, ...]
    words: str
    short: Mapping[str, int]


def way_out(work: Work, server: int, elsewhere: Bools) -> WayOut:
    """`elsewhere` (H,): where the server is not now. Hosts that this plan empties are out of the question."""
    hurdles = list(_hurdles(work, server))
    total = np.where(elsewhere, 0.0, np.inf)
    total[[host for host in work.closed if host not in work.excluded and host not in work.problem.closed]] = np.inf
    for one in hurdles:
        total += one.price * one.against
    host = int(np.argmin(total)) if len(total) else 0
    if not len(total) or not np.isfinite(total[host]):
        return WayOut(None, (), "add a host", {})
    mine = [one for one in hurdles if one.against[host]]
    said = " and ".join(f"relax {one.rule}" if one.words is None else one.words(host) for one in mine)
    if mine and not any(one.words for one in mine):  # rules give way everywhere
        rest = [one.against for one in hurdles if not one.against[host]]
        free = np.isfinite(total) & ~np.logical_or.reduce([np.zeros_like(elsewhere), *rest])
        names = ", ".join(work.host(other) for other in np.flatnonzero(free)[:HOSTS_SHOWN].tolist())
        said = f"{said} (then {names} would suit)"
    rules = tuple(dict.fromkeys(one.rule for one in mine))
    return WayOut(host, rules, said or "ask again with more time", _short(work, server, host))


def _hurdles(work: Work, server: int) -> Iterator[Hurdle]:
    problem, board = work.problem, work.board
    for rule, mask in problem.allowed_by[int(problem.class_of[server])]:
        yield Hurdle(rule, ~mask, RULE)
    for rule, agrees in board.judgements(server):
        yield Hurdle(rule, ~agrees, RULE)
    yield from _closings(work, server)
    lacking = _lacking(work, server)
    against: Bools = np.any(lacking > 0, axis=0)
    if against.any():
        demand = np.maximum(problem.demand[server], 1)[:, None]
        row = int(np.argmax((lacking > 0).sum(axis=1)))
        yield Hurdle(problem.row_rules[row], against, RULE + (lacking / demand).sum(axis=0), _more_room(work, server))


def _closings(work: Work, server: int) -> Iterator[Hurdle]:
    """Hosts that take nothing in, or not this server, each for its own reason."""
    problem, hosts = work.problem, len(work.problem.hosts)

    def those(some: list[int]) -> Bools:
        mask = np.zeros(hosts, dtype=bool)
        mask[some] = True
        return mask

    barred = work.board.barred.get(server, set())
    unordered = [host for host in barred if (server, host) in work.unordered]
    down = [host for host in problem.closed if host in problem.down]
    shut = [host for host in problem.closed if host not in problem.down]
    yield Hurdle(
        "exclude_hosts", those(list(work.excluded)), EXCLUDED, lambda h: f"take {work.host(h)} off exclude_hosts"
    )
    yield Hurdle("host state", those(shut), CLOSED, lambda h: f"open {work.host(h)}, which is {problem.closed[h][1]}")
    yield Hurdle(
        "host state", those(down), DEAD, lambda h: f"bring back {work.host(h)}, which is {problem.closed[h][1]}"
    )
    yield Hurdle(
        "order", those(unordered), CLOSED, lambda h: f"add room on any host, so that it can get to {work.host(h)}"
    )
    failed = list(barred.difference(unordered))
    yield Hurdle("avoid", those(failed), EXCLUDED, lambda h: f"allow another try on {work.host(h)}")


def _lacking(work: Work, server: int) -> Ints:
    """(R, H) what each host lacks of what the server claims."""
    lacking: Ints = np.maximum(work.problem.demand[server][:, None] - work.board.free, 0)
    lacking[work.problem.demand[server] == 0] = 0
    return lacking


def _short(work: Work, server: int, host: int) -> Mapping[str, int]:
    lacking = _lacking(work, server)[:, host].tolist()
    return {resource: amount for resource, amount in zip(work.problem.resources, lacking, strict=True) if amount}


def _more_room(work: Work, server: int) -> Callable[[int], str]:
    problem = work.problem

    def words(host: int) -> str:
        staying = [one for one in work.board.on[host] if one in work.board.pinned]
        never = problem.demand[server] + problem.demand[staying].sum(axis=0) - problem.capacity[:, host]
        if (never > 0).any():
            more = [
                f"{amount} {name}" for name, amount in zip(problem.resources, never.tolist(), strict=True) if amount > 0
            ]
            return f"give {work.host(host)} {', '.join(more)} more"
        amounts = ", ".join(f"{amount} {name}" for name, amount in _short(work, server, host).items())
        return f"free {amounts} on {work.host(host)}"

    return words

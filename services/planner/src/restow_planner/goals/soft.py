"""What soft rules charge for a placement: judged from their primitives, rule by rule, as the board changes; pure.

A price counts as so many moves of a small server: a rule with the price 3 is broken where three moves would be made
for the same gain, and not for less.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

import numpy as np

from restow_planner.primitives import (
    Allowed,
    AtMost,
    AtMostUnits,
    AtOnce,
    Capacity,
    Isolated,
    Near,
    Primitive,
    Spread,
    Together,
)
from restow_planner.problem import Problem
from restow_planner.rules.units import unit_of
from restow_planner.solvers.board import Board

Soft = Capacity | Allowed | AtMost | Spread | Together | AtMostUnits | Near | Isolated | AtOnce
SHOWN_MAX = 3


def soft_rules(primitives: Iterable[Primitive]) -> tuple[Soft, ...]:
    """Those that cost only their price."""
    return tuple(one for one in primitives if isinstance(one, Soft) and one.soft is not None)


class Charges:
    """What each soft rule charges. What was noted last is remembered, so that a change is soon judged."""

    def __init__(self, rules: Sequence[Soft], board: Board) -> None:
        self._rules, self._board, self._problem = rules, board, board.problem
        self._members = [_members(one, board.problem) for one in rules]
        self._units: dict[str, Sequence[str]] = {}
        self._of_server: dict[int, list[int]] = {}
        self._of_all = [number for number, one in enumerate(rules) if isinstance(one, Capacity | Isolated)]
        for number, (rule, members) in enumerate(zip(rules, self._members, strict=True)):
            for one in (*members, *(self._indices(rule.to) if isinstance(rule, Near) else ())):
                self._of_server.setdefault(one, []).append(number)
        self._noted = [self._charge(number) for number in range(len(rules))]

    def __bool__(self) -> bool:
        return bool(self._rules)

    @property
    def named(self) -> frozenset[int]:
        """The servers that soft rules look at, but for rules that look at all."""
        return frozenset(self._of_server)

    def change(self, moved: Iterable[int]) -> float:
        """By how much these servers' moves have raised what is charged since it was noted."""
        return sum(self._charge(number) - self._noted[number] for number in self._touched(moved))

    def note(self, moved: Iterable[int]) -> None:
        """What these servers' moves have changed is how things stand now."""
        for number in self._touched(moved):
            self._noted[number] = self._charge(number)

    def by_rule(self, moved: Iterable[int] | None = None) -> dict[str, float]:
        """As it was noted; or what these servers' moves have added to it, where that is something."""
        numbers = range(len(self._rules)) if moved is None else self._touched(moved)
        found: dict[str, float] = {}
        for number in numbers:
            amount = self._noted[number] if moved is None else self._charge(number) - self._noted[number]
            rule = self._rules[number].rule
            found[rule] = found.get(rule, 0.0) + amount
        return {rule: amount for rule, amount in found.items() if amount}

    def _touched(self, moved: Iterable[int]) -> list[int]:
        if not self._rules:
            return []
        return sorted({number for one in moved for number in self._of_server.get(one, ())}.union(self._of_all))

    def _charge(self, number: int) -> float:
        rule, at = self._rules[number], self._board.at
        placed = [at[one] for one in self._members[number] if at[one] >= 0]
        price = rule.soft or 0.0
        match rule:
            case Allowed(hosts=hosts):
                return price * sum(self._problem.hosts[host] not in hosts for host in placed)
            case AtMost(per=per, count=count):
                return price * sum(max(0, many - count) for many in self._by_unit(placed, per).values())
            case Spread(over=over, at_least=least):
                return price * max(0, min(least, len(placed)) - len(self._by_unit(placed, over)))
            case Together(host_sets=sets):
                names = [self._problem.hosts[host] for host in placed]
                return price * (len(names) - max((sum(one in hosts for one in names) for hosts in sets), default=0))
            case AtMostUnits(per=per, count=count):
                return price * max(0, len(self._by_unit(placed, per)) - count)
            case Near(to=to, per=per):
                others = [at[one] for one in self._indices(to) if at[one] >= 0]
                served = self._by_unit(others, per)
                return price * sum(self._unit(host, per) not in served for host in placed)
            case Isolated():
                members, on = set(self._members[number]), self._board.on
                return price * sum(min(many, len(on[host] - members)) for host, many in Counter(placed).items())
            case Capacity():
                return price * self._too_much(rule)
            case AtOnce():
                return 0.0  # about the way, not about the end
        assert_never(rule)

    def _by_unit(self, hosts: Iterable[int], per: str) -> Mapping[str, int]:
        return Counter(self._unit(host, per) for host in hosts)

    def _unit(self, host: int, per: str) -> str:
        if per not in self._units:
            self._units[per] = [unit_of(one, per) for one in self._problem.cloud.hosts]  # type: ignore[arg-type]
        return self._units[per][host]

    def _indices(self, servers: Iterable[str]) -> list[int]:
        index = self._problem.server_index
        return [index[one] for one in servers if one in index]  # type: ignore[index]

    def _too_much(self, rule: Capacity) -> float:
        problem = self._problem
        at = np.array(self._board.at, dtype=np.int64)
        placed = np.flatnonzero(at >= 0)
        amounts = problem.demand[placed, problem.resources.index(rule.resource)]
        used = np.bincount(at[placed], weights=amounts, minlength=len(problem.hosts))
        room = np.array([rule.capacity.get(host, 0) for host in problem.hosts], dtype=float)
        return float(np.maximum(used - room, 0.0).sum())


def _members(rule: Soft, problem: Problem) -> tuple[int, ...]:
    if isinstance(rule, Capacity):
        return ()
    servers, index = dict.fromkeys(rule.servers), problem.server_index
    if isinstance(rule, Near):  # who is among those to be near to is near itself
        servers = dict.fromkeys(one for one in servers if one not in set(rule.to))
    return tuple(index[one] for one in servers if one in index)


def in_words(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """What a plan comes to break more, and what it mends, with the price."""
    change = {rule: after.get(rule, 0.0) - before.get(rule, 0.0) for rule in (*before, *after)}
    parts = []
    for word, sign in (("broken", 1), ("mended", -1)):
        found = {rule: sign * amount for rule, amount in change.items() if sign * amount > 0}
        if found:
            parts.append(f"soft rules {word}: {priced(found)}")
    return "; ".join(parts)


def priced(charged: Mapping[str, float]) -> str:
    """The dearest rules with their prices."""
    dearest = sorted(charged, key=lambda rule: (-charged[rule], rule))
    more = f" and {len(dearest) - SHOWN_MAX} more" if len(dearest) > SHOWN_MAX else ""
    return ", ".join(f"{rule} (price {_number(charged[rule])})" for rule in dearest[:SHOWN_MAX]) + more


def _number(amount: float) -> str:
    return f"{amount:,.2f}".removesuffix("00").removesuffix(".")

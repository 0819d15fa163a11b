"""Why a server could not be placed, whether that is proven, and the cheapest way out; pure."""

from collections.abc import Iterable

import numpy as np

from restow.messages.plan import Blocker
from restow_planner.goals.work import Work
from restow_planner.problem import Bools

HOSTS_SHOWN = 3


def obstacle(work: Work, server: int) -> tuple[Blocker, bool]:
    """The blocker of a server that found no place, and whether it is proven that there is none."""
    problem, board = work.problem, work.board
    name = work.label(server)
    if server in board.pinned:
        return pinned(work, server), True
    row = int(problem.class_of[server])
    allowed = problem.allowed[row]
    sure = not problem.ambiguous
    here = board.at[server]
    elsewhere = np.ones(len(problem.hosts), dtype=bool)
    if here >= 0:
        elsewhere[here] = False
    if not (allowed & elsewhere).any():
        return _no_host(work, server, elsewhere), sure
    may = board.may_stand(server) & elsewhere
    if not may.any():
        barred = board.barred.get(server, set())
        if (allowed & board.open & elsewhere).any():
            names = ", ".join(work.host(one) for one in sorted(barred)[:3])
            why = f"moves of {name} to {names} are ruled out, as they failed before"
            return _blocker(work, server, "avoid", why, "allow another try on one of these hosts"), sure
        candidates = np.flatnonzero(allowed & elsewhere)
        example = _closed_example(work, candidates.tolist())
        why = f"every host that {name} may stand on takes nothing in ({example})"
        return _blocker(work, server, "host state", why, f"open {work.host(int(candidates[0]))}, or add a host"), sure
    return _no_room(work, server, np.flatnonzero(may).tolist(), sure=sure)


def _no_host(work: Work, server: int, elsewhere: Bools) -> Blocker:
    """No host suits by the rules, whatever room there is: the fewest rules that leave none, and the best to relax."""
    name, names_of = work.label(server), work.problem.hosts
    if (clash := _clash(work, server)) is not None:
        return clash
    rules = list(work.problem.allowed_by[int(work.problem.class_of[server])])
    guilty = _fewest(rules, elsewhere)
    if not guilty:
        return _blocker(work, server, "hosts", f"there is no other host for {name}", "add a host")
    gained = {rule: _left([one for one in rules if one[0] != rule], elsewhere) for rule, _ in guilty}
    best = max(gained, key=lambda rule: int(gained[rule].sum()))
    which = " and ".join(rule for rule, _ in guilty)
    leave = "leaves none" if len(guilty) == 1 else "together leave none"
    hosts = [names_of[index] for index in np.flatnonzero(gained[best])[:HOSTS_SHOWN].tolist()]
    then = f" (then {', '.join(hosts)} would suit)" if hosts else ""
    why = f"no other host suits {name}: {which} {leave}"
    return _blocker(work, server, ", ".join(rule for rule, _ in guilty), why,
                    f"relax {best}{then}, or add a host that all its rules allow")  # fmt: skip


def _clash(work: Work, server: int) -> Blocker | None:
    found = next((one for one in work.clashes if work.server(server) in one.servers), None)
    if found is None:
        return None
    first, second = found.rules
    return _blocker(work, server, f"{first}, {second}", found.why, f"drop {first} or {second}, or make one soft")


def _fewest(rules: list[tuple[str, Bools]], elsewhere: Bools) -> list[tuple[str, Bools]]:
    """Rules that leave no host and of which none can be spared (deletion filter: Chinneck and Dravnieks, 1991)."""
    kept = list(rules)
    for one in rules:
        rest = [other for other in kept if other is not one]
        if not _left(rest, elsewhere).any():
            kept = rest
    return kept


def _left(rules: list[tuple[str, Bools]], elsewhere: Bools) -> Bools:
    left = elsewhere.copy()
    for _, mask in rules:
        left &= mask
    return left


def _no_room(work: Work, server: int, hosts: list[int], *, sure: bool) -> tuple[Blocker, bool]:
    problem, board = work.problem, work.board
    name = work.label(server)
    demand = problem.demand[server][:, None]
    kept = np.array([_unmovable_claims(work, host) for host in hosts]).T
    never = (demand + kept > problem.capacity[:, hosts]).any(axis=0)
    missing = np.maximum(demand - board.free[:, hosts], 0)
    nearest = int(np.argmin(problem.weight @ missing))
    host = work.host(hosts[nearest])
    short = {
        resource: int(amount)
        for resource, amount in zip(problem.resources, missing[:, nearest], strict=True)
        if amount > 0
    }
    if never.all():
        lacking = np.maximum(demand + kept - problem.capacity[:, hosts], 0)
        nearest = int(np.argmin(problem.weight @ lacking))
        resource = int(np.argmax(lacking[:, nearest] * problem.weight))
        amount = int(lacking[resource, nearest])
        unit = problem.resources[resource]
        host = work.host(hosts[nearest])
        why = f"{name} needs {int(demand[resource, 0])} {unit}; even {host}, freed of all that may move, lacks {amount}"
        return _blocker(work, server, problem.row_rules[resource], why, f"give {host} {amount} {unit} more"), sure
    if not short:
        if (clash := _clash(work, server)) is not None:
            return clash, False
        binding = (
            *(problem.at_most[index].rule for index in problem.at_most_of.get(server, ())),
            *(problem.spreads[index].rule for index in problem.spreads_of.get(server, ())),
            *(problem.homeless[index].rule for index in problem.homeless_of.get(server, ())),
            *(problem.licences[index].rule for index in problem.licences_of.get(server, ())),
            *(problem.near[index].rule for index in problem.near_of.get(server, ())),
            *([problem.cells.rule] if problem.cells and server in problem.cells.away else ()),
            *(tally.rule for tally in problem.isolated),
            "earlier goals",
        )
        rule = binding[0]
        return _blocker(work, server, rule, f"{rule} leaves no host with room for {name}", f"relax {rule}"), False
    amounts = ", ".join(f"{amount} {resource}" for resource, amount in short.items())
    rule = problem.row_rules[problem.resources.index(next(iter(short)))]
    why = f"no host has room for {name}; {host} comes nearest and lacks {amounts}"
    return _blocker(work, server, rule, why, f"free {amounts} on {host}"), False


def _unmovable_claims(work: Work, host: int) -> np.ndarray:
    staying = [one for one in work.board.on[host] if one in work.board.pinned]
    claims: np.ndarray = work.problem.demand[staying].sum(axis=0)
    return claims


def pinned(work: Work, server: int) -> Blocker:
    rule, why = work.board.pinned[server]
    relaxation = {
        "pin": "take it off the request's pin list",
        "unmovable": "unlock it, let its task end, or allow it to move",
        "storage": "bring its host back, or ask for it with empty_disks",
        "devices": "let it be moved cold, or stop it",
        "services": "have its service replace it elsewhere, or take the mark off it",
    }.get(rule, f"make {rule} soft, or take the server out of it")
    if rule.startswith("affinity "):
        relaxation = f"give the group of {rule} the policy soft-affinity: one by one, no member may leave the others"
    return _blocker(work, server, rule, f"{work.label(server)} stays: {why}", relaxation)


def stranded(work: Work, server: int) -> Blocker:
    """It stands on a host that is down, and the goal is not to recover it."""
    host = work.host(int(work.problem.start[server]))
    why = f"{work.label(server)} cannot be migrated off {host}, which is down"
    return _blocker(work, server, "host state", why, f"ask for goal recover of {host}, or bring it up")


def limit_blocker(work: Work, server: int, rule: str) -> Blocker:
    why = f"moving {work.label(server)} would exceed {rule}"
    return _blocker(work, server, rule, why, f"raise {rule}")


def too_much_in_all(work: Work, servers: Iterable[int]) -> str | None:
    """A proof by counting that these cannot all stand on open hosts, or None."""
    problem, board = work.problem, work.board
    servers = [one for one in servers if board.at[one] >= 0 and not board.open[board.at[one]]]
    hosts = np.flatnonzero(board.open)
    used = problem.capacity[:, hosts] - board.free[:, hosts]
    room = np.maximum(problem.capacity[:, hosts], used).sum(axis=1)
    need = used.sum(axis=1) + problem.demand[servers].sum(axis=0)
    for resource, lacking in zip(problem.resources, (need - room).tolist(), strict=True):
        if lacking > 0:
            return f"all open hosts together lack {lacking} {resource}"
    return None


def _closed_example(work: Work, hosts: list[int]) -> str:
    host = hosts[0]
    reason = work.problem.closed.get(host)
    return f"{work.host(host)}: {reason[1] if reason else 'closed by this request'}"


def _blocker(work: Work, server: int, rule: str, why: str, relaxation: str) -> Blocker:
    return Blocker(server=work.server(server), rule=rule, why=why, relaxation=relaxation)

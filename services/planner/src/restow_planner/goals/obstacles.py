"""Why a server could not be placed, whether that is proven, and the cheapest way out; pure."""

from collections.abc import Iterable, Sequence

import numpy as np

from restow.messages.plan import Blocker
from restow_planner.goals.relaxations import HOSTS_SHOWN, WayOut, way_out
from restow_planner.goals.work import Work
from restow_planner.problem import Bools
from restow_planner.rules.unmovable import remedy

PINNED = {
    "pin": "take it off the request's pin list",
    "storage": "bring its host back, or ask for it with empty_disks",
    "devices": "let it be moved cold, or stop it",
    "services": "have its service replace it elsewhere, or take the mark off it",
    "reach": "leave it out of the targets, or ask for one of the two goals",
}
"""What lets a server go that must stay, by what holds it."""


def obstacle(work: Work, server: int) -> tuple[Blocker, bool]:
    """The blocker of a server that found no place, and whether it is proven that there is none."""
    problem, board = work.problem, work.board
    name = work.label(server)
    if server in board.pinned:
        return pinned(work, server), True
    allowed = problem.allowed[int(problem.class_of[server])]
    here = board.at[server]
    elsewhere = np.ones(len(problem.hosts), dtype=bool)
    if here >= 0:
        elsewhere[here] = False
    way = way_out(work, server, elsewhere)
    if not (allowed & elsewhere).any():
        return _no_host(work, server, elsewhere, way), True
    may = board.may_stand(server) & elsewhere
    if may.any():
        return _no_room(work, server, np.flatnonzero(may).tolist(), way)
    tried = np.flatnonzero(allowed & board.open & elsewhere).tolist()
    if tried:
        found = barred(work, server, tried)
        return found, found.rule != "order"
    candidates = np.flatnonzero(allowed & elsewhere).tolist()
    rule = "exclude_hosts" if work.excluded.issuperset(candidates) else "host state"
    why = f"every host that {name} may stand on takes nothing in ({_closed_example(work, candidates)})"
    return _blocker(work, server, rule, why, f"{way.words}, or add a host"), True


def barred(work: Work, server: int, hosts: Sequence[int]) -> Blocker:
    """Hosts that it does not go to: a move there has failed before, or no safe order of moves to it was found."""
    name, names = work.label(server), ", ".join(work.host(one) for one in hosts[:HOSTS_SHOWN])
    if any((server, host) in work.unordered for host in hosts):
        why = f"no safe order of moves was found that brings {name} to {names}"
        return _blocker(work, server, "order", why, "add room on any host that may take it in for a while")
    why = f"moves of {name} to {names} are ruled out, as they failed before"
    return _blocker(work, server, "avoid", why, "allow another try on one of these hosts, or name another host")


def _no_host(work: Work, server: int, elsewhere: Bools, way: WayOut) -> Blocker:
    """No host suits by the rules, whatever room there is: the fewest rules that leave none, and the way out."""
    name = work.label(server)
    if (clash := _clash(work, server)) is not None:
        return clash
    rules = list(work.problem.allowed_by[int(work.problem.class_of[server])])
    guilty = _fewest(rules, elsewhere)
    if not guilty:
        return _blocker(work, server, "hosts", f"there is no other host for {name}", "add a host")
    which = " and ".join(rule for rule, _ in guilty)
    leave = "leaves none" if len(guilty) == 1 else "together leave none"
    why = f"no other host suits {name}: {which} {leave}"
    return _blocker(work, server, ", ".join(rule for rule, _ in guilty), why,
                    f"{way.words}, or add a host that all its rules allow")  # fmt: skip


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


def _no_room(work: Work, server: int, hosts: list[int], way: WayOut) -> tuple[Blocker, bool]:
    problem, name = work.problem, work.label(server)
    demand = problem.demand[server][:, None]
    kept = np.array([_unmovable_claims(work, host) for host in hosts]).T
    lacking = np.where(demand > 0, np.maximum(demand + kept - problem.capacity[:, hosts], 0), 0)
    if (lacking > 0).any(axis=0).all():
        nearest = int(np.argmin(problem.weight @ lacking))
        resource = int(np.argmax(lacking[:, nearest] * problem.weight))
        amount, unit, host = int(lacking[resource, nearest]), problem.resources[resource], work.host(hosts[nearest])
        why = f"{name} needs {int(demand[resource, 0])} {unit}; even {host}, freed of all that may move, lacks {amount}"
        sure = not any((server, host) in work.unordered for host in work.board.barred.get(server, ()))
        return _blocker(work, server, problem.row_rules[resource], why, f"give {host} {amount} {unit} more"), sure
    if not way.short and (clash := _clash(work, server)) is not None:
        return clash, False
    rule = ", ".join(way.rules) or "earlier goals"
    if way.short and len(way.rules) == 1 and way.host is not None:
        amounts = ", ".join(f"{amount} {resource}" for resource, amount in way.short.items())
        why = f"no host has room for {name}; {work.host(way.host)} comes nearest and lacks {amounts}"
    else:
        verb = "leaves" if len(way.rules) < 2 else "together leave"
        why = f"{' and '.join(way.rules) or rule} {verb} no host with room for {name}"
    return _blocker(work, server, rule, why, way.words), False


def _unmovable_claims(work: Work, host: int) -> np.ndarray:
    staying = [one for one in work.board.on[host] if one in work.board.pinned]
    claims: np.ndarray = work.problem.demand[staying].sum(axis=0)
    return claims


def pinned(work: Work, server: int) -> Blocker:
    rule, why = work.board.pinned[server]
    relaxation = PINNED.get(rule, f"make {rule} soft, or take the server out of it")
    if rule == "unmovable":
        cloud = work.problem.cloud
        relaxation = remedy(cloud, cloud.servers[server]) or relaxation
    if rule.startswith("affinity "):
        relaxation = f"give the group of {rule} the policy soft-affinity: one by one, no member may leave the others"
    return _blocker(work, server, rule, f"{work.label(server)} stays: {why}", relaxation)


def not_sent(work: Work, server: int, hosts: Sequence[int]) -> Blocker:
    """An earlier goal wants it on a host that a later one empties."""
    names = ", ".join(work.host(one) for one in hosts[:HOSTS_SHOWN])
    why = f"{work.label(server)} is not sent where an earlier goal wants it: a later one empties {names}"
    return _blocker(work, server, "reach", why, PINNED["reach"])


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
    said = "excluded by this request" if host in work.excluded else "emptied by this plan"
    return f"{work.host(host)}: {reason[1] if reason else said}"


def _blocker(work: Work, server: int, rule: str, why: str, relaxation: str) -> Blocker:
    return Blocker(server=work.server(server), rule=rule, why=why, relaxation=relaxation)

"""What is left of a decision some of whose moves cannot be ordered: those that serve somebody, in true words; pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from restow.cloud.model import Cloud
from restow.ids import HostName, ServerId
from restow.messages.plan import Action, Blocker
from restow.messages.request import AnyRequest, EvacuateRequest, ReachRequest, RecoverRequest, ThenRequest
from restow_planner.broken import judged, told
from restow_planner.decision import Decision
from restow_planner.referee.steps import requests

NAMES_SHOWN = 3
LOOKED_AT_MAX = 20
"""Servers for which the host is looked for where they could wait."""

Targets = Mapping[ServerId, HostName | None]


def without(
    cloud: Cloud, request: AnyRequest, decision: Decision, stuck: Collection[ServerId], blockers: tuple[Blocker, ...]
) -> Decision | None:
    """The decision without those who are stuck; None: nothing of it is left, or what is would break a rule."""
    wanted = _wanted(cloud, request)
    part: Targets = {server: target for server, target in decision.targets.items() if server not in stuck}
    if wanted is not None:
        part = _serving(cloud, part, wanted)
    if not part:
        return None
    fenced = {host for action, host in decision.host_steps_first if action is Action.FENCE}
    dead = {one.id for host in fenced for one in cloud.servers_on[host]}
    ends = {server: () if target is None else (target,) for server, target in part.items()}
    before, after, bad = judged(cloud, ends, dead)
    if bad:
        return None
    left = decision.targets.keys() - part.keys()
    kept_full = {cloud.server_by_id[one].host for one in left}
    return replace(
        decision, targets=part, blockers=(*decision.blockers, *blockers),
        why_outcome=f"{decision.why_outcome}; {_words(decision, part, left, wanted)}",
        of_rules=told(decision.broken, before, after),
        host_steps_last=tuple(pair for pair in decision.host_steps_last if pair[1] not in kept_full),
        after={}, gap=None, objective=None, bound=None,
    )  # fmt: skip


def unordered(cloud: Cloud, servers: Iterable[ServerId], decision: Decision, why: str) -> Iterator[Blocker]:
    """The blockers of servers that no safe order of moves brings to their targets."""
    for number, server in enumerate(servers):
        target = decision.targets.get(server)
        waits = _nearest_to_wait_on(cloud, server, decision) if number < LOOKED_AT_MAX else None
        yield Blocker(
            server=server,
            rule="order",
            why=f"{server} cannot get to {target}: {why}" if target else f"{server}: {why}",
            relaxation=f"{waits or 'add a host where it can wait'}, or shelve a server",
        )


def _nearest_to_wait_on(cloud: Cloud, server: ServerId, decision: Decision) -> str | None:
    """What is lacking on the host where it could stand for a while, by room, and lacks least of what it claims."""
    one = cloud.server_by_id[server]
    wanted = {name: amount for name, amount in one.demand.items() if amount and name in cloud.resources}
    found: list[tuple[float, HostName, dict[str, int]]] = []
    for host in cloud.hosts:
        if (
            host.name in (one.host, decision.targets.get(server))
            or host.name in decision.closed
            or not host.takes_servers
        ):
            continue
        used = {name: sum(guest.demand.get(name, 0) for guest in cloud.servers_on[host.name]) for name in wanted}
        free = {name: host.capacity.get(name, 0) - used[name] for name in wanted}
        short = {name: amount - free[name] for name, amount in wanted.items() if amount > free[name]}
        found.append((sum(lack / wanted[name] for name, lack in short.items()), host.name, short))
    least = min(found, default=None, key=lambda each: (each[0], each[1]))
    if least is None or not least[2]:
        return None
    amounts = ", ".join(f"{lack} {name}" for name, lack in least[2].items())
    return f"free {amounts} on {least[1]}, where it could wait"


def _wanted(cloud: Cloud, request: AnyRequest) -> set[ServerId] | None:
    """Whom the goals move for their own sake; None: a goal among them has a use for any move."""
    found: set[ServerId] = set()
    for goal in requests(request):
        match goal:
            case EvacuateRequest() | RecoverRequest():
                found |= {one.id for name in goal.hosts for one in cloud.servers_on[HostName(name)]}
                found |= {ServerId(one) for one in getattr(goal, "servers", ())}
            case ReachRequest():
                found |= {ServerId(one) for one in goal.targets}
            case ThenRequest():
                pass  # its goals come after it
            case _:
                return None
    return found


def _serving(cloud: Cloud, part: Targets, wanted: set[ServerId]) -> Targets:
    """Those who are wanted elsewhere, and those who make room for them, or for others who do."""
    kept = {server: target for server, target in part.items() if server in wanted}
    while True:
        filled = set(kept.values())
        more = {one: to for one, to in part.items() if one not in kept and cloud.server_by_id[one].host in filled}
        if not more:
            return {one: to for one, to in part.items() if one in kept}
        kept |= more


def _words(decision: Decision, part: Targets, left: Collection[ServerId], wanted: set[ServerId] | None) -> str:
    if wanted is None:
        return f"but {len(left)} of the {len(decision.targets)} moves to that are left out: no order of them is safe"
    unserved = sorted(wanted.intersection(left))
    names = ", ".join(unserved[:NAMES_SHOWN]) + (" …" if len(unserved) > NAMES_SHOWN else "")
    served = len(wanted & part.keys())
    return f"but no safe order of moves was found for {names}: {served} of {served + len(unserved)} are moved"

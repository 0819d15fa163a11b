"""Rules that contradict each other: no placement at all keeps both, whatever room there is; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from restow.cloud.model import Cloud, Unit
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, AtMost, AtMostUnits, Isolated, Near, Primitive, Spread, Together
from restow_planner.rules.units import hosts_by_unit

Hosts = frozenset[HostName]


@dataclass(frozen=True, slots=True)
class Clash:
    """Two hard rules and the servers of which both cannot be kept."""

    rules: tuple[str, str]
    servers: tuple[ServerId, ...]
    why: str


def clashes(cloud: Cloud, primitives: Iterable[Primitive]) -> Iterator[Clash]:
    """Every pair of hard rules that can be told to contradict by looking at these two alone.

    `together` against what keeps apart (`spread`, `at-most`, anti-affinity, `isolate`), and `together` or `among`
    against hosts that are allowed; `licence` against `spread`; `near` against what keeps apart. Host lists of one
    server that have no host in common show as the empty intersection of its `Allowed`, where the planner meets them.
    """
    hard = [one for one in primitives if getattr(one, "soft", None) is None]
    for one in (one for one in hard if isinstance(one, Together) and len(one.servers) > 1):
        for other in hard:
            match other:
                case Spread() | AtMost():
                    yield from _apart(cloud, one, other)
                case Allowed():
                    yield from _elsewhere(one, other)
                case Isolated():
                    yield from _strangers(one, other)
                case _:
                    pass
    for licence in (one for one in hard if isinstance(one, AtMostUnits)):
        yield from _few(licence, (one for one in hard if isinstance(one, Spread)))
    for near in (one for one in hard if isinstance(one, Near)):
        yield from _lonely(near, hard)


def _apart(cloud: Cloud, together: Together, apart: Spread | AtMost) -> Iterator[Clash]:
    common = tuple(one for one in together.servers if one in set(apart.servers))
    unit: Unit = apart.over if isinstance(apart, Spread) else apart.per
    widest = max((_units(cloud, unit, hosts) for hosts in together.host_sets), default=0)
    if isinstance(apart, Spread):
        impossible = len(common) == len(apart.servers) and widest < apart.at_least
        wanted = f"in at least {apart.at_least} {unit}s"
    else:
        impossible = len(common) > apart.count * widest
        wanted = f"at most {apart.count} in a {unit}"
    if impossible:
        why = (
            f"{together.rule} and {apart.rule} contradict each other: the one wants {_names(common)} together, "
            f"the other {wanted}"
        )
        yield Clash((together.rule, apart.rule), common, why)


def _units(cloud: Cloud, unit: Unit, hosts: Hosts) -> int:
    return sum(1 for members in hosts_by_unit(cloud, unit).values() if members & hosts)


def _elsewhere(together: Together, allowed: Allowed) -> Iterator[Clash]:
    """Some of those who must be together may stand in none of the sets."""
    common = tuple(one for one in together.servers if one in set(allowed.servers))
    if common and not any(hosts & allowed.hosts for hosts in together.host_sets):
        why = f"{together.rule} and {allowed.rule} contradict each other: they leave {_names(common)} no host in common"
        yield Clash((together.rule, allowed.rule), common, why)


def _strangers(together: Together, isolated: Isolated) -> Iterator[Clash]:
    """Some of those who must share a host may share it with some of the others only."""
    inside = tuple(one for one in together.servers if one in set(isolated.servers))
    if inside and len(inside) < len(together.servers) and all(len(hosts) == 1 for hosts in together.host_sets):
        why = f"{together.rule} and {isolated.rule} contradict each other: {_names(inside)} may not meet the others"
        yield Clash((together.rule, isolated.rule), together.servers, why)


def _few(licence: AtMostUnits, spreads: Iterable[Spread]) -> Iterator[Clash]:
    for one in spreads:
        if one.over == licence.per and one.at_least > licence.count and set(one.servers) <= set(licence.servers):
            why = (
                f"{one.rule} and {licence.rule} contradict each other: the one wants at least {one.at_least} "
                f"{one.over}s, the other allows {licence.count}"
            )
            yield Clash((one.rule, licence.rule), one.servers, why)


def _lonely(near: Near, hard: Iterable[Primitive]) -> Iterator[Clash]:
    """Servers that may be near none of those near whom they must be."""
    for one in hard:
        match one:
            case AtMost(per=per, count=1) if per == near.per and set(near.to) <= set(one.servers):
                apart = tuple(server for server in near.servers if server in set(one.servers))
            case Isolated() if near.per == "host":
                inside = set(one.servers)
                apart = tuple(
                    server
                    for server in near.servers
                    if all((server in inside) != (other in inside) for other in near.to)
                )
            case _:
                continue
        if apart:
            why = f"{near.rule} and {one.rule} contradict each other: the one wants {_names(apart)} near, the other not"
            yield Clash((near.rule, one.rule), apart, why)


def _names(servers: tuple[ServerId, ...]) -> str:
    return ", ".join(servers[:3]) + (" …" if len(servers) > 3 else "")

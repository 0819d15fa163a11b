"""Rules that contradict each other: no placement at all keeps both, whatever room there is; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from restow.cloud.model import Cloud, Unit
from restow.ids import HostName, ServerId
from restow_planner.primitives import Allowed, AtMost, Primitive, Spread, Together
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

    `together` against what keeps apart (`spread`, `at-most`, anti-affinity), and `together` or `among` against
    hosts that are allowed. Host lists of one server that have no host in common show as the empty intersection
    of its `Allowed`, where the planner meets them.
    """
    hard = [one for one in primitives if getattr(one, "soft", None) is None]
    together = [one for one in hard if isinstance(one, Together) and len(one.servers) > 1]
    if not together:
        return
    for one in together:
        for other in hard:
            match other:
                case Spread() | AtMost():
                    yield from _apart(cloud, one, other)
                case Allowed():
                    yield from _elsewhere(one, other)
                case _:
                    pass


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


def _names(servers: tuple[ServerId, ...]) -> str:
    return ", ".join(servers[:3]) + (" …" if len(servers) > 3 else "")

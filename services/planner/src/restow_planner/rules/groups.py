"""Server groups of Nova: affinity, anti-affinity and their soft forms; pure.

A member of a hard affinity group cannot leave the others one by one, which is how servers move: such
members are fixed. Only a member that stands apart may join them. On a host that is down there is nobody to stay with.
"""

from collections import Counter
from collections.abc import Iterable

from restow.cloud.model import Cloud, Group, GroupPolicy
from restow.ids import HostName
from restow_planner.primitives import AtMost, Fixed, Primitive, Together
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.units import known, outside_best_set, runs

SOFT_PRICE = 1.0
"""Price of a member that breaks a soft group; Nova gives its soft weighers the same default weight."""


class GroupRule:
    name = "groups"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        hosts = tuple(frozenset([host.name]) for host in cloud.hosts) if cloud.groups else ()
        for group in cloud.groups:
            members = known(cloud, group.members)
            rule = f"{group.policy} {group.id}"
            if len(members) < 2:
                continue
            match group.policy:
                case GroupPolicy.ANTI_AFFINITY:
                    yield AtMost(rule, members, "host", group.max_per_host)
                case GroupPolicy.SOFT_ANTI_AFFINITY:
                    yield AtMost(rule, members, "host", group.max_per_host, soft=SOFT_PRICE)
                case GroupPolicy.SOFT_AFFINITY:
                    yield Together(rule, members, hosts, soft=SOFT_PRICE)
                case GroupPolicy.AFFINITY:
                    yield Together(rule, members, hosts)
                    home = _home(cloud, group)
                    if home is not None:
                        stuck = [one for one in members if cloud.server_by_id[one].host == home]
                        yield Fixed(rule, dict.fromkeys(stuck, f"affinity group {group.id} keeps it with the others"))

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        for group in cloud.groups:
            members = known(cloud, group.members)
            rule = f"{group.policy} {group.id}"
            if group.policy is GroupPolicy.ANTI_AFFINITY and len(members) > 1:
                on_host = Counter(host for member in members for host in set(where.get(member, ())))
                for host, count in on_host.items():
                    if count > group.max_per_host:
                        why = f"{count} members of {group.id} on {host}, at most {group.max_per_host} may be"
                        yield Violation(rule, host, count - group.max_per_host, why)
            if group.policy is GroupPolicy.AFFINITY and len(members) > 1:
                sets = {frozenset([host]) for member in members for host in where.get(member, ())}
                apart = outside_best_set(where, members, sets)
                if apart:
                    yield Violation(rule, group.id, apart, f"{apart} members of {group.id} stand apart from the others")
                home = _home(cloud, group)
                for member in members:
                    if home is not None and cloud.server_by_id[member].host == home and where.get(member) != (home,):
                        yield Violation(rule, member, 1, f"{member} leaves the others of {group.id} on {home}")


def _home(cloud: Cloud, group: Group) -> HostName | None:
    """The living host that has more members than any other host, and at least two; else None."""
    at = Counter(
        host
        for member in known(cloud, group.members)
        if (host := cloud.server_by_id[member].host) is not None and runs(cloud, host)
    )
    most = at.most_common(2)
    if not most or most[0][1] < 2 or (len(most) == 2 and most[1][1] == most[0][1]):
        return None
    return most[0][0]

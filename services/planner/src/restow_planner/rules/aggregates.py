"""Aggregates: what a flavor wants of a host's aggregates, and whom or what an aggregate keeps for itself; pure.

As Nova's filters have it. AggregateInstanceExtraSpecsFilter: each extra spec must be met by a value of that key in some
aggregate of the host. AggregateMultiTenancyIsolation: hosts of an aggregate with `filter_tenant_id` take these projects
only. AggregateImagePropertiesIsolation: an image property that an aggregate names must have one of its values.
"""

from collections.abc import Iterable, Mapping

from restow.cloud.model import Cloud, Host, Server
from restow_planner.extra_specs import matches
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation

SCOPE = "aggregate_instance_extra_specs"
TENANTS = "filter_tenant_id"
Values = Mapping[str, frozenset[str]]
"""Per key the values that the aggregates of a host give it."""


class AggregateRule:
    """A key without a scope counts where some aggregate has it; one of another scope is not about aggregates."""

    name = "aggregates"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        if not cloud.aggregates and not any(one.extra_specs for one in cloud.servers):
            return
        named = {key for metadata in cloud.aggregates.values() for key in metadata}
        kinds: dict[tuple[str, ...], Values] = {}
        hosts_of: dict[tuple[str, ...], list[Host]] = {}
        for host in cloud.hosts:
            if host.aggregates not in kinds:
                kinds[host.aggregates] = values_of(cloud, host)
            hosts_of.setdefault(host.aggregates, []).append(host)
        alike: dict[tuple[object, ...], list[Server]] = {}
        for one in cloud.servers:
            key = (one.project, tuple(sorted(one.extra_specs.items())), tuple(sorted(one.image.items())))
            alike.setdefault(key, []).append(one)
        for servers in alike.values():
            open_to = [names for names, values in kinds.items() if _suits(servers[0], values, named)]
            if len(open_to) < len(kinds):
                hosts = frozenset(host.name for names in open_to for host in hosts_of[names])
                yield Allowed("aggregates", tuple(one.id for one in servers), hosts)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        known = {key for metadata in cloud.aggregates.values() for key in metadata}
        values = {host.name: values_of(cloud, host) for host in cloud.hosts} if cloud.aggregates else {}
        for server in cloud.servers:
            wanted = _wanted(server, known)
            if not wanted and not cloud.aggregates:
                continue
            for name in where.get(server.id, ()):
                given = values.get(name, {})
                wrong = [f"{key} {want}" for key, want in wanted if not _any(given.get(key, frozenset()), want)]
                tenants = given.get(TENANTS)
                if tenants and server.project not in tenants:
                    wrong.append(f"{TENANTS} {server.project}")
                wrong += [f"image {key} {own}" for key, own in server.image.items() if own not in given.get(key, {own})]
                if wrong:
                    why = f"{server.id} is on {name}, whose aggregates do not have it: {', '.join(wrong)}"
                    yield Violation("aggregates", server.id, 1, why)
                    break


def values_of(cloud: Cloud, host: Host) -> Values:
    """A value may list several, with commas between."""
    found: dict[str, set[str]] = {}
    for name in host.aggregates:
        for key, value in cloud.aggregates.get(name, {}).items():
            name_of = TENANTS if key.startswith(TENANTS) else key  # filter_tenant_id2 and the like add to the list
            found.setdefault(name_of, set()).update(part.strip() for part in value.split(","))
    return {key: frozenset(values) for key, values in found.items()}


def _suits(server: Server, values: Values, named: set[str]) -> bool:
    tenants = values.get(TENANTS, frozenset())
    if tenants and server.project not in tenants:
        return False
    if any(key in values and own not in values[key] for key, own in server.image.items()):
        return False
    for full, want in server.extra_specs.items():
        scope, _, key = full.partition(":") if ":" in full else ("", "", full)
        counts = scope == SCOPE or (not scope and key in named)
        if counts and not any(matches(value, want) for value in values.get(key, ())):
            return False
    return True


def _wanted(server: Server, known: set[str]) -> list[tuple[str, str]]:
    found = []
    for key, want in server.extra_specs.items():
        if key.startswith(SCOPE + ":"):
            found.append((key[len(SCOPE) + 1 :], want))
        elif ":" not in key and key in known:
            found.append((key, want))
    return found


def _any(values: frozenset[str], want: str) -> bool:
    return any(matches(value, want) for value in values)

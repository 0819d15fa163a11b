"""Traits: a server stands where all that it requires is there and nothing that it forbids; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud
from restow.ids import ServerId
from restow_planner.primitives import Allowed, Primitive
from restow_planner.rules.base import Occupancy, Violation


class TraitRule:
    name = "traits"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        alike: dict[tuple[frozenset[str], frozenset[str]], list[ServerId]] = {}
        for server in cloud.servers:
            if server.requires or server.forbids:
                alike.setdefault((server.requires, server.forbids), []).append(server.id)
        for (requires, forbids), servers in alike.items():
            hosts = (host for host in cloud.hosts if requires <= host.traits and not forbids & host.traits)
            yield Allowed("traits", tuple(servers), frozenset(host.name for host in hosts))

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hosts = cloud.host_by_name
        for server in cloud.servers:
            if not server.requires and not server.forbids:
                continue
            wrong: set[str] = set()
            for name in where.get(server.id, ()):
                traits = hosts[name].traits if name in hosts else frozenset()
                wrong |= {f"lacks {trait}" for trait in server.requires if trait not in traits}
                wrong |= {f"has {trait}" for trait in server.forbids if trait in traits}
            if wrong:
                yield Violation("traits", server.id, 1, f"the host of {server.id} {', '.join(sorted(wrong))}")

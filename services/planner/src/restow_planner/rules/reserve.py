"""Reserve: so much stays free on each of these hosts; pure."""

from collections.abc import Iterable

from restow.cloud.model import Cloud, Reserve
from restow_planner.primitives import Capacity, Primitive
from restow_planner.rules.base import Occupancy, Violation
from restow_planner.rules.capacity import claims


class ReserveRule:
    """Said as a smaller capacity; hosts that the reserve does not name keep their own."""

    name = "reserve"

    def primitives(self, cloud: Cloud) -> Iterable[Primitive]:
        for index, spec in enumerate(cloud.rules):
            if isinstance(spec, Reserve):
                named = frozenset(spec.hosts)
                for resource in cloud.resources:
                    kept = spec.keep_free.get(resource, 0)
                    if kept > 0:
                        capacity = {
                            host.name: max(0, host.capacity.get(resource, 0) - (kept if host.name in named else 0))
                            for host in cloud.hosts
                        }
                        yield Capacity(f"reserve {index}", resource, capacity, soft=spec.soft)

    def violations(self, cloud: Cloud, where: Occupancy) -> Iterable[Violation]:
        hard = [
            (index, spec) for index, spec in enumerate(cloud.rules) if isinstance(spec, Reserve) and spec.soft is None
        ]
        used = claims(cloud, where) if hard else {}
        for index, spec in hard:
            for name in dict.fromkeys(spec.hosts):
                host = cloud.host_by_name.get(name)
                if host is None:
                    continue
                for resource, kept in spec.keep_free.items():
                    claimed = used.get(name, {}).get(resource, 0)
                    over = claimed - max(0, host.capacity.get(resource, 0) - kept)
                    if kept > 0 and over > 0:
                        yield Violation(
                            f"reserve {index}",
                            f"{name} {resource}",
                            over,
                            f"{name} lacks {over} of the {kept} {resource} to be kept free",
                        )

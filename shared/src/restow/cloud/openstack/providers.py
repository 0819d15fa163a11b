"""What placement has of hosts: of all that have room in a few calls; full ones are looked at once and remembered."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from typing import Any

from restow.cloud.openstack.api import Api
from restow.cloud.openstack.hosts import Provider, provider_of, providers_of
from restow.errors import NotFoundError

MEMORY = "MEMORY_MB"
OTHERS = ("VCPU", "PCPU", "DISK_GB")  # of which a host may have room left that has no memory left
FEW = 20  # full hosts are looked at one by one


class Providers:
    """Blocking. `workers`: where full hosts are looked at side by side; `of` is never called from one of them."""

    def __init__(self, api: Api, workers: Executor) -> None:
        self._api = api
        self._workers = workers
        self._full: Mapping[str, tuple[int, Provider]] = {}  # as each was at this generation of it

    def with_room(self, resource_class: str = MEMORY) -> Mapping[str, Mapping[str, Any]]:
        """Every provider that has some of this left, with capacity, usage and traits, in one answer."""
        summaries: Mapping[str, Mapping[str, Any]] = self._api.get(
            "placement", "/allocation_candidates", resources=f"{resource_class}:1"
        )["provider_summaries"]
        return summaries

    def of(self, wanted: AbstractSet[str], with_memory: Mapping[str, Mapping[str, Any]]) -> dict[str, Provider]:
        """Of all that have memory left, and of each wanted one. Those that are full cost one call, unless they changed.

        One change alone leaves a provider's generation as it is: that a claim is deleted. Then it has memory left, and
        is none of the full ones any more.
        """
        known = providers_of(with_memory)
        full = wanted - known.keys()
        if not full:
            return known
        listed = self._api.get("placement", "/resource_providers")["resource_providers"]
        generations = {str(one["uuid"]): int(one["generation"]) for one in listed if one["uuid"] in full}
        still = {uuid: self._full[uuid] for uuid in generations if uuid in self._full}
        still = {uuid: one for uuid, one in still.items() if one[0] == generations[uuid]}
        changed = self._looked_at(generations.keys() - still.keys())
        self._full = still | {uuid: (generations[uuid], provider) for uuid, provider in changed.items()}
        return known | {uuid: provider for uuid, (_, provider) in self._full.items()}

    def _looked_at(self, full: AbstractSet[str]) -> dict[str, Provider]:
        """As they are now. Where they are many, those that have anything left are told together."""
        found: dict[str, Provider] = {}
        for resource_class in OTHERS:
            if len(full - found.keys()) <= FEW:
                break
            together = providers_of(self.with_room(resource_class))
            found |= {uuid: together[uuid] for uuid in full & together.keys()}
        left = sorted(full - found.keys())
        return found | dict(zip(left, self._workers.map(self.one, left), strict=True))

    def one(self, uuid: str) -> Provider:
        """One provider by itself: three calls."""
        at = f"/resource_providers/{uuid}"
        try:
            return provider_of(
                self._api.get("placement", f"{at}/inventories")["inventories"],
                self._api.get("placement", f"{at}/usages")["usages"],
                self._api.get("placement", f"{at}/traits")["traits"],
            )
        except NotFoundError:
            return Provider()  # a host that has not told placement of itself yet offers nothing

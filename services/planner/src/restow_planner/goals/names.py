"""Checks the names in a request against the cloud, so that a typo is told with what was meant; pure."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from restow.cloud.model import Cloud
from restow.errors import FieldError

SHOWN_MAX = 5
HINTS_MAX = 5
"""Looking for close names is slow in a large cloud: it is done for the first few wrong names."""


class Names:
    """Gathers every wrong name of a request."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.errors: list[FieldError] = []
        self._loads: frozenset[str] | None = None

    def hosts(self, names: Iterable[str], field: str) -> None:
        known = self.cloud.host_by_name
        self._all(names, [str(name) for name in known], "a host of this cloud", field)

    def servers(self, ids: Iterable[str], field: str) -> None:
        known = self.cloud.server_by_id
        self._all(ids, [str(one) for one in known], "the id of a server of this cloud", field)

    def resources(self, names: Iterable[str], field: str) -> None:
        self._all(names, list(self.cloud.resources), "a resource of this cloud", field)

    def resources_or_loads(self, names: Iterable[str], field: str) -> None:
        """A claimed resource, or a load that is measured somewhere; cpu_cores is always known."""
        self._all(names, [*self.cloud.resources, *sorted(self.loads())], "a resource or a load of this cloud", field)

    def positive(self, amounts: Mapping[str, int], field: str) -> None:
        for name, amount in amounts.items():
            if amount <= 0:
                self.errors.append(FieldError(f"{field}.{name}", amount, "a number above 0"))

    def loads(self) -> frozenset[str]:
        if self._loads is None:
            found = {name for host in self.cloud.hosts for name in (*host.load, *host.physical)}
            found |= {name for server in self.cloud.servers for name in server.load}
            self._loads = frozenset({*found, "cpu_cores"})
        return self._loads

    def _all(self, names: Iterable[str], known: list[str], what: str, field: str) -> None:
        there = set(known)
        for index, name in enumerate(names):
            if name not in there:
                self.errors.append(FieldError(f"{field}.{index}", name, what + self._hint(name, known)))

    def _hint(self, name: str, known: list[str]) -> str:
        close = get_close_matches(name, known, n=SHOWN_MAX) if len(self.errors) < HINTS_MAX else []
        if close:
            return f" (close: {', '.join(close)})"
        return f" (such as {', '.join(known[:SHOWN_MAX])})" if known else " (it has none)"

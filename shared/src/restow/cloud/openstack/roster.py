"""All servers of a region: read whole, and from then on only those that Nova says have changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from restow.clock import Clock
from restow.cloud.model import Server
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.migrations import time_of
from restow.cloud.openstack.rules import hints_of
from restow.cloud.openstack.servers import NOWHERE, Flavors, server_of
from restow.cloud.openstack.settings import OpenStackSettings
from restow.ids import ServerId

OVERLAP = timedelta(minutes=2)
"""Asked for again each time: records of Nova's several clocks, and of transactions that took their time to end."""
GONE = frozenset({"DELETED", "SOFT_DELETED"})
"""Told of as changes only: a whole list does not have them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A server, the properties of its image if it has any, and the servers that its hints name, by hint."""

    server: Server
    image: Mapping[str, str]
    hints: Mapping[str, tuple[ServerId, ...]]


@dataclass(frozen=True, slots=True)
class Roll:
    """`since`: a time by Nova's clock; whatever changed later is to be asked for. None: nothing is known yet."""

    entries: Mapping[ServerId, Entry]
    since: datetime | None
    whole_at: datetime  # when it was read whole, by our clock
    flavors: Flavors


class Roster:
    """Safe to use from several threads: each read makes a roll of its own, and any that is kept is good to go on from.

    What a read of changes does not show: that a key of a server's metadata was taken away, for which Nova dates no
    record anew, and that a record was archived before it was asked for. The next whole read does.
    """

    def __init__(self, api: Api, settings: OpenStackSettings, clock: Clock) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._roll: Roll | None = None

    def read(self) -> Roll:
        """All servers as they are now, but for those that are no business of ours; to be kept if nothing is amiss."""
        known, began = self._roll, self._clock.now()
        if known is None or known.since is None or began - known.whole_at >= self._whole_read:
            known = Roll({}, None, began, Flavors())
        return self._advanced(known)

    def keep(self, roll: Roll) -> None:
        """Go on from this one: nothing was left out of it."""
        self._roll = roll

    @property
    def _whole_read(self) -> timedelta:
        return timedelta(seconds=self._settings.whole_read_s)

    def _advanced(self, known: Roll) -> Roll:
        query: dict[str, Any] = {"all_tenants": 1, "limit": self._settings.page}
        if known.since is not None:
            query["changes-since"] = (known.since - OVERLAP).strftime("%Y-%m-%dT%H:%M:%SZ")
        entries, newest, began = dict(known.entries), None, self._clock.now()
        for document in self._api.pages("/servers/detail", "servers", **query):
            changed = time_of(document["updated"])
            newest = changed if newest is None else max(newest, changed)
            entry = self._entry(document, known.flavors)
            if entry is None:
                entries.pop(ServerId(document["id"]), None)
            else:
                entries[entry.server.id] = entry
        if newest is None:
            return replace(known, entries=entries)
        # A page that was read first may have changed while the last one was; and no clock that runs ahead is believed.
        took = max(timedelta(), self._clock.now() - began)
        since = min(newest - took, began)
        return replace(known, entries=entries, since=since if known.since is None else max(since, known.since))

    def _entry(self, document: Mapping[str, Any], flavors: Flavors) -> Entry | None:
        """None: it is gone, or it never got a host and can be neither moved nor started."""
        if document["status"] in GONE:
            return None
        settings = self._settings
        server = server_of(document, flavors, priority_key=settings.priority_key, disks=settings.disks)
        if server.host is None and document["status"] not in NOWHERE:
            return None
        return Entry(server, (document.get("image") or {}).get("properties") or {}, hints_of(document))

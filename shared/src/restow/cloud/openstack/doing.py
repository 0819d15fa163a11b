"""What is done to a cloud; blocking. Every move looks first, and nothing is asked twice."""

from collections.abc import Mapping
from typing import Any

import structlog

from restow.cloud.model import ServerState
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.looking import Looker
from restow.cloud.openstack.migrations import KINDS, Asked, Requests, status_of
from restow.cloud.openstack.repair import give_claim_back
from restow.cloud.openstack.servers import HOST, TASK
from restow.cloud.port import VERIFY, MigrationStatus
from restow.errors import LostAnswerError, PermanentError, RestowError
from restow.ids import HostName, ServerId

EVACUATE_RUNNING = "2.94"  # from 2.95 on an evacuated server stays shut off
UNSHELVE_TO_HOST = 91
COLD_TO_HOST = "2.56"
ABORT_QUEUED = "2.65"
RUNNING = 1  # Nova's power_state of a guest that runs
REASON_MAX = 255  # of Nova's column

log = structlog.get_logger(__name__)


class Doer:
    def __init__(self, api: Api, looker: Looker, requests: Requests) -> None:
        self._api = api
        self._look = looker
        self._requests = requests

    # --- moves --------------------------------------------------------------------------------------------------

    def live_migrate(self, server: ServerId, to: HostName, request_id: str) -> None:
        """At the newest microversion: taken at once, refused later where Nova's scheduler does not agree."""
        body = {"os-migrateLive": {"host": to, "block_migration": "auto"}}
        self._move(server, to, request_id, kind="live-migrate", body=body)

    def cold_migrate(self, server: ServerId, to: HostName, request_id: str) -> None:
        self._move(server, to, request_id, kind="cold-migrate", body={"migrate": {"host": to}}, version=COLD_TO_HOST)

    def evacuate(self, server: ServerId, to: HostName, request_id: str) -> None:
        body = {"evacuate": {"host": to}}
        version = EVACUATE_RUNNING if self._api.knows(94) else None
        self._move(server, to, request_id, kind="evacuate", body=body, version=version)

    def confirm(self, server: ServerId) -> None:
        """Only what nobody but an admin asks for: a resize is its user's to confirm."""
        if self._look.server(server).task != VERIFY:
            raise PermanentError(f"server {server} has no finished move that waits to be confirmed")
        _, newest = self._look.newest(server)
        if newest is None or KINDS.get(newest["migration_type"]) != "cold-migrate":
            raise PermanentError(
                f"what waits to be confirmed of server {server} is no cold migration: its user's resize"
            )
        self._act(server, {"confirmResize": None})

    def clear_error(self, server: ServerId) -> None:
        """First placement: Nova leaves the claims of a migration that broke as they were in the middle of it."""
        found = self._api.get("compute", f"/servers/{server}")["server"]
        host = HostName(found[HOST] or "")
        runs = found.get("OS-EXT-STS:power_state") == RUNNING
        if found["status"] != "ERROR" or found.get(TASK) is not None or not host or not runs:
            raise PermanentError(f"server {server} is not in error while its guest runs")
        self._look.guest_runs(server, host)
        if give_claim_back(self._api, self._look, server, host):
            log.info("claim given back after a broken move", server=server, host=host)
        self._act(server, {"os-resetState": {"state": "active"}})

    def abort(self, server: ServerId, migration: str) -> None:
        self._under_way(server, migration)
        self._api.act("DELETE", f"/servers/{server}/migrations/{migration}", version=ABORT_QUEUED)

    def force_complete(self, server: ServerId, migration: str) -> None:
        if self._under_way(server, migration) is MigrationStatus.QUEUED:
            raise PermanentError(f"migration {migration} of server {server} is still queued: it can only be aborted")
        self._api.act("POST", f"/servers/{server}/migrations/{migration}/action", {"force_complete": None})

    def _under_way(self, server: ServerId, migration: str) -> MigrationStatus:
        """Its status. Another live migration of this server may be somebody else's."""
        found = next((one for one in self._look.under_way(server) if str(one["id"]) == migration), None)
        if found is None:
            raise PermanentError(f"migration {migration} of server {server} is not under way")
        return status_of(found["status"])

    def _move(
        self, server: ServerId, to: HostName, request_id: str, *, kind: str, body: Mapping[str, Any],
        version: str | None = None,
    ) -> None:  # fmt: skip
        """Nova does not hold an admin to a lock, and does not guard an evacuation against a second one."""
        self._look.service(to)
        number, newest = self._look.newest(server)
        found = self._look.server(server)
        if found.locked:
            raise PermanentError(f"server {server} is locked")
        under_way = found.task or _evacuation_under_way(newest)
        if under_way is not None:
            raise PermanentError(f"server {server} has a task under way: {under_way}")
        self._requests.note(server, Asked(request_id, kind, to, number))
        try:
            told = self._act(server, body, version=version, request_id=request_id)
        except LostAnswerError:
            raise
        except RestowError:
            self._requests.drop(server, request_id)
            raise
        self._requests.taken(server, request_id, told)

    # --- in place -----------------------------------------------------------------------------------------------

    def start(self, server: ServerId, on: HostName | None, request_id: str) -> None:
        found = self._look.server(server)
        if found.locked:
            raise PermanentError(f"server {server} is locked")
        if found.host is not None:
            self._act(server, {"os-start": None}, request_id=request_id)
            return
        if on is None:
            self._act(server, {"unshelve": None}, request_id=request_id)
            return
        self._look.service(on)
        if not self._api.knows(UNSHELVE_TO_HOST):
            raise PermanentError(
                f"this Nova cannot start {server} on a host of our choice: it needs 2.{UNSHELVE_TO_HOST}"
            )
        self._act(server, {"unshelve": {"host": on}}, request_id=request_id)

    def stop(self, server: ServerId, request_id: str) -> None:
        found = self._look.server(server)
        if found.state is ServerState.STOPPED:
            raise PermanentError(f"cannot stop server {server} while it is stopped")
        self._act(server, {"os-stop": None}, request_id=request_id)

    def shelve(self, server: ServerId, request_id: str) -> None:
        """Where Nova keeps shelved servers on their host for a while, a second call offloads it."""
        document = self._api.get("compute", f"/servers/{server}")["server"]
        if document["status"] == "SHELVED":
            self._act(server, {"shelveOffload": None}, request_id=request_id)
            return
        self._act(server, {"shelve": None}, request_id=request_id)

    # --- hosts --------------------------------------------------------------------------------------------------

    def disable(self, host: HostName, reason: str) -> None:
        self._service(host, {"status": "disabled", "disabled_reason": reason[:REASON_MAX] or "restow"})

    def enable(self, host: HostName) -> None:
        self._service(host, {"status": "enabled"})

    def force_down(self, host: HostName, *, down: bool) -> None:
        self._service(host, {"forced_down": down})

    def _service(self, host: HostName, body: Mapping[str, Any]) -> None:
        number = self._look.service(host)["id"]
        told = self._api.act("PUT", f"/os-services/{number}", body)
        log.info("host changed", host=host, change=dict(body), nova_request=told)

    def _act(
        self, server: ServerId, body: Mapping[str, Any], *, version: str | None = None, request_id: str = ""
    ) -> str:
        """Nova's own id of the request."""
        told = self._api.act("POST", f"/servers/{server}/action", body, version=version, request_id=request_id)
        log.info("asked of Nova", server=server, action=next(iter(body)), request_id=request_id, nova_request=told)
        return told


def _evacuation_under_way(newest: Mapping[str, Any] | None) -> str | None:
    """Its status, if the newest migration is an evacuation that has not ended: at first the server shows no task."""
    if newest is None or KINDS.get(newest["migration_type"]) != "evacuate" or status_of(newest["status"]).ended:
        return None
    return str(newest["status"])

"""What a live migration that broke leaves in placement, and how it is put right; blocking.

While a server migrates, its claim on the source is held by the migration, and the server itself holds the target.
Where Nova gives a migration up as broken it changes neither: the server is in error on its source, and the next
migration would take the claim on the target for that of the source.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from restow.cloud.openstack.api import Api
from restow.cloud.openstack.looking import Looker
from restow.errors import PermanentError
from restow.ids import HostName, ServerId

VERSION = "1.29"  # has generations of consumers, and does not yet ask for their type, which may be "unknown"


def give_claim_back(api: Api, looker: Looker, server: ServerId, host: HostName) -> bool:
    """The server alone holds its place on `host`, as before it moved; whether anything had to be changed.

    One request changes both consumers or neither, and only if nobody has changed them meanwhile.
    Raises PermanentError where placement has no claim on `host` that could be given back.
    """
    read = partial(api.get, "placement", version=VERSION)
    held = read(f"/allocations/{server}")
    if _hosts(looker, held) == {host}:
        return False
    for consumer in looker.failed_moves(server, host):
        left = read(f"/allocations/{consumer}")
        if _hosts(looker, left) == {host}:
            body = {str(server): _put(held, left["allocations"]), consumer: _put(left, {})}
            api.act("POST", "/allocations", body, version=VERSION, service="placement")
            return True
    raise PermanentError(f"placement does not hold server {server} on {host}, nor does a failed move of it")


def _hosts(looker: Looker, held: Mapping[str, Any]) -> set[HostName]:
    return {looker.host_with(provider) for provider in held["allocations"]}


def _put(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What this consumer, which holds something `now`, is to hold instead."""
    claims = {provider: {"resources": one["resources"]} for provider, one in wanted.items()}
    return {"allocations": claims, **{key: now[key] for key in ("project_id", "user_id", "consumer_generation")}}

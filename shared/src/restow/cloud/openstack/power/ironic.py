"""Power by Ironic: nodes that bear the name of their host."""

from restow.cloud.model import Power
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.power.base import power_of
from restow.ids import HostName


class IronicPower:
    def __init__(self, api: Api) -> None:
        self._api = api

    def switch(self, host: HostName, *, on: bool) -> None:
        target = "power on" if on else "power off"
        self._api.act("PUT", f"/nodes/{host}/states/power", {"target": target}, service="baremetal")

    def state(self, host: HostName) -> Power:
        states = self._api.get("baremetal", f"/nodes/{host}/states")
        # While a change is under way, or after one that failed, the old state is no evidence.
        if states.get("target_power_state") or states.get("last_error"):
            return Power.UNKNOWN
        return power_of(states.get("power_state") or "")

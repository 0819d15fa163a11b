"""Board controllers, one file for each way to reach them. To add one: write its file, name it in `driver_of`."""

from restow.cloud.openstack.api import Api
from restow.cloud.openstack.power.base import NoPower, PowerDriver
from restow.cloud.openstack.power.command import CommandPower
from restow.cloud.openstack.power.ipmi import IpmiPower
from restow.cloud.openstack.power.ironic import IronicPower
from restow.cloud.openstack.power.redfish import RedfishPower
from restow.cloud.openstack.settings import PowerSettings

__all__ = ["PowerDriver", "driver_of"]


def driver_of(settings: PowerSettings, api: Api) -> PowerDriver:
    match settings.driver:
        case "none":
            return NoPower()
        case "command":
            return CommandPower(settings.command, timeout_s=settings.timeout_s)
        case "ipmi":
            return IpmiPower(settings.controllers, timeout_s=settings.timeout_s)
        case "redfish":
            return RedfishPower(settings.controllers, timeout_s=settings.timeout_s)
        case "ironic":
            return IronicPower(api)

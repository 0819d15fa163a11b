"""Power by IPMI over LAN, with the program ipmitool."""

import os
from collections.abc import Mapping
from pathlib import Path

from restow.cloud.model import Power
from restow.cloud.openstack.power.base import power_of, run
from restow.cloud.openstack.settings import Controller
from restow.cloud.permission import ask_permission
from restow.errors import PermanentError
from restow.ids import HostName


class IpmiPower:
    def __init__(self, controllers: Mapping[str, Controller], *, timeout_s: float) -> None:
        self._controllers = controllers
        self._timeout_s = timeout_s

    def switch(self, host: HostName, *, on: bool) -> None:
        ask_permission()
        self._run(host, "on" if on else "off")

    def state(self, host: HostName) -> Power:
        return power_of(self._run(host, "status"))  # "Chassis Power is off"

    def _run(self, host: HostName, verb: str) -> str:
        one = controller_of(self._controllers, host)
        # The password goes by the environment (-E): arguments can be read by everybody on the machine.
        command = ("ipmitool", "-I", "lanplus", "-H", one.address, "-U", one.username, "-E", "chassis", "power", verb)
        environment = {**os.environ, "IPMI_PASSWORD": password_of(one)}
        what = f"power {verb} of {host} by {one.address}"
        return run(command, timeout_s=self._timeout_s, what=what, environment=environment)


def controller_of(controllers: Mapping[str, Controller], host: HostName) -> Controller:
    if host not in controllers:
        raise PermanentError(f"no board controller of {host} is known: see power.controllers in RESTOW_OPENSTACK_FILE")
    return controllers[host]


def password_of(controller: Controller) -> str:
    if not controller.password_file:
        return ""
    try:
        return Path(controller.password_file).read_text().strip()
    except OSError as error:
        text = f"the password of {controller.address}: {controller.password_file} ({error.strerror})"
        raise PermanentError(text) from error

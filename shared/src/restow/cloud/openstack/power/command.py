"""Power by a program of the operator: COMMAND HOST on|off|status."""

from collections.abc import Sequence

from restow.cloud.model import Power
from restow.cloud.openstack.power.base import power_of, run
from restow.cloud.permission import ask_permission
from restow.ids import HostName


class CommandPower:
    def __init__(self, command: Sequence[str], *, timeout_s: float) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s

    def switch(self, host: HostName, *, on: bool) -> None:
        ask_permission()
        self._run(host, "on" if on else "off")

    def state(self, host: HostName) -> Power:
        return power_of(self._run(host, "status"))

    def _run(self, host: HostName, verb: str) -> str:
        return run((*self._command, host, verb), timeout_s=self._timeout_s, what=f"power {verb} of {host}")

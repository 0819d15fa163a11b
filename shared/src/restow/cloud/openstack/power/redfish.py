"""Power by Redfish, with sushy."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from restow.cloud.model import Power
from restow.cloud.openstack.power.ipmi import controller_of, password_of
from restow.cloud.openstack.settings import Controller
from restow.cloud.permission import ask_permission
from restow.errors import CredentialError, TransientError
from restow.ids import HostName


class RedfishPower:
    """The connection to a controller is kept; its answers are not."""

    def __init__(self, controllers: Mapping[str, Controller], *, timeout_s: float) -> None:
        self._controllers = controllers
        self._timeout_s = timeout_s
        self._systems: dict[HostName, Any] = {}
        self._connectors: dict[HostName, Any] = {}
        self._locks: dict[HostName, Lock] = {}
        self._guard = Lock()

    def switch(self, host: HostName, *, on: bool) -> None:
        import sushy

        def order(system: Any) -> None:
            system.refresh(force=True)  # a session that has ended is made anew here, not after permission was given
            ask_permission()
            system.reset_system(sushy.ResetType.ON if on else sushy.ResetType.FORCE_OFF)

        self._asked(host, order)

    def state(self, host: HostName) -> Power:
        import sushy

        def look(system: Any) -> Any:
            system.refresh(force=True)
            return system.power_state

        known = {sushy.PowerState.ON: Power.ON, sushy.PowerState.OFF: Power.OFF}
        return known.get(self._asked(host, look), Power.UNKNOWN)  # powering on or off: neither yet

    def _asked(self, host: HostName, what: Any) -> Any:
        import requests.exceptions
        import sushy

        with self._guard:
            lock = self._locks.setdefault(host, Lock())
        with lock:
            try:
                return what(self._systems.get(host) or self._connect(host))
            except sushy.exceptions.AccessError as error:
                self._drop(host)
                raise CredentialError(f"the board controller of {host} refuses us: {error}") from error
            except (sushy.exceptions.SushyError, requests.exceptions.RequestException) as error:
                self._drop(host)
                raise TransientError(f"the board controller of {host} does not answer: {error}") from error

    def _connect(self, host: HostName) -> Any:
        import sushy
        from sushy.connector import Connector

        one = controller_of(self._controllers, host)
        address = one.address if "://" in one.address else f"https://{one.address}"
        connector = Connector(
            address, verify=one.verify_tls, default_request_timeout=self._timeout_s, connect_timeout=self._timeout_s,
            server_side_retries=1, server_side_retries_delay=1,  # 0 would be three tries, two seconds apart
        )  # fmt: skip
        self._connectors[host] = connector
        root = sushy.Sushy(address, username=one.username, password=password_of(one), connector=connector)
        system = root.get_system(one.system or None)
        self._systems[host] = system
        return system

    def _drop(self, host: HostName) -> None:
        self._systems.pop(host, None)
        if (connector := self._connectors.pop(host, None)) is not None:
            connector.close()

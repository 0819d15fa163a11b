"""What the actions on a host have in common."""

from restow.ids import HostName
from restow_executor.actions.base import Broken, Patience, Site
from restow_executor.progress import StepState

SWITCH = Patience(settle_s=10.0, asks_max=3, again=True, limit_s=60.0)  # disable, enable: the answer is quick
POWER = Patience(settle_s=60.0, asks_max=3, again=True, limit_s=900.0)  # a machine takes minutes to boot


def host_of(site: Site) -> HostName:
    assert site.step.host is not None
    return HostName(site.step.host)


def not_confirmed(site: Site, what: str) -> Broken:
    return Broken(f"{what} {host_of(site)} was not confirmed within the time given", StepState.FAILED)

"""Which hosts maintenance explains, and with what words; pure."""

from collections.abc import Mapping
from datetime import datetime

from restow.cloud.model import Cloud, Host, Power
from restow.policy import Policy
from restow_detector.memory import Maintenance

GUARD = "maintenance"


def silenced(
    cloud: Cloud,
    policy: Policy,
    maintenance: Mapping[str, Maintenance],
    switched_off: Mapping[str, Maintenance],
    *,
    now: datetime,
) -> Mapping[str, str]:
    """Hosts on which nothing is healed now, each with the reason."""
    windows = [window for window in policy.windows if window.starts_at <= now < window.ends_at]
    found: dict[str, str] = {}
    for host in cloud.hosts:
        for window in windows:
            everywhere = not window.hosts and not window.zones
            if everywhere or host.name in window.hosts or (host.zone is not None and host.zone in window.zones):
                found[host.name] = f"maintenance window until {window.ends_at.isoformat()}: {window.reason}".rstrip(
                    ": "
                )
        if (ordered := maintenance.get(host.name)) is not None:
            found[host.name] = f"in maintenance by {ordered.by}: {ordered.reason}".rstrip(": ")
        elif host.maintenance:
            found.setdefault(host.name, "the cloud says that it is in maintenance")
        elif host.name in switched_off:
            found.setdefault(host.name, f"switched off by {switched_off[host.name].by}")
        elif _idle_and_off(cloud, host):
            found.setdefault(host.name, "it is disabled, empty and without power: somebody switched it off")
    return found


def _idle_and_off(cloud: Cloud, host: Host) -> bool:
    return not host.enabled and host.power is Power.OFF and not host.forced_down and not cloud.servers_on[host.name]

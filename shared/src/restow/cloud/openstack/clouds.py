"""From a name in clouds.yaml to the domains of that cloud: regions, or parts of them as the settings say."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions as keystone_errors
from openstack import exceptions as sdk_errors
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from restow import __version__
from restow.clock import Clock
from restow.cloud.openstack.api import Api
from restow.cloud.openstack.cloud import OpenStackCloud
from restow.cloud.openstack.controllers import HOSTS_MAX
from restow.cloud.openstack.metrics import Metrics
from restow.cloud.openstack.power import driver_of
from restow.cloud.openstack.roster import Roster
from restow.cloud.openstack.settings import DomainSettings, OpenStackSettings
from restow.errors import BadInputError, FieldError, NotFoundError, close_names
from restow.ids import DomainName


@dataclass(slots=True)
class OpenStackClouds:
    """Several domains over as few connections as there are regions."""

    ports: dict[DomainName, OpenStackCloud]
    apis: dict[str, Api]
    pools: tuple[ThreadPoolExecutor, ...]

    @classmethod
    def of(cls, name: str, *, clock: Clock, settings: OpenStackSettings) -> "OpenStackClouds":
        """Raises BadInputError that names what to mend."""
        regions = _regions(name)
        chosen = settings.domains or {region or name: DomainSettings(region=region or None) for region in regions}
        # Work of the port, and what that work does side by side: were they one pool, it could wait for itself. Nor does
        # either wait for a thread that waits for a board controller.
        pools = tuple(
            ThreadPoolExecutor(max_workers=size, thread_name_prefix=f"restow-openstack-{what}")
            for what, size in (("calls", settings.threads), ("reads", settings.threads), ("power", HOSTS_MAX))
        )
        apis: dict[str, Api] = {}
        rosters: dict[str, Roster] = {}
        metrics: dict[str, Metrics | None] = {}
        ports: dict[DomainName, OpenStackCloud] = {}
        first: set[str] = set()
        for domain, one in chosen.items():
            region = _region(domain, one, regions)
            api = apis.get(region)
            if api is None:
                connection = Connection(config=regions[region])
                api = apis[region] = Api(
                    connection,
                    connect_timeout_s=settings.connect_timeout_s, answer_timeout_s=settings.answer_timeout_s,
                    connections=2 * settings.threads,
                )  # fmt: skip
                rosters[region] = Roster(api, settings, clock)
                metrics[region] = None if settings.metrics is None else Metrics(connection, settings.metrics)
            # Servers on no host are the first domain's: they must not be started twice.
            ports[DomainName(domain)] = OpenStackCloud(
                DomainName(domain), api, driver_of(settings.power, api), settings=settings, chosen=one,
                shelved=region not in first, clock=clock, pool=pools[0], workers=pools[1], asking=pools[2],
                roster=rosters[region], metrics=metrics[region],
            )  # fmt: skip
            first.add(region)
        return cls(ports, apis, pools)

    def domains(self) -> tuple[DomainName, ...]:
        return tuple(self.ports)

    def port(self, domain: DomainName) -> OpenStackCloud:
        if domain not in self.ports:
            raise NotFoundError(f"there is no domain {domain}; there are {', '.join(self.ports)}")
        return self.ports[domain]

    async def close(self) -> None:
        for pool in self.pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for api in self.apis.values():
            api.close()


def _regions(name: str) -> dict[str, Any]:
    """The regions of this cloud, by name; the empty name if clouds.yaml names none."""
    try:
        config = OpenStackConfig(app_name="restow", app_version=__version__)
        names = [one for one in config.get_cloud_names() if one not in ("defaults", "envvars")]
        if name not in names:
            expected = f"the name of a cloud in clouds.yaml{close_names(name, names)}"
            raise BadInputError("cloud", (FieldError("cloud", name, expected),))
        raw = config.cloud_config["clouds"][name]
        wanted = [one if isinstance(one, str) else one["name"] for one in raw.get("regions") or ()]
        if raw.get("region_name"):
            wanted = [raw["region_name"]]
        return {region: config.get_one(cloud=name, region_name=region or None) for region in wanted or [""]}
    except (
        sdk_errors.SDKException,
        keystone_errors.ClientException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        where = f"clouds.yaml, cloud {name}"
        raise BadInputError("cloud", (FieldError(where, str(error).splitlines()[0], "a complete entry"),)) from error


def _region(domain: str, chosen: DomainSettings, regions: dict[str, Any]) -> str:
    if chosen.region is None and len(regions) == 1:
        return next(iter(regions))
    if chosen.region in regions:
        return str(chosen.region)
    expected = "one of the regions in clouds.yaml: " + ", ".join(regions)
    raise BadInputError("settings", (FieldError(f"domains.{domain}.region", chosen.region, expected),))

"""A real OpenStack cloud as an adapter of the cloud port. Only this folder knows openstacksdk."""

import os
from collections.abc import Mapping

from restow.clock import Clock
from restow.cloud.openstack.clouds import OpenStackClouds
from restow.cloud.openstack.settings import SETTINGS_FILE, read_file

__all__ = ["OpenStackClouds", "connect"]


def connect(name: str, *, clock: Clock, environment: Mapping[str, str] = os.environ) -> OpenStackClouds:
    """The domains of this cloud of clouds.yaml. No service is asked before it is needed.

    Raises BadInputError that names what to mend in clouds.yaml or in the file of RESTOW_OPENSTACK_FILE.
    """
    return OpenStackClouds.of(name, clock=clock, settings=read_file(environment.get(SETTINGS_FILE, "")))
